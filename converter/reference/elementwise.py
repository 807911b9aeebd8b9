"""Layers that combine bottoms value by value: Eltwise, Axpy."""

from __future__ import annotations

import functools

import numpy as np

from prototxt import Layer

from .registry import Array, formula


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
