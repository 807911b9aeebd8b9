"""The windows of ICNet's pyramid pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BINS = (1, 2, 3, 6)
"""The pyramid's levels: ``conv5_3_pool1`` has one window, ``conv5_3_pool6`` six by six."""

REFERENCE_SIZE = (33, 65)
"""Height and width of ``conv5_3`` for a 1025x2049 image, for which the published net's windows are made."""

REFERENCE_STRIDES: Mapping[int, tuple[int, int]] = {1: (33, 65), 2: (16, 32), 3: (10, 20), 6: (5, 10)}
"""Strides (height, width) of each level in the published prototxt."""

Window = tuple[int, int, int, int]
Pyramid = Mapping[str, Sequence[int]]


def windows(height: int, width: int) -> dict[str, Window]:
    """The pyramid's windows for features of this size: exactly the prototxt's at 33x65, in proportion elsewhere.

    Along an axis of n pixels the stride is max(1, n * s0 // n0), with s0 and n0 the prototxt's stride and size, and the
    kernel n - (bins - 1) * stride, at least 1.

    Returns:
        ``{"pool1": (kernel_h, kernel_w, stride_h, stride_w), "pool2": ..., "pool3": ..., "pool6": ...}``
    """
    result = {}
    for bins in BINS:
        strides = [
            max(1, n * s0 // n0)
            for n, s0, n0 in zip((height, width), REFERENCE_STRIDES[bins], REFERENCE_SIZE, strict=True)
        ]
        kernels = [max(1, n - (bins - 1) * stride) for n, stride in zip((height, width), strides, strict=True)]
        result[f"pool{bins}"] = (kernels[0], kernels[1], strides[0], strides[1])
    return result
