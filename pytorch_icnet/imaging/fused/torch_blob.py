"""From an image to the network's blob in torch's own operations, on any device with doubles."""

from __future__ import annotations

import torch

from ...arrays import Size
from ..imresize import BELOW_HALF, Taps, plan


def blob(image: torch.Tensor, size: Size, order: list[int], table: torch.Tensor) -> torch.Tensor:
    """The blob, float32 3xHxW, on the image's device.

    Args:
        image: uint8 HxWx3.
        size: height and width of the blob.
        order: the image's channel of each plane.
        table: (3, 256): what a byte becomes in each plane.
    """
    planned = plan((int(image.shape[0]), int(image.shape[1])), size)
    planes = image.permute(2, 0, 1)[order]
    passes = [(planned.rows, 1), (planned.columns, 2)]
    for taps, axis in passes if planned.rows_first else reversed(passes):
        planes = _resample(planes, taps, axis)
    return torch.stack([row[plane.int()] for row, plane in zip(table.to(image.device), planes, strict=True)])


def _resample(planes: torch.Tensor, taps: Taps, axis: int) -> torch.Tensor:
    """One pass over 3xHxW, rounded to bytes: in double, products and sums apart, the taps in order."""
    indices, weights = (torch.from_numpy(part).to(planes.device) for part in (taps.indices, taps.weights))
    total = None
    for k in range(weights.shape[1]):
        weight = weights[:, k, None] if axis == 1 else weights[:, k]
        term = planes.index_select(axis, indices[:, k]) * weight
        total = term if total is None else total.add_(term)
    assert total is not None
    return total.add_(BELOW_HALF).to(torch.uint8)
