"""Layers without bottoms whose values are in the net itself."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from prototxt import Layer, Params

from ..blobs import Blobs, fill
from ..errors import LayerError
from ..registry import register
from .shapes import Shape


class Constants(nn.Module):
    """Fixed tensors: each of ``values`` expanded to its shape."""

    def __init__(self, values: Sequence[torch.Tensor], shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.shapes = list(shapes)
        for index, value in enumerate(values):
            self.register_buffer(f"value{index}", value)

    @property
    def values(self) -> list[torch.Tensor]:
        """The tensors before they are expanded."""
        return list(self.buffers())

    def forward(self) -> tuple[torch.Tensor, ...]:
        return tuple(value.expand(shape) for value, shape in zip(self.values, self.shapes, strict=True))


@register("DummyData", bottoms=0, tops=(1, None), limits="random fillers are drawn once, not for each forward pass")
def dummy_data(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``dummy_data_layer.cpp``: blobs of the given shapes, filled by ``data_filler`` (default: 0).

    Shapes are ``shape``, or ``num``, ``channels``, ``height`` and ``width``: one for all tops or one for each.
    """
    tops = len(layer.tops)
    if len(params.data_filler) not in (0, 1, tops):
        raise LayerError(f"{len(params.data_filler)} data_filler for {tops} tops; give none, one, or one for each")
    fillers = [*params.data_filler] or [None]
    fillers = fillers if len(fillers) == tops else fillers * tops
    sizes = _shapes(params, tops)
    values = []
    for index, (size, filler) in enumerate(zip(sizes, fillers, strict=True)):
        generator = np.random.default_rng(zlib.crc32(f"{layer.name}/{index}".encode("utf-8", "surrogateescape")))
        constant = filler is None or filler.type == "constant"
        values.append(fill(() if constant else size, filler, generator))
    return Constants(values, sizes)


def _shapes(params: Params, tops: int) -> list[Shape]:
    old = [params[name] for name in ("num", "channels", "height", "width")]
    given = [tuple(shape.dim) for shape in params.shape]
    if given and any(old):
        raise LayerError("either shape, or num, channels, height and width can be given, not both")
    if not given:
        if any(len(sizes) not in (1, tops) for sizes in old):
            raise LayerError(
                f"num, channels, height and width must each be given once, or once for each of {tops} tops"
            )
        given = list(zip(*(sizes if len(sizes) == tops else sizes * tops for sizes in old), strict=True))
    if len(given) not in (1, tops):
        raise LayerError(f"{len(given)} shapes for {tops} tops; give one, or one for each")
    if any(n < 0 for shape in given for n in shape):
        raise LayerError(f"a shape of {[list(shape) for shape in given]} has a negative length")
    return given if len(given) == tops else given * tops


class Parameter(nn.Module):
    """A learned tensor as it is."""

    def __init__(self, value: nn.Parameter) -> None:
        super().__init__()
        self.value = value

    def forward(self) -> torch.Tensor:
        return self.value


@register("Parameter", bottoms=0, tops=1)
def parameter(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``parameter_layer.hpp``: its blob, of the given shape, is its top."""
    return Parameter(blobs.take(params.shape.dim))
