"""From an image to the network's blob on a GPU, by one Triton kernel."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl

from ...arrays import Size
from ..imresize import plan
from .tiles import tap_rows

_PIXELS = 256
"""Pixels of a program."""


def blob(image: torch.Tensor, size: Size, order: list[int], table: torch.Tensor) -> torch.Tensor:
    """The blob, on the image's device; see :func:`.torch_blob.blob`. ``image`` is contiguous."""
    height, width = size
    planes = torch.empty((3, height, width), dtype=torch.float32, device=image.device)
    tables, rows_first = _tables((int(image.shape[0]), int(image.shape[1])), size, image.device)
    # A fused multiply-add would round differently.
    _make[(triton.cdiv(height * width, _PIXELS), 3)](
        image,
        planes,
        table.to(image.device),
        *tables,
        height,
        width,
        image.shape[1],
        *order,
        ROW_TAPS=len(tables[0]),
        COLUMN_TAPS=len(tables[2]),
        ROWS_FIRST=rows_first,
        PIXELS=_PIXELS,
        enable_fp_fusion=False,
    )
    return planes


@lru_cache(maxsize=8)
def _tables(source: Size, size: Size, device: torch.device) -> tuple[list[torch.Tensor], bool]:
    """The indices and weights of the rows, then of the columns, on a device; and whether the rows go first."""
    planned = plan(source, size)
    parts = (part for taps in (planned.rows, planned.columns) for part in tap_rows(taps))
    return [torch.from_numpy(part).to(device) for part in parts], planned.rows_first


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _make(
    image: tl.tensor,
    planes: tl.tensor,
    table: tl.tensor,
    rows: tl.tensor,
    row_weights: tl.tensor,
    columns: tl.tensor,
    column_weights: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    image_width: tl.tensor,
    red: tl.tensor,
    green: tl.tensor,
    blue: tl.tensor,
    ROW_TAPS: tl.constexpr,
    COLUMN_TAPS: tl.constexpr,
    ROWS_FIRST: tl.constexpr,
    PIXELS: tl.constexpr,
) -> None:
    """Make PIXELS samples of a plane. ``red``, ``green``, ``blue``: the image's channels of the planes 0, 1, 2."""
    plane = tl.program_id(1)
    channel = tl.where(plane == 0, red, tl.where(plane == 1, green, blue))
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    pixel = tl.where(inside, pixel, 0)
    row, column = pixel // width, pixel % width
    total = tl.zeros((PIXELS,), tl.float64)
    if ROWS_FIRST:
        for j in range(COLUMN_TAPS):
            x = tl.load(columns + j * width + column)
            inner = tl.zeros((PIXELS,), tl.float64)
            for i in range(ROW_TAPS):
                y = tl.load(rows + i * height + row).to(tl.int64)
                inner += tl.load(image + (y * image_width + x) * 3 + channel).to(tl.float64) * tl.load(
                    row_weights + i * height + row
                )
            total += _rounded(inner) * tl.load(column_weights + j * width + column)
    else:
        for i in range(ROW_TAPS):
            y = tl.load(rows + i * height + row).to(tl.int64)
            inner = tl.zeros((PIXELS,), tl.float64)
            for j in range(COLUMN_TAPS):
                x = tl.load(columns + j * width + column)
                inner += tl.load(image + (y * image_width + x) * 3 + channel).to(tl.float64) * tl.load(
                    column_weights + j * width + column
                )
            total += _rounded(inner) * tl.load(row_weights + i * height + row)
    value = tl.load(table + plane * 256 + _rounded(total).to(tl.int32))
    tl.store(planes + plane.to(tl.int64) * height * width + pixel, value, mask=inside)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _rounded(x: tl.tensor) -> tl.tensor:
    """Half away from zero, for x >= 0. Not by adding a constant, which Triton might make a float32."""
    whole = tl.floor(x)
    return whole + tl.where(x - whole >= 0.5, 1.0, 0.0)
