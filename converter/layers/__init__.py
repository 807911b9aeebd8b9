"""One translator per Caffe layer type, by family; importing this package registers them all."""

from . import activation, convolution, elementwise, inputs, interp, normalization, pooling

__all__ = ["activation", "convolution", "elementwise", "inputs", "interp", "normalization", "pooling"]
