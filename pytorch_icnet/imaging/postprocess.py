"""From the net's scores to the label map at the image's own size, as the official evaluation makes it.

The order matters for the pixels near a boundary: scores to the net's full resolution, softmax,
*probabilities* resized with MATLAB's antialiased ``imresize``, then the first maximum. This is the plain
form, which faster ones are tested against. It works on a few rows at a time, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from .imresize import Plan, plan
from .preprocess import FULL_SIZE

Floats = npt.NDArray[np.float32]

ZOOM = 4
"""conv6_interp's zoom factor in ICNet's deploy nets."""

_BLOCK_ROWS = 32


def postprocess(
    scores: torch.Tensor, size: tuple[int, int], *, full_size: tuple[int, int] = FULL_SIZE
) -> npt.NDArray[np.uint8]:
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

    Returns:
        uint8 of ``size``: the index of the first largest probability, which is the trainId.

    Raises:
        ValueError: scores of another shape or size.
    """
    labels = np.empty(size, np.uint8)
    for start, stop, block in _probability_rows(scores, size, full_size):
        labels[start:stop] = first_maximum(block)
    return labels


def probabilities(scores: torch.Tensor, size: tuple[int, int], *, full_size: tuple[int, int] = FULL_SIZE) -> Floats:
    """The class probabilities at the image's own size, float32 HxWxC; arguments as for postprocess."""
    blocks = [block for _, _, block in _probability_rows(scores, size, full_size)]
    return np.concatenate(blocks)


def first_maximum(values: Floats) -> npt.NDArray[np.uint8]:
    """Index of the first largest value along the last axis, NaN ignored, as MATLAB's ``max`` chooses."""
    return np.asarray(np.where(np.isnan(values), -np.inf, values).argmax(axis=-1), np.uint8)


def _probability_rows(
    scores: torch.Tensor, size: tuple[int, int], full_size: tuple[int, int]
) -> Iterator[tuple[int, int, Floats]]:
    """Blocks (start, stop, probabilities of the output rows [start, stop): rows x W x C)."""
    planes, zoomed = _planes(scores, full_size)
    planned: Plan = plan(tuple(full_size), tuple(size))
    if zoomed:
        planes = interp_columns(planes)
    for start in range(0, size[0], _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, size[0])
        first, last = planned.source_rows(start, stop)
        rows = interp_rows(planes, first, last) if zoomed else planes[:, first:last]
        source = np.ascontiguousarray(softmax(rows).transpose(1, 2, 0))
        yield start, stop, planned.resample(source, start, stop, first)


def _planes(scores: torch.Tensor, full_size: tuple[int, int]) -> tuple[Floats, bool]:
    """The scores as a float32 array CxHxW, and whether they are a quarter of the full size."""
    shape = tuple(scores.shape)
    planes = scores[0] if scores.ndim == 4 and shape[0] == 1 else scores
    if planes.ndim != 3 or not 1 <= planes.shape[0] <= 256:
        raise ValueError(f"scores are CxHxW or 1xCxHxW with at most 256 classes, not of shape {shape}")
    height, width = planes.shape[1:]
    whole = (height, width) == tuple(full_size)
    if not whole and (_zoomed(height), _zoomed(width)) != tuple(full_size):
        raise ValueError(
            f"scores of {height}x{width}, which Interp makes {_zoomed(height)}x{_zoomed(width)}, are neither "
            f"of the full size {full_size[0]}x{full_size[1]} nor a quarter of it"
        )
    return planes.detach().to("cpu", torch.float32).numpy(), not whole


def _zoomed(length: int) -> int:
    return length + (length - 1) * (ZOOM - 1)


def interp_columns(planes: Floats) -> Floats:
    """The horizontal half of Caffe's Interp with zoom 4: ... x W -> ... x 4W-3, float32.

    Together with :func:`interp_rows` this is (1-ly) * ((1-lx)*a + lx*b) + ly * (...), the order of the
    operands in Caffe's ``util/interp.cpp``; with this zoom all of its weights are exact.
    """
    left, right = planes[..., :-1], planes[..., 1:]
    result = np.empty((*planes.shape[:-1], _zoomed(planes.shape[-1])), np.float32)
    result[..., -1] = planes[..., -1]
    for phase in range(ZOOM):
        weight = np.float32(phase / ZOOM)
        result[..., phase:-1:ZOOM] = (1 - weight) * left + weight * right
    return result


def interp_rows(planes: Floats, first: int, last: int) -> Floats:
    """The rows [first, last) of the vertical half, from C x H x W; see :func:`interp_columns`."""
    position = np.arange(first, last)
    weight = ((position % ZOOM) / ZOOM).astype(np.float32)[:, None]
    upper = position // ZOOM
    lower = np.minimum(upper + 1, planes.shape[1] - 1)
    return (1 - weight) * planes[:, upper] + weight * planes[:, lower]


def softmax(scores: Floats) -> Floats:
    """Softmax over the first axis in float32; the exponentials are added in the order of the classes."""
    with np.errstate(invalid="ignore"):  # infinities become NaN, as they do in the original
        exponentials: Floats = np.exp(scores - scores.max(axis=0))
    total = exponentials[0].copy()
    for plane in exponentials[1:]:
        total += plane
    exponentials /= total
    return exponentials
