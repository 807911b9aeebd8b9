"""Predicting an image larger than a network's input in overlapping tiles, as pytorch-semseg's ``tile_predict`` does."""

from __future__ import annotations

import torch
from torch import nn

from icnet_common.errors import InputError

from ..card import card_of


def tiled_probabilities(
    model: nn.Module, x: torch.Tensor, *, mirror: bool = True, overwrite: bool = False
) -> torch.Tensor:
    """Probabilities of images from tiles of the input size on the network's card.

    There are n + 1 rows and n + 1 columns of tiles, evenly from edge to edge, with n the larger ratio of image to tile,
    rounded down, plus 1.

    Args:
        model: gives scores of the size of its input, and has a card.
        x: (N, 3, H, W), at least as high and wide as a tile.
        mirror: average over each tile and its mirror image.
        overwrite: where tiles overlap take the last one's probabilities, as published; otherwise their mean.

    Returns:
        (N, classes, H, W), which sum to 1.

    Raises:
        InputError: images smaller than a tile.
    """
    height, width = x.shape[-2:]
    size = card_of(model).input_size
    if size is None:
        raise InputError("the network says nothing of an input size")
    rows, columns = size
    if height < rows or width < columns:
        raise InputError(f"an image of {height}x{width} is smaller than one tile of {rows}x{columns}")
    steps = int(max(height / rows, width / columns) + 1)
    total: torch.Tensor | None = None
    for top in _starts(height, rows, steps):
        for left in _starts(width, columns, steps):
            place = (..., slice(top, top + rows), slice(left, left + columns))
            tile = _probabilities(model, x[place], mirror=mirror)
            if total is None:
                total = tile.new_zeros((*tile.shape[:2], height, width))
            if overwrite:
                total[place] = tile
            else:
                total[place] += tile
    assert total is not None
    return total / total.sum(1, keepdim=True)


def _starts(length: int, tile: int, steps: int) -> list[int]:
    stride = (length - tile) / steps
    return [int(number * stride) for number in range(steps + 1)]


def _probabilities(model: nn.Module, tile: torch.Tensor, *, mirror: bool) -> torch.Tensor:
    with torch.no_grad():
        probabilities: torch.Tensor = model(tile).softmax(1)
        if mirror:
            probabilities = (probabilities + model(tile.flip(-1)).softmax(1).flip(-1)) / 2
    return probabilities
