"""The formulas and the translators, written apart, against each other on random small layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converter import activations, registry, summary
from converter.graph import Weights, translate
from converter.reference import reference, types
from prototxt import Net, read_net

from .goldens import distance
from .small import LAYERS, Draw, Small

Array = NDArray[Any]
BOTH = sorted(set(types()) & set(registry.registered()))
POSITIVE = ("BatchNorm", "BN", "BNData")
FLOAT32_INSIDE = {"Interp": 1e-6, "PriorBox": 1e-6, "DetectionOutput": 1e-6, "ReLU": 1e-6}
"""What Caffe, and so a translator, may compute in float32 whatever the type of the values."""


def text_of(kind: str, small: Small) -> str:
    lines = []
    for index, bottom in enumerate(small.bottoms):
        dims = " ".join(f"dim: {size}" for size in bottom.shape)
        lines.append(
            f"layer {{ name: 'in{index}' type: 'Input' top: 'b{index}' input_param {{ shape {{ {dims} }} }} }}"
        )
    bottoms = " ".join(f"bottom: 'b{index}'" for index in range(len(small.bottoms)))
    tops = " ".join(f"top: 't{index}'" for index in range(small.tops))
    lines.append(f"layer {{ name: 'l' type: '{kind}' {bottoms} {tops} {small.params} }}")
    return "\n".join(lines)


def random_blobs(net: Net, random: np.random.Generator) -> list[Array]:
    shapes = [tuple(shape) for row in summary(net) if row["name"] == "l" for shape in row["param_shapes"]]
    if net.layers[-1].type in POSITIVE:
        return [random.uniform(0.5, 1.5, shape).astype(np.float32) for shape in shapes]
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def translated(net: Net, blobs: Sequence[Array], bottoms: Sequence[Array]) -> list[Array]:
    graph = translate(net, Weights({"l": blobs} if blobs else None)).double()
    values = activations(graph, *map(torch.from_numpy, bottoms))
    keys = ["l", *(f"l:{top}" for top in net.layers[-1].tops[1:])]
    return [values[key].detach().numpy() for key in keys[: len(net.layers[-1].tops)]]


@pytest.mark.parametrize("kind", BOTH)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_two_authors_agree(kind: str, data: st.DataObject) -> None:
    draw = Draw(data)
    small = LAYERS[kind](draw)
    net = read_net(text_of(kind, small))
    blobs = random_blobs(net, draw.random)
    expected = reference(net.layers[-1], small.bottoms, blobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = translated(net, blobs, small.bottoms)
    assert len(found) == len(expected) == small.tops
    for top, (value, exact) in enumerate(zip(found, expected, strict=True)):
        assert distance(value, exact) < FLOAT32_INSIDE.get(kind, 1e-12), f"top {top} of {text_of(kind, small)}"


def test_every_type_is_compared() -> None:
    assert set(BOTH) == set(LAYERS) == set(types()) == set(registry.registered())
