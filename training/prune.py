"""Network compression: the filters that weigh least are taken out, and the rest is trained again.

Zhao et al. (ECCV 2018) bring ICNet to half of its filters in steps, each followed by training; filters are ranked by
the sum of their kernels' absolute values, as in Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017). The
filters are gone, not set to zero: the result is an ICNet with fewer channels.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.cluster.hierarchy import DisjointSet
from torch import nn

from icnet_common.errors import InputError
from pytorch_icnet import ICNet

_SMALLEST_INPUT = (33, 33)
_IMAGE = "data"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that one choice prunes: those of one layer, or of several whose outputs are added.

    Attributes:
        writers: convolutions whose outputs they are.
        readers: convolutions whose inputs they are; none: the scores, which are never pruned.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]


def shared_channels(model: ICNet) -> list[ChannelGroup]:
    """Which convolutions write and read the same channels; followed through the layers of a run without values.

    Branches meet where they are added (residual sums, the cascade's fusion, the pyramid), so layers there share their
    channels. The image's own channels are left out.
    """
    together = DisjointSet([_IMAGE])
    reads: dict[str, str] = {}
    written: list[tuple[torch.Tensor, str]] = []

    def follow(name: str, module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        writers = [
            next((writer for tensor, writer in written if tensor is value), _IMAGE)
            for value in inputs
            if isinstance(value, torch.Tensor)
        ]
        if isinstance(module, nn.Conv2d):
            reads[name] = writers[0]
            together.add(name)
            written.append((output, name))
            return
        for other in writers[1:]:
            together.merge(writers[0], other)
        written.append((output, writers[0]))

    probe = copy.deepcopy(model).to("meta").eval()
    for name, module in probe.named_children():
        module.register_forward_hook(functools.partial(follow, name))
    with torch.no_grad():
        x = torch.empty(1, 3, *_SMALLEST_INPUT, device="meta")
        probe.cascade_scores(x) if model.aux else probe(x)
    return [
        ChannelGroup(tuple(sorted(writers)), tuple(reader for reader, writer in reads.items() if writer in writers))
        for writers in together.subsets()
        if _IMAGE not in writers
    ]


def kept_channels(model: ICNet, rate: float) -> dict[str, int]:
    """How many output channels each convolution but the heads has at a keep rate: the nearest number, at least 1.

    Raises:
        InputError: the rate is not above 0 and at most 1.
    """
    if not 0 < rate <= 1:
        raise InputError(f"a keep rate of {rate:g}; expected above 0, at most 1")
    return {
        name: max(1, round(rate * model.get_submodule(name).out_channels))  # type: ignore[operator, arg-type]
        for channels in shared_channels(model)
        if channels.readers
        for name in channels.writers
    }


def step_rates(rate: float, steps: int) -> list[float]:
    """The keep rates of several steps, evenly spaced: 3/4 and 1/2 for 1/2 in two steps."""
    return [1 - (1 - rate) * step / steps for step in range(1, steps + 1)]


def pruned(model: ICNet, kept: Mapping[str, int]) -> ICNet:
    """A net with the strongest filters of each layer, in their order; merged or not, on the same device.

    A filter's strength is the sum of its kernel's absolute values; where the outputs of several layers are added, the
    sum over these layers. With a filter go its bias or batch normalisation, and the inputs that belong to it.

    Args:
        model: left as it is.
        kept: output channels by convolution, see :func:`kept_channels`; others keep theirs.
    """
    layers = {name: child for name, child in model.named_children() if isinstance(child, nn.Conv2d)}
    outputs: dict[str, torch.Tensor] = {}
    inputs: dict[str, torch.Tensor] = {}
    for channels in shared_channels(model):
        strength = torch.stack(
            [layers[name].weight.detach().double().abs().sum((1, 2, 3)) for name in channels.writers]
        ).sum(0)
        count = min(kept.get(channels.writers[0], strength.numel()), strength.numel())
        chosen = strength.argsort(descending=True, stable=True)[:count].sort().values
        outputs.update(dict.fromkeys(channels.writers, chosen))
        inputs.update(dict.fromkeys(channels.readers, chosen))
    state = model.state_dict()
    for name in layers:
        weight = state[f"{name}.weight"][outputs[name]]
        state[f"{name}.weight"] = weight[:, inputs[name]] if name in inputs else weight
        for key in (f"{name}.bias", *(f"{name}/bn.{key}" for key in ("weight", "bias", "running_mean", "running_var"))):
            if key in state:
                state[key] = state[key][outputs[name]]
    smaller = ICNet(
        model.num_classes,
        model.merged,
        pyramid=model.pyramid,
        aux=model.aux,
        channels={name: indices.numel() for name, indices in outputs.items()},
    )
    smaller.card = model.card
    smaller.to(model.data_sub1.weight).load_state_dict(state)
    return smaller.train(model.training)
