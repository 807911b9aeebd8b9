"""mmsegmentation's own outputs with seeded weights, and networks with these weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy.typing as npt
import torch

from pytorch_icnet.variants import mmseg
from pytorch_icnet.variants.mmseg import MMSegICNet

from . import goldens

DEPTHS = (18, 50)
FOLDERS = {18: "mmseg_r18", 50: "mmseg_r50"}
SIZES = {(129, 257): 0, (193, 321): 1, (128, 256): 2}
"""Inputs by their seed."""
TOLERANCE = {18: 5e-4, 50: 1e-3}
"""Of scores in float32, absolute."""


def arrays(depth: int) -> Mapping[str, npt.NDArray[Any]]:
    return goldens.arrays(FOLDERS[depth])


@cache
def state(depth: int) -> dict[str, torch.Tensor]:
    """The published keys with seeded weights."""
    shapes = {key: tuple(shape) for key, shape, _ in goldens.published_keys(FOLDERS[depth])}
    return {key: torch.from_numpy(value) for key, value in goldens.rules().fill(shapes).items()}


def network(depth: int, dtype: torch.dtype = torch.float64) -> MMSegICNet:
    """In eval mode."""
    return mmseg.build(state(depth)).to(dtype)


def image(size: tuple[int, int], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """1x3xHxW."""
    return goldens.image(1, 3, *size, seed=SIZES[size]).to(dtype)


def training_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """2x3x129x257 in float64, and its labels."""
    return goldens.image(2, 3, 129, 257, seed=10).double(), goldens.targets((2, 129, 257), 20, 255)
