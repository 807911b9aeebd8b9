"""Folding of normalisation against the plain graph, in float64, and what it leaves alone."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import fx

from converter import FillerWarning, activations, load_caffe
from converter.passes.fold_batch_norm import fold_batch_norm
from converter.record import net_of
from prototxt import net_text, read_net

EXACT = 1e-12
CONVOLUTION = "Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2 dilation: 1"
STRIDED = "Convolution", "convolution_param { num_output: 6 kernel_size: 3 stride: 2 bias_term: false"
TRANSPOSED = "Deconvolution", "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 2"
PRODUCT = "InnerProduct", "inner_product_param { num_output: 6"
PRODUCT_T = "InnerProduct", "inner_product_param { num_output: 6 transpose: true bias_term: false"
LINEAR = {"conv": CONVOLUTION, "strided": STRIDED, "deconv": TRANSPOSED, "ip": PRODUCT, "ip_transposed": PRODUCT_T}
NORMS = {
    "bn": ["BN"],
    "batch_norm": ["BatchNorm"],
    "scale": ["Scale"],
    "bias": ["Bias"],
    "batch_norm_scale": ["BatchNorm", "Scale"],
    "all": ["BatchNorm", "Scale", "Bias", "BatchNorm"],
    "segnet": ["SegNetBN"],
}
PARAMS = {"Scale": "scale_param { bias_term: true }", "SegNetBN": "bn_param { bn_mode: INFERENCE }"}


def block(name: str, kind: str, bottom: str, top: str, params: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {params} }}\n'


def net(text: str) -> fx.GraphModule:
    """The net of ``text`` in float64 with seeded weights, none of which is neutral."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FillerWarning)
        graph = load_caffe('input: "data" input_dim: 2 input_dim: 4 input_dim: 5 input_dim: 6\n' + text).double()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in graph.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            if "var" not in name and "factor" not in name:
                tensor.mul_(torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1)
    return graph


def chain(linear: tuple[str, str], norms: list[str], in_place: bool) -> str:
    text = block("linear", linear[0], "data", "linear", linear[1] + " }")
    top = "linear"
    for index, kind in enumerate(norms):
        bottom, top = top, top if in_place else f"norm{index}"
        text += block(f"norm{index}", kind.removeprefix("SegNet"), bottom, top, PARAMS.get(kind, ""))
    return text + block("relu", "ReLU", top, "out")


IMAGE = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gap(value: torch.Tensor, reference: torch.Tensor) -> float:
    assert value.shape == reference.shape
    value, reference = value.detach(), reference.detach()
    return float((value - reference).abs().max() / reference.abs().max())


CASES = [(a, b) for a in LINEAR for b in NORMS if not (a.startswith("ip") and b in ("bn", "segnet"))]  # BN: 4-D only


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("linear", "norm"), CASES)
def test_folded_equals_unfolded(linear: str, norm: str, in_place: bool) -> None:
    norms = NORMS[norm]
    plain = net(chain(LINEAR[linear], norms, in_place))
    folded = fold_batch_norm(plain)
    assert [name for name, _ in folded.named_children()] == ["linear", "relu"]
    values, references = activations(folded, IMAGE), activations(plain, IMAGE)
    assert references["relu"].abs().max() > 0.1
    assert gap(values["relu"], references["relu"]) < EXACT
    assert gap(values["linear"], references[f"norm{len(norms) - 1}"]) < EXACT
    assert gap(values["linear"], references["linear"]) > 1e-3, "the folded layers must do something"


def test_the_text_follows() -> None:
    plain = net(chain(STRIDED, ["BatchNorm", "Scale"], in_place=False))
    text = net_text(net_of(fold_batch_norm(plain)))
    again = read_net(text)
    assert [(layer.name, layer.bottoms, layer.tops) for layer in again.layers[1:]] == [
        ("linear", ("data",), ("norm1",)),
        ("relu", ("norm1",), ("out",)),
    ]
    assert again.layers[1].params.bias_term and again.layers[1].params.is_set("bias_term")
    assert len(net_of(plain).layers) == 5


OWN = "batch_norm_param { use_global_stats: false }"
FIRST = block("linear", CONVOLUTION[0], "data", "y", CONVOLUTION[1] + " }")
ROWS = block("linear", PRODUCT[0], "data", "y", PRODUCT[1] + " axis: 2 }")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("read by two", FIRST + block("n", "BatchNorm", "y", "n") + block("other", "ReLU", "y", "z")),
        ("comes first", block("n", "BatchNorm", "data", "n") + FIRST.replace('bottom: "data"', 'bottom: "n"')),
        ("after ReLU", FIRST + block("relu", "ReLU", "y", "y") + block("n", "BatchNorm", "y", "n")),
        ("its own statistics", FIRST + block("n", "BatchNorm", "y", "n", OWN)),
        ("a factor per row", FIRST + block("n", "Scale", "y", "n", "scale_param { axis: 2 num_axes: 1 }")),
        ("factors from a blob", FIRST + block("n", "Scale", "y", "n", 'bottom: "y" scale_param { axis: 0 }')),
        ("channels are not the product's", ROWS + block("n", "BatchNorm", "y", "n")),
    ],
)
def test_what_is_not_one_factor_per_channel_stays(what: str, text: str) -> None:
    plain = net(text)
    assert fold_batch_norm(plain).code == plain.code, what


def test_the_original_and_its_shared_weights_stay() -> None:
    params = CONVOLUTION[1] + ' } param { name: "w" } param { name: "b" }'
    text = block("one", "Convolution", "data", "one", params) + block("two", "Convolution", "data", "two", params)
    plain = net(text + block("bn", "BN", "two", "two"))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    folded = fold_batch_norm(plain)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert folded.get_parameter("one.weight") is plain.get_parameter("one.weight")
    assert not torch.equal(folded.get_parameter("two.weight"), folded.get_parameter("one.weight"))
    values, references = folded(IMAGE), plain(IMAGE)
    assert max(gap(values[name], references[name]) for name in references) < EXACT
    shared = {layer.name: layer.param_names for layer in net_of(folded).layers}
    assert shared["one"] == ("w", "b") and shared["two"] == ()


def test_a_factor_of_zero_means_statistics_of_zero() -> None:
    plain = net(chain(CONVOLUTION, ["BatchNorm"], in_place=True))
    plain.get_buffer("norm0.factor").zero_()
    assert gap(fold_batch_norm(plain)(IMAGE), plain(IMAGE)) < EXACT


def test_a_forgotten_mean_is_noticed() -> None:
    """The negative control."""
    plain = net(chain(CONVOLUTION, ["BN"], in_place=True))
    folded = fold_batch_norm(plain)
    plain.get_buffer("norm0.running_mean").zero_()
    assert gap(folded(IMAGE), plain(IMAGE)) > 1e-3
