"""From the net's scores to the label map at the image's own size, as the official evaluation makes it.

All implementations give the plain one's label map (:mod:`.plain`); what they share is proven in :mod:`.fused.tiles`.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np
import torch

from ..arrays import Bytes, Floats, Size
from . import plain
from .fused.tiles import Candidate, tiling
from .implementations import choose
from .imresize import plan
from .plain import ZOOM, first_maximum
from .preprocess import FULL_SIZE

__all__ = ["ZOOM", "first_maximum", "postprocess", "probabilities"]


def postprocess(scores: torch.Tensor, size: Size, *, full_size: Size = FULL_SIZE, form: str | None = None) -> Bytes:
    """The label map of an image.

    Where the original overflows (a score above 88.7), this does not: the maximum is subtracted before
    ``exp``, which leaves the labels of finite results as they are. NaN loses to every number; where all are
    NaN the label is 0.

    Args:
        scores: CxHxW or 1xCxHxW, at most 256 classes; floating point, on any device. Their (H, W) is either
            ``full_size`` (used as they are) or a quarter of it, 4H - 3 and 4W - 3 (then Caffe's Interp is
            applied).
        size: height and width of the image, and of the result.
        full_size: height and width of the net's input.
        form: "plain", "numba", "torch" or "triton"; None: the fastest that the device and the installed packages
            allow. The label map is the same.

    Returns:
        uint8 of ``size``: the index of the first largest probability, which is the trainId.

    Raises:
        ValueError: scores of another shape or size, or a form that is unknown or cannot be used for them.
    """
    planes, zoom = _planes(scores, full_size)
    planned = plan(tuple(full_size), tuple(size))
    form = choose(form, planes.device)
    candidate: Candidate | None = None
    if form != "plain":
        geometry = tiling(tuple(full_size), planned.size, zoom)
        candidate = import_module(f"{__package__}.fused.{form}_labels").candidate(planes, geometry)
    if candidate is None:
        return plain.label_rows(planes, zoom, planned, 0, planned.size[0])
    return candidate.finish(planes, zoom, planned)


def probabilities(scores: torch.Tensor, size: Size, *, full_size: Size = FULL_SIZE) -> Floats:
    """The class probabilities at the image's own size, float32 HxWxC; arguments as for postprocess."""
    planes, zoom = _planes(scores, full_size)
    planned = plan(tuple(full_size), tuple(size))
    blocks = [block for _, _, block in plain.probability_rows(planes, zoom, planned, 0, planned.size[0])]
    return np.concatenate(blocks)


def _planes(scores: torch.Tensor, full_size: Size) -> tuple[torch.Tensor, int]:
    """The scores as float32 CxHxW, and the zoom that brings them to the full size."""
    shape = tuple(scores.shape)
    planes = scores[0] if scores.ndim == 4 and shape[0] == 1 else scores
    if planes.ndim != 3 or not 1 <= planes.shape[0] <= 256:
        raise ValueError(f"scores are CxHxW or 1xCxHxW with at most 256 classes, not of shape {shape}")
    height, width = planes.shape[1:]
    whole = (height, width) == tuple(full_size)
    if not whole and (plain.zoomed(height), plain.zoomed(width)) != tuple(full_size):
        raise ValueError(
            f"scores of {height}x{width}, which Interp makes {plain.zoomed(height)}x{plain.zoomed(width)}, are neither "
            f"of the full size {full_size[0]}x{full_size[1]} nor a quarter of it"
        )
    return planes.detach().to(torch.float32), 1 if whole else ZOOM
