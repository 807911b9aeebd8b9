"""The net that a training of Supervisely's plugin starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from converter.state_dict import mismatch
from icnet_common.errors import InputError
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.supervisely.config import TrainConfig
from pytorch_icnet.variants import semseg
from pytorch_icnet.weights.checkpoints import read_checkpoint

from ..build import HEADS, Start, begun, new_net, start
from ..recipes.recipe import Recipe


def start_project(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None) -> Start:
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
        begin = _plugin_net(config, recipe, num_classes, weights, continued)
    else:
        begin = _caffe_net(config, recipe, num_classes, weights, continued)
    begin.model.card = replace(begin.model.card, input_size=size, protocol="supervisely")  # as the folder will predict
    return begin


def _caffe_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    begin = start(recipe, num_classes, weights, merged=not config.use_batchnorm)
    merged = cast(ICNet, begin.model).merged
    if merged == config.use_batchnorm:
        kind = "without" if merged else "with"
        raise InputError(
            f"{weights}: {kind} batch normalisation, but use_batchnorm is {str(config.use_batchnorm).lower()}"
        )
    if continued and begin.new:
        raise InputError(f"{weights}: lacks {', '.join(begin.new)} for {num_classes} scores; it cannot be continued")
    if continued or weights is None:
        return begin
    for name in HEADS:
        reset_head(begin.model.get_submodule(name))
    return begun(begin.model, {f"{name}.weight" for name in begin.loaded if name not in HEADS})


def _plugin_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    torch.manual_seed(recipe.train.seed)
    net = new_net(recipe, num_classes)
    for name, module in net.named_modules():
        if "classif" in name:
            reset_head(module)
    fresh = net.state_dict()
    given = {} if weights is None else _plugin_state(weights, recipe.model.batch_norm != "none")
    loaded = {key: value for key, value in given.items() if continued or "classif" not in key}
    found = mismatch(fresh if continued else {key: fresh[key] for key in fresh if key in loaded}, loaded)
    if weights is not None and (found or not loaded):
        reason = found or "nothing fits"
        raise InputError(f"{weights}: not for a net with {num_classes} scores, or of another kind: {reason}")
    net.load_state_dict({**fresh, **loaded})
    return begun(net, loaded)


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
