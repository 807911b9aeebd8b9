"""A 1x1 convolution before the upsampling that it follows.

Interp replaces each pixel by a sum of pixels of its channel with weights a_q that do not depend on the channel and add
up to 1. A 1x1 convolution of stride 1 without padding is a matrix A and a bias b, the same at each pixel. With x_q the
vector of channels at pixel q,

    A (sum_q a_q x_q) + b = sum_q a_q (A x_q) + sum_q a_q b = sum_q a_q (A x_q + b):

the two commute, and before a zoom by z the convolution has a z²-th of the pixels to work on.
"""

from __future__ import annotations

from typing import TypeGuard

from torch import fx, nn

from ..layers.interp import Interp
from .rewriting import copied, finished, module_of, only_reader


def pointwise_first(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` in which 1x1 convolutions run before the zoom that they alone read. For inference.

    The value under the convolution's name is what it was; the zoom's own top is not computed any more.
    """
    graph = copied(graph)
    for node in list(graph.graph.nodes):
        reader = only_reader(node)
        if reader is not None and is_zoom(module_of(graph, node)) and is_pointwise(module_of(graph, reader)):
            _swap(node, reader)
    return finished(graph)


def is_zoom(module: nn.Module | None) -> TypeGuard[Interp]:
    """Whether ``module`` upsamples by a whole factor and does nothing else."""
    return (
        type(module) is Interp
        and module.size is None
        and module.zoom > 1
        and module.shrink == 1
        and not any(module.crop)
    )


def is_pointwise(module: nn.Module | None) -> bool:
    """Whether ``module`` is a 1x1 convolution that sees each pixel once."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (1, 1)
        and module.stride == (1, 1)
        and module.padding == (0, 0)
    )


def _swap(zoom: fx.Node, convolution: fx.Node) -> None:
    (source,) = zoom.all_input_nodes
    convolution.replace_all_uses_with(zoom)
    convolution.args, zoom.args = (source,), (convolution,)
    convolution.append(zoom)
    zoom.meta["caffe"] = convolution.meta.pop("caffe")
    for node in (zoom, convolution):
        node.meta.pop("caffe_layer", None)
