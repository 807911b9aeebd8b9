"""Small layers that shift, scale and combine."""

from __future__ import annotations

from .draw import Draw, Small, layer


@layer("BatchNorm")
def batch_norm(d: Draw) -> Small:
    block = f"{d.maybe('eps: 0.001')}{d.of('', 'use_global_stats: true', 'use_global_stats: false')}"
    x = d.image(least=2) if d.of(True, False) else d.normal(d.between(3, 5), d.between(1, 4))
    return Small(f"batch_norm_param {{ {block} }}", [x])


@layer("BN", "BNData")
def bn(d: Draw) -> Small:
    return Small(f"bn_param {{ {d.maybe('eps: 0.001')}{d.maybe('frozen: true')} }}", [d.image()])


@layer("Scale")
def scale(d: Draw) -> Small:
    return _broadcast(d, "scale_param", d.maybe("bias_term: true"))


@layer("Bias")
def bias(d: Draw) -> Small:
    return _broadcast(d, "bias_param", "")


def _broadcast(d: Draw, name: str, more: str) -> Small:
    x = d.any_rank(2, 4)
    axis = d.between(0, x.ndim - 1)
    if d.of(True, False):
        y = d.normal(*x.shape[axis : d.between(axis, x.ndim)])
        return Small(f"{name} {{ axis: {axis} {more} }}", [x, y])
    axes = d.of(-1, d.between(0, x.ndim - axis))
    return Small(f"{name} {{ axis: {axis} num_axes: {axes} {more} }}", [x])


@layer("LRN")
def local_response(d: Draw) -> Small:
    block = f"local_size: {d.of(1, 3, 5)} alpha: 0.3 beta: 0.6 {d.maybe('k: 2')}"
    return Small(f"lrn_param {{ {block} {d.maybe('norm_region: WITHIN_CHANNEL')} }}", [d.image()])


@layer("MVN")
def mean_variance(d: Draw) -> Small:
    block = f"{d.maybe('normalize_variance: false')}{d.maybe('across_channels: true')}{d.maybe('eps: 0.01')}"
    return Small(f"mvn_param {{ {block} }}", [d.image(least=2)])


@layer("Normalize")
def normalize(d: Draw) -> Small:
    block = f"{d.maybe('across_spatial: false')}{d.maybe('channel_shared: false')}{d.maybe('eps: 0.01')}"
    return Small(f"norm_param {{ {block} }}", [d.image()])


@layer("Eltwise")
def eltwise(d: Draw) -> Small:
    x = d.any_rank()
    bottoms = [d.normal(*x.shape) for _ in range(d.between(2, 3))]
    coefficients = " ".join(f"coeff: {c}" for c in (0.5, -1, 2)[: len(bottoms)])
    block = d.of("", "operation: PROD", "operation: MAX", coefficients)
    return Small(f"eltwise_param {{ {block} }}", bottoms)


@layer("Axpy")
def axpy(d: Draw) -> Small:
    x = d.image()
    return Small("", [d.normal(*x.shape[:2], *d.of((1, 1), ())), x, d.normal(*x.shape)])
