"""Small layers with windows and weights: convolutions, pooling, InnerProduct."""

from __future__ import annotations

import numpy as np

from .draw import Draw, Small, layer


def window(d: Draw, sizes: tuple[int, ...], *, dilated: bool = True) -> str:
    """Kernel, stride, pad and dilation for images of these sizes; the kernel fits."""
    fields: dict[str, list[int]] = {"kernel": [], "stride": [], "pad": [], "dilation": []}
    for size in sizes:
        pad = d.between(0, 3)
        dilation = d.between(1, 3) if dilated else 1
        kernel = d.between(1, min(4, (size + 2 * pad - 1) // dilation + 1))
        for name, value in zip(fields, (kernel, d.between(1, 3), pad, dilation), strict=True):
            fields[name].append(value)
    text = ""
    for name, values in fields.items():
        if len(sizes) == 2 and name != "dilation" and d.of(True, False):
            text += f"{name}_h: {values[0]} {name}_w: {values[1]} "
        else:
            text += " ".join(f"{'kernel_size' if name == 'kernel' else name}: {value}" for value in values) + " "
    return text


@layer("Convolution", "ConvolutionData", "HoleConvolution", "HoleConvolutionData")
def convolution(d: Draw) -> Small:
    groups, spatial = d.between(1, 3), d.of(2, 2, 1, 3)
    sizes = tuple(d.between(1, 7) for _ in range(spatial))
    bottoms = d.of(1, 1, 2)
    shape = (d.between(1, 2), groups * d.between(1, 3), *sizes)
    block = f"num_output: {groups * d.between(1, 3)} group: {groups} {window(d, sizes)} {d.maybe('bias_term: false')}"
    return Small(f"convolution_param {{ {block} }}", [d.normal(*shape) for _ in range(bottoms)], bottoms)


@layer("DepthwiseConvolution")
def grouped_depthwise(d: Draw) -> Small:
    small = depthwise(d)
    return Small(small.params.replace("{", f"{{ group: {small.bottoms[0].shape[1]}"), small.bottoms)


@layer("ConvolutionDepthwise", "ConvolutionDepthWise")
def depthwise(d: Draw) -> Small:
    x = d.image(least=3)
    block = f"num_output: {x.shape[1]} {window(d, x.shape[2:])} {d.maybe('bias_term: false')}"
    return Small(f"convolution_param {{ {block} }}", [x])


@layer("Deconvolution")
def deconvolution(d: Draw) -> Small:
    groups, sizes = d.between(1, 3), (d.between(2, 5), d.between(2, 5))
    kernel, stride, dilation = d.between(2, 4), d.between(1, 3), d.between(1, 2)
    pad = d.between(0, 1)
    block = f"num_output: {groups * d.between(1, 3)} group: {groups} kernel_size: {kernel} stride: {stride} pad: {pad} "
    block += f"dilation: {dilation} {d.maybe('bias_term: false')}"
    return Small(f"convolution_param {{ {block} }}", [d.normal(d.between(1, 2), groups * d.between(1, 3), *sizes)])


@layer("Im2col")
def im2col(d: Draw) -> Small:
    x = d.image()
    return Small(f"convolution_param {{ {window(d, x.shape[2:])} }}", [x])


@layer("InnerProduct")
def inner_product(d: Draw) -> Small:
    x = d.any_rank(2, 4)
    block = f"num_output: {d.between(1, 4)} axis: {d.axis(x)} {d.maybe('transpose: true')}{d.maybe('bias_term: false')}"
    return Small(f"inner_product_param {{ {block} }}", [x])


@layer("Embed")
def embed(d: Draw) -> Small:
    size = d.between(1, 6)
    block = f"num_output: {d.between(1, 4)} input_dim: {size} {d.maybe('bias_term: false')}"
    return Small(f"embed_param {{ {block} }}", [d.labels(size, *(d.between(1, 3) for _ in range(d.between(1, 3))))])


@layer("Pooling")
def pooling(d: Draw) -> Small:
    x = np.round(2 * d.image())  # with ties
    method = d.of("MAX", "AVE", "STOCHASTIC")
    tops = 2 if method == "MAX" and d.of(True, False) else 1
    if d.of(True, False, False):
        return Small(f"pooling_param {{ pool: {method} global_pooling: true }}", [x], tops)
    kernels = [d.between(1, size + 1 if method != "STOCHASTIC" else size) for size in x.shape[2:]]
    strides = [d.between(1, kernel) for kernel in kernels]
    pads = [0 if method == "STOCHASTIC" else d.between(0, kernel - 1) for kernel in kernels]
    block = f"pool: {method} "
    for name, values in (("kernel", kernels), ("stride", strides), ("pad", pads)):
        block += f"{name}_h: {values[0]} {name}_w: {values[1]} "
    return Small(f"pooling_param {{ {block} {d.maybe('round_mode: FLOOR')} }}", [np.abs(x) + 0.1 * d.normal(1)], tops)


@layer("SPP")
def spatial_pyramid(d: Draw) -> Small:
    x = d.normal(d.between(1, 2), d.between(1, 3), d.between(8, 17), d.between(8, 17))
    return Small(f"spp_param {{ pyramid_height: {d.between(1, 3)} pool: {d.of('MAX', 'AVE')} }}", [x])


@layer("Upsample")
def upsample(d: Draw) -> Small:
    x = d.image()
    height, width = x.shape[2:]
    places = np.stack([[d.random.permutation(4 * height * width)[: height * width] for _ in x[0]] for _ in x])
    mask = places.reshape(x.shape).astype(np.float64)
    block = d.of("scale: 2", "scale_h: 2 scale_w: 3", f"upsample_h: {2 * height} upsample_w: {3 * width}")
    return Small(f"upsample_param {{ {block} }}", [x, mask])
