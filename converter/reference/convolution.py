"""Sums of products of weights and patches: Convolution, Deconvolution, Im2col, InnerProduct, Embed, Correlation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from prototxt import Layer

from .registry import Array, formula
from .shapes import along, canonical, flattened, per_axis

DEPTHWISE = ("ConvolutionDepthwise", "ConvolutionDepthWise")
"""Types with a group per channel; DepthwiseConvolution has those that the text says."""


class ConvolutionWindow:
    """The sliding window of a convolution along each spatial axis: kernel, stride, pad, dilation."""

    def __init__(self, layer: Layer, axes: int) -> None:
        params = layer.params
        self.kernel = per_axis(params, "kernel_size", axes, 0)
        self.stride = per_axis(params, "stride", axes, 1)
        self.pad = per_axis(params, "pad", axes, 0)
        self.dilation = per_axis(params, "dilation", axes, 1)
        if params.is_set("hole_h") or params.is_set("hole_w"):
            self.dilation = [params.hole_h, params.hole_w]
        elif params.is_set("hole"):
            self.dilation = [params.hole] * axes

    def extent(self) -> list[int]:
        """How much of the input the window covers."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def positions(self, sizes: tuple[int, ...]) -> list[int]:
        """How many windows fit in an input of these sizes."""
        terms = zip(sizes, self.pad, self.extent(), self.stride, strict=True)
        return [(n + 2 * p - e) // s + 1 for n, p, e, s in terms]

    def taps(self, counts: list[int]) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Indices (of the last axes) of each place in the kernel, and of what ``counts`` windows see there."""
        for place in itertools.product(*map(range, self.kernel)):
            starts = [i * d for i, d in zip(place, self.dilation, strict=True)]
            seen = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, counts, self.stride, strict=True)]
            yield (..., *place), (..., *seen)


@formula("Convolution", "ConvolutionData", "HoleConvolution", "HoleConvolutionData", "DepthwiseConvolution", *DEPTHWISE)
def convolution(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y[o, p] = bias[o] + sum over the group's channels c and places k of w[o, c, k] x[c, p stride + k dilation - pad].

    ``conv_layer.cpp``. Several bottoms go through the same weights. Axes before the channel axis are the batch.
    """
    return [_convolve(layer, x, blobs) for x in bottoms]


def _convolve(layer: Layer, x: Array, blobs: list[Array]) -> Array:
    axis = canonical(layer.params.axis, x.ndim)
    channels, sizes = x.shape[axis], x.shape[axis + 1 :]
    window = ConvolutionWindow(layer, len(sizes))
    groups = channels if layer.type in DEPTHWISE else layer.params.group
    outputs = layer.params.num_output
    weight = blobs[0].reshape(groups, outputs // groups, channels // groups, *window.kernel)
    counts = window.positions(sizes)
    padded = np.pad(x, [(0, 0)] * (axis + 1) + [(p, p) for p in window.pad])
    padded = padded.reshape(-1, groups, channels // groups, *padded.shape[axis + 1 :])
    y = np.zeros((len(padded), groups, outputs // groups, math.prod(counts)))
    for place, seen in window.taps(counts):
        patch = flattened(padded[seen], 3)
        y += weight[place] @ patch
    return _with_bias(y.reshape(*x.shape[:axis], outputs, *counts), layer, axis, blobs)


@formula("Deconvolution")
def deconvolution(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The transpose of convolution: each input value adds its kernel to the output (``deconv_layer.cpp``)."""
    return [_deconvolve(layer, x, blobs) for x in bottoms]


def _deconvolve(layer: Layer, x: Array, blobs: list[Array]) -> Array:
    axis = canonical(layer.params.axis, x.ndim)
    channels, sizes = x.shape[axis], x.shape[axis + 1 :]
    window = ConvolutionWindow(layer, len(sizes))
    groups = layer.params.group
    outputs = layer.params.num_output
    weight = blobs[0].reshape(groups, channels // groups, outputs // groups, *window.kernel)
    padded = [s * (n - 1) + e for s, n, e in zip(window.stride, sizes, window.extent(), strict=True)]
    values = x.reshape(-1, groups, channels // groups, math.prod(sizes))
    y = np.zeros((len(values), groups, outputs // groups, *padded))
    for place, seen in window.taps(list(sizes)):
        product = np.swapaxes(weight[place], 1, 2) @ values
        y[seen] += product.reshape(*product.shape[:3], *sizes)
    inside: tuple[Any, ...] = (..., *(slice(p, n - p) for p, n in zip(window.pad, padded, strict=True)))
    y = y[inside]
    return _with_bias(y.reshape(*x.shape[:axis], outputs, *y.shape[3:]), layer, axis, blobs)


def _with_bias(y: Array, layer: Layer, axis: int, blobs: list[Array]) -> Array:
    return np.add(y, along(blobs[1].reshape(-1), axis, y.ndim)) if layer.params.bias_term else y


@formula("Im2col")
def im2col(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The patches themselves, as channels: first by channel, then by place in the kernel (``im2col_layer.cpp``)."""
    (x,) = bottoms
    axis = canonical(layer.params.axis, x.ndim)
    window = ConvolutionWindow(layer, x.ndim - axis - 1)
    counts = window.positions(x.shape[axis + 1 :])
    padded = np.pad(x, [(0, 0)] * (axis + 1) + [(p, p) for p in window.pad])
    patches = np.stack([padded[seen] for _, seen in window.taps(counts)], axis=axis + 1)
    return [flattened(patches, axis, axis + 2)]


@formula("InnerProduct")
def inner_product(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = x wᵀ + bias over everything from ``axis`` on; ``transpose``: w is stored inputs first."""
    (x,) = bottoms
    params = layer.params
    x = flattened(x, canonical(params.axis, x.ndim))
    outputs, inputs = params.num_output, x.shape[-1]
    weight = blobs[0].reshape(inputs, outputs) if params.transpose else blobs[0].reshape(outputs, inputs).T
    y = x @ weight
    return [y + blobs[1].reshape(-1) if params.bias_term else y]


@formula("Embed")
def embed(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = w[x] + bias: each number of the bottom chooses a row (``embed_layer.cpp``)."""
    params = layer.params
    y = blobs[0].reshape(params.input_dim, params.num_output)[bottoms[0].astype(int)]
    return [y + blobs[1].reshape(-1) if params.bias_term else y]


@formula("Correlation")
def correlation(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """How alike patches of two images are, for each displacement (FlowNet's ``correlation_layer.cu``).

    Both are padded with zeros. The patch of the second is moved by multiples of stride_2 up to max_displacement, rows
    outermost; the products (or absolute differences) of the two are averaged over the patch and its channels.
    """
    params = layer.params
    a, b = (np.pad(x, [(0, 0), (0, 0), (params.pad,) * 2, (params.pad,) * 2]) for x in bottoms)
    size, farthest, stride = params.kernel_size, params.max_displacement, params.stride_1
    border = farthest + (size - 1) // 2
    height, width = (math.ceil((n - 2 * border) / stride) for n in a.shape[2:])
    steps = farthest // params.stride_2
    moves = [step * params.stride_2 for step in range(-steps, steps + 1)]
    top = np.zeros((len(a), len(moves) ** 2, height, width))
    for y, x in itertools.product(range(height), range(width)):
        row, column = y * stride + farthest, x * stride + farthest
        patch = a[:, :, row : row + size, column : column + size]
        for channel, (dy, dx) in enumerate(itertools.product(moves, moves)):
            moved = b[:, :, row + dy : row + dy + size, column + dx : column + dx + size]
            multiply = params.correlation_type == "MULTIPLY"
            top[:, channel, y, x] = (patch * moved if multiply else np.abs(patch - moved)).mean(axis=(1, 2, 3))
    return [top]
