"""Layers that shift and scale: BatchNorm, BN, Scale, Bias, LRN, MVN, Normalize."""

from __future__ import annotations

import numpy as np

from prototxt import Layer, Params

from .pooling import Span, pool
from .registry import Array, NoReferenceError, formula
from .shapes import along, canonical


@formula("BatchNorm")
def batch_norm(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = (x - mean) / sqrt(variance + eps), both stored times blob 2, which may be 0 (``batch_norm_layer.cpp``).

    In TEST the stored statistics are used unless the text says otherwise; then those of the batch are.
    """
    (x,) = bottoms
    params = layer.params
    if len(blobs) != 3:
        raise NoReferenceError(f"BatchNorm with {len(blobs)} blobs")
    axis = 1 if x.ndim > 1 else 0
    if params.is_set("use_global_stats") and not params.use_global_stats:
        mean, variance = _moments(x, axis)
    else:
        factor = float(blobs[2].reshape(-1)[0])
        mean, variance = ((blob.reshape(-1) / factor if factor else 0 * blob.reshape(-1)) for blob in blobs[:2])
    return [(x - along(mean, axis, x.ndim)) / np.sqrt(along(variance, axis, x.ndim) + params.eps)]


@formula("BN", "BNData")
def bn(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = (x - mean) (variance + eps)^-1/2 slope + bias, blobs slope, bias, mean, variance (``bn_layer.cpp``).

    SegNet's and ENet's layer of this name has only slope and bias: with ``bn_mode: INFERENCE`` nothing else is
    applied, otherwise x is first normalised by the batch's own moments.
    """
    (x,) = bottoms
    slope, bias, *moments = (along(blob.reshape(-1), 1, x.ndim) for blob in blobs)
    if moments:
        mean, variance = moments
        return [(x - mean) * (variance + layer.params.eps) ** -0.5 * slope + bias]
    if layer.params.bn_mode != "INFERENCE":
        mean, variance = (along(moment, 1, x.ndim) for moment in _moments(x, 1))
        eps = layer.params.var_eps if layer.params.is_set("var_eps") else 1e-9
        x = (x - mean) / np.sqrt(variance + eps)
    return [x * slope + bias]


def _moments(x: Array, axis: int) -> tuple[Array, Array]:
    """Mean and biased variance of each channel."""
    others = tuple(other for other in range(x.ndim) if other != axis)
    return x.mean(axis=others), x.var(axis=others)


@formula("Scale")
def scale(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = x factor (+ bias), ``scale_layer.cpp``: the factor is the second bottom or blob 0, the bias the last blob."""
    x, params = bottoms[0], layer.params
    factor, axis = _operand(params, bottoms, blobs)
    y = x * along(factor, axis, x.ndim)
    return [y + along(blobs[-1].reshape(factor.shape), axis, x.ndim) if params.bias_term else y]


@formula("Bias")
def bias(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = x + term, the second bottom or blob 0 (``bias_layer.cpp``)."""
    term, axis = _operand(layer.params, bottoms, blobs)
    return [bottoms[0] + along(term, axis, bottoms[0].ndim)]


def _operand(params: Params, bottoms: list[Array], blobs: list[Array]) -> tuple[Array, int]:
    """What Scale multiplies with and Bias adds, and the axis of the first bottom at which it begins."""
    x = bottoms[0]
    axis = canonical(params.axis, x.ndim)
    if len(bottoms) == 2:
        return bottoms[1], axis if bottoms[1].ndim else 0
    end = x.ndim if params.num_axes == -1 else axis + params.num_axes
    return blobs[0].reshape(x.shape[axis:end]), axis


@formula("LRN")
def local_response(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = x (k + alpha / n sum of n squares)^-beta, over channels, or over a square of the image with k = 1.

    ``lrn_layer.cpp``. The square always counts local_size² places, those outside the image as zeros. In place over
    channels, Caffe overwrites x with the second factor before it multiplies: y is the square of that factor.
    """
    (x,) = bottoms
    params = layer.params
    size = params.local_size
    if params.norm_region == "WITHIN_CHANNEL":
        spans = [Span(n, size, 1, (size - 1) // 2) for n in x.shape[2:]]
        return [x * (1 + params.alpha * pool(x**2, spans, "AVE")[0]) ** -params.beta]
    reach = (size - 1) // 2
    squares = np.pad(x**2, [(0, 0), (reach, reach), (0, 0), (0, 0)])
    total = sum(squares[:, shift : shift + x.shape[1]] for shift in range(size))
    factor = (params.k + params.alpha / size * total) ** -params.beta
    return [factor * (factor if layer.bottoms == layer.tops else x)]


@formula("MVN")
def mean_variance(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = (x - mean) / (deviation + eps) of each channel, or of each image (``mvn_layer.cpp``); always four axes."""
    x = bottoms[0].reshape(*bottoms[0].shape, *[1] * (4 - bottoms[0].ndim))
    axes = (1, 2, 3) if layer.params.across_channels else (2, 3)
    y = x - x.mean(axis=axes, keepdims=True)
    if layer.params.normalize_variance:
        y = y / (np.sqrt((y**2).mean(axis=axes, keepdims=True)) + layer.params.eps)
    return [y]


@formula("Normalize")
def normalize(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """y = x / sqrt(sum of squares + eps) factor, the sum over channels or over the whole image (SSD's layer)."""
    (x,) = bottoms
    params = layer.params
    axes = tuple(range(1, x.ndim)) if params.across_spatial else (1,)
    norm = np.sqrt((x**2).sum(axis=axes, keepdims=True) + params.eps)
    factor = blobs[0].reshape(-1)
    return [x / norm * (factor[0] if params.channel_shared else along(factor, 1, x.ndim))]
