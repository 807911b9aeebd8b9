"""Functions of each value by itself, Softmax, and what combines bottoms value by value: Eltwise, Axpy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from prototxt import Layer, Params

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


def _power(x: Array, params: Params) -> Array:
    """(shift + scale x)^power; a constant where power scale is 0, whatever x is (``power_layer.cpp``)."""
    x = np.zeros_like(x) if params.power * params.scale == 0 else params.scale * x
    with np.errstate(all="ignore"):
        result: Array = (params.shift + x) ** params.power
    return result


def _logarithm(x: Array, params: Params) -> Array:
    """log to the base of (shift + scale x)."""
    with np.errstate(all="ignore"):
        result: Array = np.log(params.shift + params.scale * x) / _log_base(params)
    return result


def _log_base(params: Params) -> float:
    """The logarithm of ``base``; -1 stands for e."""
    return 1.0 if params.base == -1 else math.log(params.base)


POINTWISE: Mapping[str, Callable[[Array, Params], Array]] = {
    "AbsVal": lambda x, _: np.abs(x),
    "BNLL": lambda x, _: softplus(x),
    "Clip": lambda x, params: np.maximum(params.min, np.minimum(x, params.max)),
    "ELU": lambda x, params: np.maximum(x, 0) + params.alpha * np.expm1(np.minimum(x, 0)),
    "Exp": lambda x, params: np.exp(_log_base(params) * (params.shift + params.scale * x)),
    "HardSwish": lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1),
    "Log": _logarithm,
    "Mish": lambda x, _: x * np.tanh(softplus(x)),
    "Power": _power,
    "ReLU": lambda x, params: leaky(x, params.negative_slope),
    "ReLU6": lambda x, params: np.minimum(leaky(x, params.negative_slope), params.threshold),
    "Sigmoid": lambda x, _: logistic(x),
    "Swish": lambda x, params: x * logistic(params.beta * x),
    "TanH": lambda x, _: np.tanh(x),
    "Threshold": lambda x, params: (x > params.threshold).astype(np.float64),
}
"""What each type makes of every value, from the value and the layer's parameters."""


@formula(*POINTWISE)
def pointwise(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """One of :data:`POINTWISE`."""
    return [POINTWISE[layer.type](bottoms[0], layer.params)]


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


@formula("Softmax")
def softmax(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """e^x / sum of e^x along ``axis``."""
    return [softmax_of(bottoms[0], canonical(layer.params.axis, bottoms[0].ndim))]


def softmax_of(x: Array, axis: int) -> Array:
    """e^x / sum of e^x along ``axis``; the largest x is taken off first, which changes nothing but overflow."""
    exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
    quotient: Array = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return quotient


@formula("Eltwise")
def eltwise(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Product, sum with a coefficient per bottom, or maximum (``eltwise_layer.cpp``)."""
    operation = layer.params.operation
    if operation == "PROD":
        return [functools.reduce(np.multiply, bottoms)]
    if operation == "MAX":
        return [functools.reduce(np.maximum, bottoms)]
    coefficients = layer.params.coeff or (1.0,) * len(bottoms)
    products = [c * x for c, x in zip(coefficients, bottoms, strict=True)]
    return [functools.reduce(np.add, products)]


@formula("Axpy")
def axpy(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """a x + y, with one a per image and channel; the bottoms are a, x, y (SENet's ``axpy_layer.cpp``)."""
    a, x, y = bottoms
    return [a.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * x + y]
