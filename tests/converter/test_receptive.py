"""Receptive fields by the formula against what a gradient reaches."""

from __future__ import annotations

import warnings

import pytest
import torch

from converter import FillerWarning, load_caffe
from converter.summary import detailed_summary, receptive_fields, shapes_of
from prototxt import bundled_net, read_net
from pytorch_icnet.weights.caffe import resized_net

INPUT = 'input: "data" input_dim: 1 input_dim: 1 input_dim: 65 input_dim: 65\n'


def conv(name: str, bottom: str, param: str) -> str:
    filler = 'weight_filler { type: "constant" value: 1 }'
    param = f"convolution_param {{ num_output: 1 {param} {filler} }}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {param} }}\n'


NETS = {
    "one": conv("a", "data", "kernel_size: 3 pad: 1"),
    "rectangular": conv("a", "data", "kernel_h: 5 kernel_w: 1 pad_h: 2"),
    "deep": conv("a", "data", "kernel_size: 3 stride: 2 pad: 1") + conv("b", "a", "kernel_size: 3 dilation: 2 pad: 2"),
    "pooled": conv("a", "data", "kernel_size: 3 pad: 1")
    + 'layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { pool: AVE kernel_size: 3 stride: 2 } }\n'
    + conv("b", "p", "kernel_size: 3 pad: 1"),
    "sum": conv("a", "data", "kernel_size: 3 pad: 1")
    + conv("b", "data", "kernel_size: 7 pad: 3")
    + 'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }\n',
    "shrunk": 'layer { name: "i" type: "Interp" bottom: "data" top: "i" interp_param { shrink_factor: 2 } }\n'
    + conv("a", "i", "kernel_size: 3 pad: 1"),
    "zoomed": conv("a", "data", "kernel_size: 3 stride: 2 pad: 1")
    + 'layer { name: "i" type: "Interp" bottom: "a" top: "i" interp_param { zoom_factor: 2 } }\n',
}


def reached(text: str) -> tuple[int, int]:
    """The largest extent of the input on which a value near the middle of the output depends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FillerWarning)
        graph = load_caffe(INPUT + text)
    extents = []
    for offset in (0, 1):
        image = torch.zeros(1, 1, 65, 65, requires_grad=True)
        output = graph(image)
        output[0, 0, output.shape[2] // 2 + offset, output.shape[3] // 2 + offset].backward()
        assert image.grad is not None
        rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
        extents.append((int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1))
    return max(extents)


@pytest.mark.parametrize("name", NETS)
def test_the_formula_is_what_a_gradient_reaches(name: str) -> None:
    field = receptive_fields(shapes_of(read_net(INPUT + NETS[name])))[-1]
    assert field is not None
    assert (round(field.size[0]), round(field.size[1])) == reached(NETS[name])


def test_icnets_branches() -> None:
    rows = {
        row["name"]: row for row in detailed_summary(resized_net(read_net(bundled_net("icnet_cityscapes")), (129, 257)))
    }
    assert rows["conv3_sub1"]["receptive_field"] == [15, 15]
    assert rows["conv1_1_3x3_s2"]["receptive_field"] == [5, 5]
    assert rows["conv6_interp"]["receptive_field"] > rows["conv5_3"]["receptive_field"]
    assert rows["conv1_sub1"]["memory"] == 4 * 32 * 65 * 129
    assert rows["conv1_sub1/relu"]["memory"] == 0


def test_all_of_the_input() -> None:
    fc = 'layer { name: "f" type: "InnerProduct" bottom: "data" top: "f" inner_product_param { num_output: 2 } }'
    assert detailed_summary(read_net(INPUT + fc))[-1]["receptive_field"] is None
