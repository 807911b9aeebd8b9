"""Networks in float64, and how far others are from them."""

from __future__ import annotations

import copy

import torch

from pytorch_icnet import ICNet


def image(size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    """Seeded, (batch, 3, *size), float32, from -50 to 50."""
    return 100 * torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0)) - 50


def judged(net: ICNet, x: torch.Tensor) -> torch.Tensor:
    """The quarter scores in float64."""
    with torch.inference_mode():
        return copy.deepcopy(net).double().quarter_scores(x.double())


def gap(value: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference, over the largest value."""
    assert value.shape == reference.shape
    value, reference = value.detach().double(), reference.detach().double()
    return float((value - reference).abs().max() / reference.abs().max())
