"""Functions of each value by itself, and Softmax."""

from __future__ import annotations

import math

import numpy as np

from prototxt import Layer

from .registry import Array, formula
from .shapes import along, canonical


def leaky(x: Array, slope: float | Array) -> Array:
    """max(x, 0) + slope min(x, 0)."""
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def logistic(x: Array) -> Array:
    """1 / (1 + e^-x), by tanh, which does not overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softplus(x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@formula("ReLU")
def relu(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """max(x, 0) + negative_slope min(x, 0)."""
    return [leaky(bottoms[0], layer.params.negative_slope)]


@formula("ReLU6")
def relu6(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """A ReLU that ends at ``threshold``, 6 where the text does not say."""
    return [np.minimum(leaky(bottoms[0], layer.params.negative_slope), layer.params.threshold)]


@formula("CReLU")
def concatenated_relu(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The ReLU of x and that of -x, joined along the channels."""
    axis = canonical(layer.params.get("concat_axis", 1), bottoms[0].ndim)
    slope = layer.params.get("negative_slope", 0.0)
    return [np.concatenate([leaky(bottoms[0], slope), leaky(-bottoms[0], slope)], axis=axis)]


@formula("PReLU")
def prelu(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """max(x, 0) + slope min(x, 0), with a slope per channel or one for all."""
    (x,) = bottoms
    slope = blobs[0].reshape(-1)
    return [leaky(x, slope[0] if layer.params.channel_shared else along(slope, 1, x.ndim))]


@formula("ELU")
def elu(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """max(x, 0) + alpha (e^min(x, 0) - 1)."""
    return [np.maximum(bottoms[0], 0) + layer.params.alpha * np.expm1(np.minimum(bottoms[0], 0))]


@formula("Sigmoid")
def sigmoid(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """1 / (1 + e^-x)."""
    return [logistic(bottoms[0])]


@formula("TanH")
def tanh(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return [np.tanh(bottoms[0])]


@formula("Swish")
def swish(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """x sigmoid(beta x)."""
    return [bottoms[0] * logistic(layer.params.beta * bottoms[0])]


@formula("HardSwish")
def hard_swish(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """x clip(x / 6 + 1/2, 0, 1)."""
    return [bottoms[0] * np.clip(bottoms[0] / 6 + 0.5, 0, 1)]


@formula("Mish")
def mish(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """x tanh(log(1 + e^x))."""
    return [bottoms[0] * np.tanh(softplus(bottoms[0]))]


@formula("BNLL")
def bnll(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """log(1 + e^x)."""
    return [softplus(bottoms[0])]


@formula("AbsVal")
def absolute(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """|x|."""
    return [np.abs(bottoms[0])]


@formula("Clip")
def clip(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """min <= x <= max."""
    return [np.maximum(layer.params.min, np.minimum(bottoms[0], layer.params.max))]


@formula("Threshold")
def threshold(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """1 where x exceeds the threshold, else 0."""
    return [(bottoms[0] > layer.params.threshold).astype(np.float64)]


@formula("Power")
def power(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """(shift + scale x)^power; a constant where power scale is 0, whatever x is (``power_layer.cpp``)."""
    params = layer.params
    x = np.zeros_like(bottoms[0]) if params.power * params.scale == 0 else params.scale * bottoms[0]
    with np.errstate(all="ignore"):
        return [(params.shift + x) ** params.power]


@formula("Exp")
def exponential(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """base^(shift + scale x); base -1 stands for e."""
    params = layer.params
    log_base = 1.0 if params.base == -1 else math.log(params.base)
    return [np.exp(log_base * (params.shift + params.scale * bottoms[0]))]


@formula("Log")
def logarithm(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """log to the base of (shift + scale x); base -1 stands for e."""
    params = layer.params
    log_base = 1.0 if params.base == -1 else math.log(params.base)
    with np.errstate(all="ignore"):
        return [np.log(params.shift + params.scale * bottoms[0]) / log_base]


@formula("Softmax")
def softmax(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """e^x / sum of e^x along ``axis``."""
    return [softmax_of(bottoms[0], canonical(layer.params.axis, bottoms[0].ndim))]


def softmax_of(x: Array, axis: int) -> Array:
    """e^x / sum of e^x along ``axis``; the largest x is taken off first, which changes nothing but overflow."""
    exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
    quotient: Array = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return quotient
