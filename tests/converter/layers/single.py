"""Nets of one layer: built from a line of text, run as a module and by the formula, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converter import summary
from converter.compare import Difference, difference
from converter.graph import Weights, translate
from converter.reference import reference
from prototxt import Net, read_net

Array = NDArray[Any]


def net_of(layer: str, shapes: Sequence[Sequence[int]]) -> Net:
    """A net with inputs ``a``, ``b``, ... of these shapes and one layer, whose text lacks name, bottoms and tops.

    ``layer`` is ``"Type rest of the block"``; it reads all inputs and gives ``y``, or the tops that the text names.
    """
    kind, _, rest = layer.partition(" ")
    names = [chr(ord("a") + index) for index in range(len(shapes))]
    inputs = "".join(
        f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims(shape)} }} }} }}\n"
        for name, shape in zip(names, shapes, strict=True)
    )
    bottoms = " ".join(f"bottom: '{name}'" for name in names)
    tops = "" if "top:" in rest else "top: 'y'"
    return read_net(f"{inputs}layer {{ name: 'l' type: '{kind}' {bottoms} {tops} {rest} }}\n")


def dims(shape: Sequence[int]) -> str:
    return " ".join(f"dim: {n}" for n in shape)


def random_blobs(net: Net, seed: int = 0) -> list[Array]:
    """Blobs for the net's last layer: the first holds normal numbers, the others 0.1 to 1.1, as variances must."""
    generator = np.random.default_rng(seed)
    shapes = next(row["param_shapes"] for row in reversed(summary(net)))
    return [
        generator.uniform(0.1, 1.1, shape) if index else generator.standard_normal(shape)
        for index, shape in enumerate(shapes)
    ]


def by_module(net: Net, bottoms: Sequence[Array], blobs: Sequence[Array], dtype: torch.dtype) -> list[torch.Tensor]:
    """The tops of the net's last layer, from its module in ``dtype``."""
    graph = translate(net, Weights({net.layers[-1].name: list(blobs)} if blobs else None)).to(dtype)
    values = [torch.from_numpy(np.array(bottom)).to(dtype) for bottom in bottoms]
    module = getattr(graph, net.layers[-1].name)
    with torch.no_grad():
        tops = module(*values)
    return list(tops)[: len(net.layers[-1].tops)] if isinstance(tops, tuple) else [tops]


def compare(layer: str, bottoms: Sequence[Array], blobs: Sequence[Array] | None = None) -> list[Difference]:
    """How far the module's tops are from the formula's: first in float64, then in float32.

    The weights and bottoms are the same float32 numbers in all three.
    """
    net = net_of(layer, [bottom.shape for bottom in bottoms])
    blobs = [blob.astype(np.float32) for blob in (random_blobs(net) if blobs is None else blobs)]
    bottoms = [bottom.astype(np.float32) for bottom in bottoms]
    expected = [torch.from_numpy(top) for top in reference(net.layers[-1], bottoms, blobs)]
    assert all(top.isfinite().all() for top in expected)
    found = []
    for dtype in (torch.float64, torch.float32):
        tops = by_module(net, bottoms, blobs, dtype)
        assert len(tops) == len(net.layers[-1].tops) and all(top.dtype == dtype for top in tops)
        found += [difference(f"{dtype} top {i}", *pair) for i, pair in enumerate(zip(tops, expected, strict=False))]
    return found
