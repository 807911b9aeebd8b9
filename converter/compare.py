"""How far two sets of activations are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

LIMIT = 3e-5
"""Caffe's own float32 noise in ICNet: blobs within this relative difference are as equal as Caffe is with itself."""


@dataclass(frozen=True)
class Difference:
    """Of one layer's top: max|a - b|, and the same divided by max|b| (b is the reference)."""

    layer: str
    absolute: float
    relative: float


def difference(layer: str, value: torch.Tensor, reference: torch.Tensor) -> Difference:
    """The difference of one blob; infinite where the shapes differ or only one of the two is finite."""
    if value.shape != reference.shape:
        return Difference(layer, math.inf, math.inf)
    a, b = value.detach().double().cpu(), reference.detach().double().cpu()
    if not a.numel():
        return Difference(layer, 0.0, 0.0)
    absolute, scale = float((a - b).abs().max()), float(b.abs().max())
    if not (math.isfinite(absolute) and math.isfinite(scale)):
        same = (a == b) | (a.isnan() & b.isnan())
        absolute = float(torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf).max())
        finite = b[b.isfinite()]
        scale = float(finite.abs().max()) if finite.numel() else 0.0
    return Difference(layer, absolute, absolute / scale if scale else absolute)


def differences(values: Mapping[str, torch.Tensor], references: Mapping[str, torch.Tensor]) -> list[Difference]:
    """Of every layer that both have, in the order of ``values``."""
    return [difference(name, value, references[name]) for name, value in values.items() if name in references]


def worst(found: Sequence[Difference]) -> Difference:
    """The largest relative difference.

    Raises:
        ValueError: nothing was compared.
    """
    return max(found, key=lambda item: item.relative)


def first_diverging(found: Sequence[Difference], limit: float = LIMIT) -> Difference | None:
    """The first layer beyond ``limit``, which is where to look for the fault."""
    return next((item for item in found if not item.relative <= limit), None)
