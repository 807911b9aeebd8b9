"""From an RGB image to the blob that ICNet was trained on, as the official evaluation makes it."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import torch

from ..arrays import Bytes, Doubles, Size
from .implementations import choose
from .imresize import BELOW_HALF, Plan, imresize, plan
from .normalization import CAFFE, Normalization

FULL_SIZE = (1025, 2049)
"""Height and width at which the official evaluation (``eval_all.m``) feeds the net."""

_BLOCK_ROWS = 8


def preprocess(rgb: Bytes | torch.Tensor, size: Size = FULL_SIZE, *, form: str | None = None) -> torch.Tensor:
    """Resize with MATLAB's arithmetic, subtract the mean, and order the channels as Caffe's net expects them.

    Args:
        rgb: uint8 HxWx3, channels red, green, blue; an array, or a tensor on any device.
        size: height and width of the net's input.
        form: "plain", "numba", "torch" or "triton"; None: the fastest that the device and the installed packages
            allow. The blob is the same, to the last bit.

    Returns:
        float32 tensor 1x3xHxW of ``size``, channels blue, green, red, about -124 to 151, on the device of ``rgb``. The
        image is resized as uint8, so it is rounded before the mean is subtracted.

    Raises:
        TypeError: ``rgb`` is not uint8.
        ValueError: ``rgb`` is not HxWx3, the size is unusable, or the form is unknown or cannot be used.
    """
    return image_blob(rgb, size, CAFFE, form=form)


def image_blob(
    rgb: Bytes | torch.Tensor, size: Size, pixels: Normalization, *, form: str | None = None
) -> torch.Tensor:
    """The same as :func:`preprocess`, for networks that want their colours otherwise."""
    if rgb.dtype not in (np.uint8, torch.uint8):
        raise TypeError(f"preprocess takes uint8 images, not {rgb.dtype}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"preprocess takes RGB images of HxWx3, not of shape {tuple(rgb.shape)}")
    if isinstance(rgb, np.ndarray):  # its memory, or a copy where torch could not take it as it is
        image = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
    else:
        image = rgb.contiguous()
    chosen = choose(form, image.device, instead="plain")
    if chosen == "plain":
        return pixels.blob(resize_image(image.cpu().numpy(), size)).to(image.device)
    order = ["RGB".index(name) for name in pixels.order]
    table = pixels.blob(np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2))[0, :, 0]
    planes: torch.Tensor = import_module(f"{__package__}.fused.{chosen}_blob").blob(image, tuple(size), order, table)
    return planes[None]


def resize_image(image: Bytes, size: Size) -> Bytes:
    """``imresize(image, size)`` for a uint8 image HxWxC, three times as fast for Cityscapes' 1024x2048."""
    height, width, _ = image.shape
    if tuple(size) == (height + 1, width + 1) and height < width:
        return _grow_by_one(image, plan((height, width), size))
    return imresize(image, size)


def _grow_by_one(image: Bytes, planned: Plan) -> Bytes:
    """The same bits as the plain implementation, from slices instead of gathers.

    Growing by one, output i is made of the inputs i - 1 and i in that order, with the border sample
    repeated: two taps, no antialiasing. The columns go first because theirs is the smaller scale.
    """
    height, width, channels = image.shape
    left, right = planned.columns.weights.repeat(channels, axis=0).T
    upper, lower = planned.rows.weights.T[:, :, None]
    padded = np.pad(image, ((0, 0), (1, 1), (0, 0)), "edge").reshape(height, -1)
    wide = np.empty((height + 2, (width + 1) * channels), np.uint8)
    for start in range(0, height, _BLOCK_ROWS):
        block = padded[start : start + _BLOCK_ROWS].astype(np.float64)
        wide[start + 1 : start + 1 + len(block)] = _blend(block[:, :-channels], left, block[:, channels:], right)
    wide[0], wide[-1] = wide[1], wide[-2]
    grown = np.empty((height + 1, (width + 1) * channels), np.uint8)
    for start in range(0, height + 1, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, height + 1)
        block = wide[start : stop + 1].astype(np.float64)
        grown[start:stop] = _blend(block[:-1], upper[start:stop], block[1:], lower[start:stop])
    return grown.reshape(height + 1, width + 1, channels)


def _blend(first: Doubles, first_weight: Doubles, second: Doubles, second_weight: Doubles) -> Doubles:
    """The weighted sum, ready to be truncated to uint8."""
    total = first * first_weight
    total += second * second_weight
    total += BELOW_HALF
    return total
