"""The net that a training starts from: new, or with weights from a file, its heads re-made where the classes differ."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from converter.state_dict import some
from icnet_common.errors import InputError
from pytorch_icnet import ICNet
from pytorch_icnet.card import card_of
from pytorch_icnet.variants import mmseg
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.mmseg import ALIAS, BACKBONE, MMSegICNet
from pytorch_icnet.variants.semseg import SemSegICNet
from pytorch_icnet.weights.checkpoints import read_checkpoint

from .recipes.recipe import Recipe

Network = ICNet | LiminnICNet | MMSegICNet | SemSegICNet
"""What can be trained: networks with ``cascade_scores``."""

ON_GRID = ("icnet", "supervisely")
"""Networks, by their names in recipes, that take sizes about 32k+1 alone."""

MISTAKEN = ("liminn", "supervisely")
"""Networks whose published code updates some statistics twice; of the second it is the original, pytorch-semseg."""

BACKBONES: Mapping[str, str] = MappingProxyType({"mmseg": BACKBONE, "liminn": "pretrained."})
"""Under which the keys of a network hold its ResNet, by the network's ``protocol``."""

CLASSIFIER = "fc."
"""How the keys begin of a ResNet's own classes, which a file of ImageNet's has and most networks lack."""

HEADS = ("conv6_cls", "conv6_sub2", "conv6_sub4")
"""The layers with one channel per class."""


@dataclass(frozen=True)
class Start:
    """A net in train mode, and where its layers come from."""

    model: Network
    new: tuple[str, ...]
    """Layers that no file gave."""
    loaded: tuple[str, ...]

    def table(self) -> str:
        """A line per stage of the net: how many layers were loaded and how many are new."""
        stages: dict[str, list[int]] = {}
        for column, names in enumerate((self.loaded, self.new)):
            for name in names:
                stage = name if name in HEADS else ".".join(name.split(".")[:2]) if "." in name else name.split("_")[0]
                stages.setdefault(stage, [0, 0])[column] += 1
        width = max([12, *(len(name) + 2 for name in stages)])
        lines = [f"{'layers':<{width}}{'loaded':>8}{'new':>6}"]
        return "\n".join([*lines, *(f"{name:<{width}}{old:>8}{new:>6}" for name, (old, new) in sorted(stages.items()))])


def begun(net: Network, given: Collection[str]) -> Start:
    """The start with a net of which the keys ``given`` come from a file."""
    layers = [name for name, child in net.named_modules() if isinstance(child, (nn.Conv2d, nn.BatchNorm2d))]
    new = tuple(name for name in layers if f"{name}.weight" not in given)
    return Start(net.train(), new, tuple(name for name in layers if name not in new))


def start(
    recipe: Recipe, num_classes: int, weights: str | os.PathLike[str] | None = None, *, merged: bool = False
) -> Start:
    """The net to train, with its three heads.

    Args:
        recipe: names the network and, for a new one, its width.
        weights: any file that :func:`pytorch_icnet.load` takes for such a network, or for a relative one of its ResNet
            alone. Heads for another number of classes are left out of it, and all layers of an ICNet keep the file's
            numbers of channels.
        merged: a new ICNet without batch normalisation.

    Raises:
        InputError: the file cannot be used.
    """
    torch.manual_seed(recipe.train.seed)
    if weights is None:
        return begun(new_net(recipe, num_classes, merged=merged), ())
    checkpoint = read_checkpoint(weights)
    if recipe.model.network != "icnet":
        net = new_net(recipe, num_classes)
        copied = load_into(net, checkpoint.state, checkpoint.provenance.file)
        net.card = dataclasses.replace(net.card, provenance=checkpoint.provenance)
        return begun(net, copied)
    state = {
        key: value
        for key, value in checkpoint.state.items()
        if key.split(".")[0] not in HEADS or value.shape[0] == num_classes
    }
    channels = {
        key.removesuffix(".weight"): value.shape[0]
        for key, value in state.items()
        if value.dim() == 4 and not key.startswith("conv6_")
    }
    fresh = ICNet(num_classes, not any("/bn." in key for key in state), aux=True, channels=channels)
    initialize(fresh)
    heads = {key: value for key, value in fresh.state_dict().items() if key.split(".")[0] in HEADS}
    checkpoint.state, checkpoint.pyramid = {**heads, **state}, None
    return begun(checkpoint.model(aux=True), state)


def load_into(net: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> frozenset[str]:
    """Copy a file's values into a network.

    Heads for another number of classes are left out of it, and auxiliary heads may be missing in it. A file of the
    network's ResNet alone, such as those trained on ImageNet, gives that part.

    Args:
        net: has a card; changed in place.
        state: by key; ``num_batches_tracked`` may be missing.
        source: of the state, for messages.

    Returns:
        The keys that were copied.

    Raises:
        InputError: keys are missing or unknown, or shapes disagree.
    """
    expected = net.state_dict()
    prefix = "" if set(expected) & set(state) else BACKBONES.get(card_of(net).protocol, "")
    given = _renamed(state, expected, prefix)
    copied, wrong = {}, []
    for key, value in given.items():
        shape = expected[key].shape if key in expected else None
        if shape is None:
            wrong.append(f"{key} is unknown")
        elif value.shape == shape:
            copied[key] = value
        elif len(shape) not in (1, 4) or shape[0] != card_of(net).num_classes or value.shape[1:] != shape[1:]:
            wrong.append(f"{key} is {list(value.shape)}, expected {list(shape)}")
    wrong += [f"{key} is missing" for key in expected if key.startswith(prefix) and not _optional(key, given)]
    if wrong:
        raise InputError(f"{source}: not weights for this recipe's network: {some(wrong, 5)}")
    net.load_state_dict({**expected, **copied})
    return frozenset(copied)


def _renamed(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], prefix: str
) -> dict[str, torch.Tensor]:
    if any(key in expected for key in state):
        return {key.replace(ALIAS, BACKBONE, 1) if key.startswith(ALIAS) else key: state[key] for key in state}
    renamed = {key: f"{prefix}{key}" for key in state}
    return {new: state[key] for key, new in renamed.items() if not key.startswith(CLASSIFIER) or new in expected}


def _optional(key: str, given: Mapping[str, torch.Tensor]) -> bool:
    if key in given or key.endswith("num_batches_tracked"):
        return True
    return key.startswith("auxiliary_head.") and not any(other.startswith("auxiliary_head.") for other in given)


def new_net(recipe: Recipe, num_classes: int, *, merged: bool = False) -> Network:
    """A recipe's network with all its heads and random weights, from torch's generator; ``merged`` is for ICNet alone.

    Raises:
        InputError: the recipe asks for mistakes that its network has not; or it has another width than 1 for a network
            that has one form alone.
    """
    name, width, mistakes = recipe.model.network, recipe.model.width, recipe.model.published_mistakes
    if mistakes and name not in MISTAKEN:
        raise InputError(f"model.published_mistakes: {' and '.join(MISTAKEN)} have them, {name} has none")
    net: Network
    if name == "icnet":
        net = ICNet(num_classes, merged, width=width, aux=True)
    elif width != 1:
        raise InputError(f"model.width: {name} has one width alone; expected 1, not {width:g}")
    elif name.startswith("mmseg-r"):
        net = MMSegICNet(int(name.removeprefix("mmseg-r")), num_classes)
        mmseg.initialize(net)
        return net
    elif name == "liminn":
        net = LiminnICNet(num_classes, published_mistakes=mistakes)
    else:
        net = SemSegICNet(num_classes, recipe.model.batch_norm != "none", published_mistakes=mistakes)
    initialize(net)
    return net


def initialize(model: nn.Module) -> None:
    """He's normal weights (2015) for convolutions, small ones for the heads, no biases; from torch's generator.

    Without batch normalisation He's would grow from block to block, to scores of 1e5: torch's own stay.
    """
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and (normalised or name in HEADS):
            spread = 0.01 if name in HEADS else math.sqrt(2 / module.weight[0].numel())
            nn.init.normal_(module.weight, 0, spread)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def freeze(model: nn.Module, beginnings: Sequence[str]) -> None:
    """Let layers whose names begin so keep their weights. Raises InputError where no layer's name does."""
    for beginning in beginnings:
        found = [module for name, module in model.named_modules() if name and name.startswith(beginning)]
        if not any(True for child in found for _ in child.parameters()):
            raise InputError(f"model.freeze: no layer with weights has a name that begins with {beginning!r}")
        for child in found:
            child.requires_grad_(False)


def set_train(model: nn.Module, batch_norm: str, frozen: Sequence[str]) -> None:
    """Train mode, but for batch normalisation whose statistics stay."""
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            batch_norm == "frozen" or name.startswith(tuple(frozen))
        ):
            module.eval()


def parameter_groups(model: nn.Module, recipe: Recipe, new: Sequence[str]) -> list[dict[str, object]]:
    """Parameters by rate and decay: ``lr`` is the base rate of each group.

    Layers without weights from a file, and those that the recipe names, learn at ``new_lr_factor`` times the rate.
    """
    options = recipe.optimizer
    fast_names = tuple(options.new_layers) + (tuple(new) if options.new_lr_factor != 1 else ())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, module in model.named_modules():
        fast = name.startswith(fast_names) if fast_names else False
        for key, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            plain = key == "bias" or isinstance(module, nn.modules.batchnorm._BatchNorm) or name == "data_sub1"
            decay = 0.0 if plain and not options.decay_norms else options.weight_decay
            rate = options.lr * (options.new_lr_factor if fast else 1)
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise InputError("model.freeze: leaves nothing to learn")
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


def optimizer_of(groups: list[dict[str, object]], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over :func:`parameter_groups`."""
    options = recipe.optimizer
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)
    return (torch.optim.Adam if options.name == "adam" else torch.optim.AdamW)(groups, lr=options.lr)
