"""Small nets with seeded weights that between them have what the exporters must handle."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import fx

from converter import FillerWarning, load_caffe
from converter.graph import Weights, translate
from converter.record import original_net
from converter.verify import seeded_inputs
from pytorch_icnet.weights.caffe import fitting_net, resized_net

from ...nets import blobs_of, seeded

XAVIER = 'weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.1 }'


def graph_of(text: str) -> fx.GraphModule:
    """The net of ``text``; all weights are random, also those that the fillers leave neutral."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FillerWarning)
        graph = load_caffe(text)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in graph.state_dict().items():
        if tensor.is_floating_point() and (bool((tensor == tensor.flatten()[:1]).all()) or tensor.numel() == 1):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        assert tensor.numel() == 0 or name
    return graph


def layer(kind: str, name: str, bottoms: str, tops: str, params: str = "") -> str:
    """One layer; bottoms and tops are separated by blanks."""
    blobs = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {params} }}\n'


def convolution(name: str, bottom: str, top: str, outputs: int, more: str = "", extra: str = "") -> str:
    params = f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 {more} {XAVIER} }}"
    return layer("Convolution", name, bottom, top, f"{params} {extra}")


def image(height: int = 17, width: int = 21, name: str = "data") -> str:
    return f'input: "{name}" input_shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }}\n'


SHARED = 'param { name: "w" } param { name: "b" }'

BRANCHES = (
    'name: "branches"\n'
    + image()
    + convolution("conv1/3x3", "data", "conv1", 8)
    + layer("BatchNorm", "conv1/bn", "conv1", "conv1")
    + layer("Scale", "conv1/scale", "conv1", "conv1", "scale_param { bias_term: true }")
    + layer("PReLU", "conv1/prelu", "conv1", "conv1")
    + layer("Pooling", "pool1", "conv1", "pool1", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    + layer("LRN", "norm1", "pool1", "norm1", "lrn_param { local_size: 3 alpha: 0.1 beta: 0.75 }")
    + layer("Slice", "cut", "norm1", "low high", "slice_param { slice_point: 3 }")
    + convolution("inception/a", "low", "a", 4, "bias_term: false")
    + layer("ReLU", "inception/relu_a", "a", "a", "relu_param { negative_slope: 0.1 }")
    + convolution("inception/b", "high", "b", 4)
    + layer("Pooling", "inception/pool", "high", "c", "pooling_param { pool: AVE kernel_size: 3 pad: 1 }")
    + layer("Concat", "inception", "a b c", "inception")
    + layer("Eltwise", "difference", "a b", "difference", "eltwise_param { coeff: 1 coeff: -0.5 }")
    + layer("Dropout", "drop", "inception", "inception")
    + layer("Pooling", "global", "inception", "global", "pooling_param { pool: AVE global_pooling: true }")
    + layer("InnerProduct", "fc", "global", "fc", f"inner_product_param {{ num_output: 5 {XAVIER} }}")
    + layer("Softmax", "prob", "fc", "prob")
    + layer("Deconvolution", "up", "difference", "up",
            f"convolution_param {{ num_output: 4 kernel_size: 4 stride: 2 group: 2 {XAVIER} }}")
)  # fmt: skip
"""Slices, concatenations, several outputs, names with slashes, in-place chains."""

SIAMESE = (
    'name: "siamese"\n'
    + image(name="left")
    + image(name="right")
    + convolution("conv_left", "left", "conv_left", 4, extra=SHARED)
    + convolution("conv_right", "right", "conv_right", 4, extra=SHARED)
    + layer("Eltwise", "both", "conv_left conv_right", "both", "eltwise_param { operation: MAX }")
    + layer("Silence", "silence", "conv_left", "").replace('top: ""', "")
)
"""Shared parameters, two inputs, a blob that is read twice, a layer without tops."""

FULLY = (
    'name: "fully convolutional"\n'
    + image(33, 41)
    + convolution("conv1", "data", "conv1", 6, "stride: 2")
    + layer("BN", "bn1", "conv1", "bn1")
    + layer("ReLU", "relu1", "bn1", "bn1")
    + layer("Pooling", "pool1", "bn1", "pool1", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    + layer("Pooling", "pool2", "pool1", "pool2", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }")
    + layer("Interp", "zoom", "pool2", "zoom", "interp_param { zoom_factor: 2 }")
    + convolution("score", "zoom", "score", 3)
)
"""Takes any size; Caffe's rules for borders count."""


def icnet_graph(merged: bool) -> fx.GraphModule:
    """A narrow ICNet at a small size."""
    blobs = blobs_of(seeded(merged=merged, num_classes=5))
    return translate(resized_net(fitting_net(blobs, "test"), (65, 97)), Weights(blobs))


GRAPHS: dict[str, Callable[[], fx.GraphModule]] = {
    "branches": lambda: graph_of(BRANCHES),
    "siamese": lambda: graph_of(SIAMESE),
    "fully": lambda: graph_of(FULLY),
    "icnet": lambda: icnet_graph(merged=True),
    "icnet_bn": lambda: icnet_graph(merged=False),
}


def inputs_of(graph: fx.GraphModule, seed: int = 0) -> list[torch.Tensor]:
    """Seeded inputs, small enough that no softmax saturates."""
    return [value / 50 for value in seeded_inputs(original_net(graph), seed)]


def outputs_of(value: torch.Tensor | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Outputs by name."""
    return {"": value} if isinstance(value, torch.Tensor) else value
