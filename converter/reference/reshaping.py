"""Layers that move, choose or count values: Concat, Slice, Reshape, Crop, Reduction, ArgMax and their like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prototxt import Layer

from .registry import Array, Formula, NoReferenceError, formula
from .shapes import canonical, flattened

SIMPLE: Mapping[str, Formula] = {
    "BatchReindex": lambda layer, bottoms, blobs: [bottoms[0][bottoms[1].astype(int).reshape(-1)]],
    "Parameter": lambda layer, bottoms, blobs: [blobs[0].reshape(tuple(layer.params.shape.dim))],
    "Silence": lambda layer, bottoms, blobs: [],
    "Split": lambda layer, bottoms, blobs: bottoms * len(layer.tops),
    "Tile": lambda layer, bottoms, blobs: [np.concatenate(bottoms * layer.params.tiles, axis=layer.params.axis)],
}
for _type, _tops in SIMPLE.items():
    formula(_type)(_tops)


@formula("Dropout", "SpatialDropout")
def dropout(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The bottom; with ``scale_train: false`` (forks) it is scaled here instead of in training."""
    ratio = 0.0 if layer.params.get("scale_train", True) else layer.params.dropout_ratio
    return [bottoms[0] * (1 - ratio)]


@formula("DummyData")
def dummy_data(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Tops filled with constants; none or one filler means the same for all (``dummy_data_layer.cpp``)."""
    params, count = layer.params, len(layer.tops)
    if params.shape:
        shapes = [shape.dim for shape in params.shape]
    else:
        shapes = list(zip(params.num, params.channels, params.height, params.width, strict=True))
    if any(filler.type != "constant" for filler in params.data_filler):
        raise NoReferenceError("DummyData with random numbers")
    values = [filler.value for filler in params.data_filler] or [0.0]
    shapes, values = (items * count if len(items) == 1 else items for items in (shapes, values))
    return [np.full(shape, value) for shape, value in zip(shapes, values, strict=True)]


@formula("Concat")
def concat(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The bottoms one after another along ``axis`` (or the older ``concat_dim``)."""
    params = layer.params
    return [np.concatenate(bottoms, axis=params.concat_dim if params.is_set("concat_dim") else params.axis)]


@formula("Slice")
def slice_(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The bottom cut along ``axis`` (or ``slice_dim``) at the slice points, else into equal parts."""
    params = layer.params
    axis = params.slice_dim if params.is_set("slice_dim") else params.axis
    return np.split(bottoms[0], list(params.slice_point) or len(layer.tops), axis=axis)


@formula("Flatten")
def flatten(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The axes from ``axis`` to ``end_axis``, that one included, become one."""
    (x,) = bottoms
    return [flattened(x, canonical(layer.params.axis, x.ndim), canonical(layer.params.end_axis, x.ndim) + 1)]


@formula("Reshape")
def reshape(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """``num_axes`` axes from ``axis`` on get a new shape: 0 keeps the size at that place, -1 takes what is left.

    ``reshape_layer.cpp``; a negative ``axis`` counts from behind the last one.
    """
    (x,) = bottoms
    params = layer.params
    start = canonical(params.axis, x.ndim + 1)
    end = x.ndim if params.num_axes == -1 else start + params.num_axes
    sizes = [x.shape[start + place] if size == 0 else size for place, size in enumerate(params.shape.dim)]
    return [x.reshape(*x.shape[:start], *sizes, *x.shape[end:])]


@formula("Permute")
def permute(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The axes in the given order, and after them the others (SSD's ``permute_layer.cpp``)."""
    order = list(layer.params.order)
    order += [axis for axis in range(bottoms[0].ndim) if axis not in order]
    return [bottoms[0].transpose(order)]


@formula("ShuffleChannel")
def shuffle_channel(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Channel i of group g becomes channel i groups + g."""
    (x,) = bottoms
    groups = layer.params.group
    channels = [g * (x.shape[1] // groups) + i for i in range(x.shape[1] // groups) for g in range(groups)]
    return [x[:, channels]]


@formula("Crop")
def crop(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """From ``axis`` on the size of the second bottom, beginning at the offset (one for all axes, or one for each)."""
    x, like = bottoms
    axis = canonical(layer.params.axis, x.ndim)
    offsets = list(layer.params.offset) or [0]
    offsets *= (x.ndim - axis) if len(offsets) == 1 else 1
    cuts = [slice(start, start + size) for start, size in zip(offsets, like.shape[axis:], strict=True)]
    return [x[(*[slice(None)] * axis, *cuts)]]


@formula("Reduction")
def reduction(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """coeff times the sum, sum of magnitudes, sum of squares or mean over everything from ``axis`` on."""
    (x,) = bottoms
    params = layer.params
    x = flattened(x, canonical(params.axis, x.ndim))
    terms = {"ASUM": np.abs(x), "SUMSQ": x * x}.get(params.operation, x)
    return [params.coeff * (terms.mean(axis=-1) if params.operation == "MEAN" else terms.sum(axis=-1))]


@formula("ArgMax")
def arg_max(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Where the ``top_k`` largest values are, or these values; of equal ones the last comes first.

    ``argmax_layer.cpp``. Without ``axis`` each image is one row, and ``out_max_val`` puts the values behind the
    indices: N x 1 (2) x top_k, with ones behind it for as many axes as the bottom has.
    """
    (x,) = bottoms
    params = layer.params
    along_axis = params.is_set("axis")
    axis = canonical(params.axis, x.ndim) if along_axis else 1
    rows = np.moveaxis(x, axis, -1) if along_axis else flattened(x, 1)
    backwards = np.argsort(rows, axis=-1, kind="stable")[..., ::-1][..., : params.top_k]
    values = np.take_along_axis(rows, backwards, axis=-1)
    if along_axis:
        return [np.moveaxis(values if params.out_max_val else backwards, -1, axis)]
    columns = np.stack([backwards, values] if params.out_max_val else [backwards], axis=1)
    return [columns.reshape(*columns.shape, *[1] * (x.ndim - 3))]


@formula("Filter")
def filter_(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Of every bottom but the last, the rows at which the last one is not 0."""
    *values, selector = bottoms
    chosen = selector.reshape(-1) != 0
    return [x[chosen] for x in values]
