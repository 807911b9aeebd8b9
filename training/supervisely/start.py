"""The net that a training of Supervisely's plugin starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from converter.state_dict import mismatch
from icnet_common.errors import InputError
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.supervisely.config import TrainConfig
from pytorch_icnet.variants import semseg
from pytorch_icnet.variants.semseg import SemSegICNet
from pytorch_icnet.weights.checkpoints import read_checkpoint

from ..build import HEADS, Start, initialize, start
from ..recipes.recipe import Recipe


def begin(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None) -> Start:
    """The net that a training starts from.

    With ``transfer_learning`` its heads are new, whatever the file has; with ``continue_training`` all is the file's.

    Raises:
        InputError: the file is not for this net.
    """
    continued = config.weights_init_type == "continue_training"
    if continued and weights is None:
        raise InputError("weights_init_type is continue_training: give the checkpoint folder with --weights")
    size = (config.input_size.height, config.input_size.width)
    if recipe.model.network == "supervisely":
        begun = _plugin_net(config, recipe, num_classes, weights, continued)
    else:
        begun = _caffe_net(config, recipe, num_classes, weights, continued)
    begun.model.card = replace(begun.model.card, input_size=size, protocol="supervisely")  # as the folder will predict
    return begun


def _caffe_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    if weights is None and not config.use_batchnorm:
        torch.manual_seed(recipe.train.seed)
        net = ICNet(num_classes, width=recipe.model.width, aux=True)
        initialize(net)
        return Start(net.train(), tuple(name for name, _ in net.named_children()), ())
    begun = start(recipe, num_classes, weights)
    assert isinstance(begun.model, ICNet)
    if begun.model.merged == config.use_batchnorm:
        kind = "without" if begun.model.merged else "with"
        raise InputError(
            f"{weights}: {kind} batch normalisation, but use_batchnorm is {str(config.use_batchnorm).lower()}"
        )
    if continued and begun.new:
        raise InputError(f"{weights}: lacks {', '.join(begun.new)} for {num_classes} scores; it cannot be continued")
    if not continued and weights is not None:
        for name in HEADS:
            reset_head(begun.model.get_submodule(name))
        return Start(begun.model, HEADS, tuple(name for name in begun.loaded if name not in HEADS))
    return begun


def _plugin_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    torch.manual_seed(recipe.train.seed)
    batch_norm = recipe.model.batch_norm != "none"
    net = SemSegICNet(num_classes, batch_norm)
    initialize(net)
    heads = [name for name, _ in net.named_modules() if "classif" in name]
    for name in heads:
        reset_head(net.get_submodule(name))
    fresh = net.state_dict()
    loaded: dict[str, torch.Tensor] = {}
    if weights is not None:
        given = _plugin_state(weights, batch_norm)
        loaded = {key: value for key, value in given.items() if continued or "classif" not in key}
        found = mismatch(fresh if continued else {key: fresh[key] for key in fresh if key in loaded}, loaded)
        if found or not loaded:
            reason = found or "nothing fits"
            raise InputError(f"{weights}: not for a net with {num_classes} scores, or of another kind: {reason}")
    net.load_state_dict({**fresh, **loaded})
    layers = [name for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    new = tuple(name for name in layers if f"{name}.weight" not in loaded)
    return Start(net.train(), new, tuple(name for name in layers if name not in new))


def _plugin_state(weights: Path, batch_norm: bool) -> dict[str, torch.Tensor]:
    """Weights under the plugin's keys; Caffe's are renamed."""
    state = read_checkpoint(weights).state
    if semseg.matches(state):
        return state
    caffe = icnet(weights, merged=not batch_norm, aux=True)
    return dict(semseg.from_icnet(caffe).state_dict())


def reset_head(head: nn.Module) -> None:
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    nn.init.normal_(head.weight, 0, 0.01)
    nn.init.zeros_(head.bias)
