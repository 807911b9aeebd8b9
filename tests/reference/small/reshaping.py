"""Small layers that move, choose and count values."""

from __future__ import annotations

import numpy as np

from .draw import Draw, Small, layer


@layer("Split")
def split(d: Draw) -> Small:
    return Small("", [d.any_rank()], d.between(1, 3))


@layer("Silence")
def silence(d: Draw) -> Small:
    return Small("", [d.any_rank()], 0)


@layer("Parameter")
def parameter(d: Draw) -> Small:
    return Small(f"parameter_param {{ shape {{ dim: {d.between(1, 3)} dim: {d.between(1, 3)} }} }}", [])


@layer("DummyData")
def dummy_data(d: Draw) -> Small:
    shape = d.of("shape { dim: 2 dim: 3 }", "num: 2 channels: 1 height: 3 width: 2")
    filler = d.of("", "data_filler { type: 'constant' value: 1.5 }")
    return Small(f"dummy_data_param {{ {shape} {filler} }}", [], d.between(1, 2))


@layer("Concat")
def concat(d: Draw) -> Small:
    x = d.any_rank()
    axis = d.between(0, x.ndim - 1)
    shape = list(x.shape)
    bottoms = [x]
    for _ in range(d.between(0, 2)):
        shape[axis] = d.between(1, 3)
        bottoms.append(d.normal(*shape))
    return Small(
        f"concat_param {{ {d.of(f'axis: {axis}', f'axis: {axis - x.ndim}', f'concat_dim: {axis}')} }}", bottoms
    )


@layer("Slice")
def slice_(d: Draw) -> Small:
    axis = d.between(0, 2)
    tops = d.between(1, 3)
    shape = [d.between(1, 3) for _ in range(3)]
    shape[axis] = 2 * tops
    points = sorted(d.random.permutation(np.arange(1, 2 * tops))[: tops - 1]) if d.of(True, False) else []
    block = " ".join(f"slice_point: {point}" for point in points)
    return Small(f"slice_param {{ {d.of('axis', 'slice_dim')}: {axis} {block} }}", [d.normal(*shape)], tops)


@layer("Flatten")
def flatten(d: Draw) -> Small:
    x = d.any_rank(2)
    start = d.between(0, x.ndim - 1)
    return Small(f"flatten_param {{ axis: {start} end_axis: {d.of(-1, d.between(start, x.ndim - 1))} }}", [x])


@layer("Reshape")
def reshape(d: Draw) -> Small:
    x = d.normal(2, 6, 4, d.between(1, 3))
    block = d.of(
        "shape { dim: 0 dim: -1 }",
        "shape { dim: 0 dim: 0 dim: 2 dim: -1 }",
        "shape { dim: 3 dim: 8 } axis: 1 num_axes: 2",
        "shape { dim: 1 } axis: 1 num_axes: 0",
        "shape { dim: 2 dim: -1 } axis: -3 num_axes: 2",
        "shape { dim: 1 } axis: -1 num_axes: 0",
    )
    return Small(f"reshape_param {{ {block} }}", [x])


@layer("Permute")
def permute(d: Draw) -> Small:
    order = d.random.permutation(4)[: d.between(1, 4)]
    return Small(f"permute_param {{ {' '.join(f'order: {axis}' for axis in order)} }}", [d.image()])


@layer("ShuffleChannel")
def shuffle_channel(d: Draw) -> Small:
    groups = d.between(1, 3)
    return Small(f"shuffle_channel_param {{ group: {groups} }}", [d.image(groups * d.between(1, 3))])


@layer("Crop")
def crop(d: Draw) -> Small:
    like = d.any_rank(3, 4)
    axis = d.between(1, like.ndim - 1)
    offsets = (
        [d.between(0, 2)] * (like.ndim - axis) if d.of(True, False) else [d.between(0, 2) for _ in like.shape[axis:]]
    )
    extra = [*[0] * axis, *(offset + d.between(0, 1) for offset in offsets)]
    x = d.normal(*(size + more for size, more in zip(like.shape, extra, strict=True)))
    given = offsets[:1] if len(set(offsets)) == 1 else offsets
    return Small(f"crop_param {{ axis: {axis} {' '.join(f'offset: {offset}' for offset in given)} }}", [x, like])


@layer("Tile")
def tile(d: Draw) -> Small:
    x = d.any_rank(2)
    return Small(f"tile_param {{ axis: {d.axis(x)} tiles: {d.between(1, 3)} }}", [x])


@layer("Reduction")
def reduction(d: Draw) -> Small:
    x = d.any_rank()
    operation = d.of("SUM", "ASUM", "SUMSQ", "MEAN")
    return Small(f"reduction_param {{ operation: {operation} axis: {d.axis(x)} {d.maybe('coeff: -0.5')} }}", [x])


@layer("ArgMax")
def arg_max(d: Draw) -> Small:
    x = np.round(2 * d.any_rank(2, 4))  # with ties
    axis = d.of(None, d.between(0, x.ndim - 1))
    size = x[0].size if axis is None else x.shape[axis]
    block = f"top_k: {d.between(1, min(3, size))} {d.maybe('out_max_val: true')}"
    return Small(f"argmax_param {{ {block} {'' if axis is None else f'axis: {axis}'} }}", [x])


@layer("BatchReindex")
def batch_reindex(d: Draw) -> Small:
    x = d.any_rank()
    return Small("", [x, d.labels(len(x), d.between(1, 5))])


@layer("Filter")
def filter_(d: Draw) -> Small:
    rows, bottoms = d.between(1, 4), d.between(1, 2)
    selector = d.labels(2, rows)
    selector[d.between(0, rows - 1)] = 1
    return Small("", [*(d.normal(rows, d.between(1, 3)) for _ in range(bottoms)), selector], bottoms)
