"""Every layer type against its formula in NumPy: in float64 to the last digits, and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from converter import registry, summary
from converter.compare import difference, first_diverging, worst

from .cases import CASES, ELSEWHERE
from .single import by_module, compare, net_of, random_blobs

EXACT, NOISE = 1e-12, 3e-6
"""Relative bounds for float64 and float32."""


NAMES = [f"{index}-{layer}" for index, (layer, _, _) in enumerate(CASES)]


def bottoms_for(shapes: Sequence[tuple[int, ...]], holds: str, seed: int = 1) -> list[NDArray[Any]]:
    """Seeded values for the bottoms of a case; see :mod:`.cases`."""
    generator = np.random.default_rng(seed)
    values = [generator.standard_normal(shape) for shape in shapes]
    kind, _, number = holds.rpartition(" ")
    if holds.startswith("positive"):
        values[0] = np.abs(values[0]) + 0.1
    if kind.endswith(("labels", "gains")):
        last = 1 if kind == "gains" else len(shapes) - 1
        values[last] = generator.integers(0, int(number), shapes[last]).astype(float)
    if kind == "ties":
        values = [generator.integers(0, int(number), shape).astype(float) for shape in shapes]
    if kind == "mask":  # positions that differ within a plane
        images, channels, height, width = shapes[1]
        planes = [generator.permutation(int(number))[: height * width] for _ in range(images * channels)]
        values[1] = np.array(planes, float).reshape(shapes[1])
    if holds == "cont":
        values[1] = generator.integers(0, 2, shapes[1]).astype(float)
    if holds == "boxes":
        corners = generator.uniform(-8, 60, (shapes[1][0], 2, 2)).round(1)
        corners = np.sort(corners, axis=1).reshape(-1, 4) if seed else corners
        values[1] = np.concatenate([generator.integers(0, shapes[0][0], (len(corners), 1)), corners], axis=1)
    return values


@pytest.mark.parametrize(("layer", "shapes", "holds"), CASES, ids=NAMES)
def test_modules_equal_formulas(layer: str, shapes: list[tuple[int, ...]], holds: str) -> None:
    found = compare(layer, bottoms_for(shapes, holds))
    exact = [difference for difference in found if difference.layer.startswith("torch.float64")]
    if not layer.startswith("Interp"):  # whose formula has positions in float32, whatever the blobs are
        assert first_diverging(exact, EXACT) is None, worst(exact)
    assert first_diverging(found, NOISE) is None, worst(found)


@pytest.mark.parametrize(("layer", "shapes", "holds"), CASES, ids=NAMES)
def test_shapes_are_known_beforehand(layer: str, shapes: list[tuple[int, ...]], holds: str) -> None:
    net = net_of(layer, shapes)
    tops = by_module(net, bottoms_for(shapes, holds), random_blobs(net), torch.float32)
    row = summary(net)[-1] if net.layers[-1].type != "Split" else {"top_shapes": [list(shapes[0])] * 2}
    found = [list(top.shape) for top in tops]
    if net.layers[-1].type == "Filter":  # how many items are kept depends on their values
        assert [shape[1:] for shape in found] == [shape[1:] for shape in row["top_shapes"]]
    else:
        assert found == row["top_shapes"]


def test_every_type_has_a_case() -> None:
    types = {name for name, kind in registry.registered().items() if kind.translate.__module__.startswith("converter.")}
    assert {case[0].split(" ")[0] for case in CASES} | ELSEWHERE == types


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        ("Convolution convolution_param { num_output: 6 kernel_size: 3 pad_h: 1 ", "pad_w: 1"),
        ("Pooling pooling_param { kernel_size: 3 stride: 2 pad: 1 ", "pool: AVE"),
        ("LRN lrn_param { local_size: 3 alpha: 0.1 ", "k: 1.001"),
        ("MVN mvn_param { ", "eps: 1e-4"),
        ("Power power_param { power: 2 shift: 3 ", "scale: 1.0001"),
    ],
)
def test_a_wrong_parameter_is_noticed(layer: str, wrong: str) -> None:
    bottoms = [value.astype(np.float32) for value in bottoms_for([(2, 4, 7, 9)], "normal")]
    right, other = (net_of(f"{layer}{more} }}", [bottoms[0].shape]) for more in ("", wrong))
    blobs = random_blobs(right)
    (ours,), (theirs,) = (by_module(net, bottoms, blobs, torch.float32) for net in (right, other))
    assert difference("", theirs, ours).relative > NOISE
