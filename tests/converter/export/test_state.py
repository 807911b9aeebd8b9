"""safetensors and pth: what was written comes back, and damaged or hostile files are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import fx

from converter.export.caffe import same_bits
from converter.export.formats import save_pth
from converter.export.safetensors import METADATA_KEY, load_graph, load_state, save_graph, save_state
from converter.passes.fold_batch_norm import fold_batch_norm
from converter.passes.strided_shrink import strided_shrink
from converter.record import net_of
from icnet_common.errors import InputError, WeightsError
from pytorch_icnet import ICNet, load
from pytorch_icnet.card import card_of
from pytorch_icnet.weights.checkpoints import read_checkpoint

from .nets import BRANCHES, GRAPHS, graph_of, icnet_graph, image, inputs_of, layer, outputs_of

PROVENANCE = {"file": "net.caffemodel", "md5": "0" * 32, "sha256": "1" * 64, "known": None}


def same(a: fx.GraphModule, b: fx.GraphModule) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return list(first) == list(second) and all(same_bits(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("folded", [False, True])
def test_a_graph_comes_back(tmp_path: Path, name: str, folded: bool) -> None:
    graph = GRAPHS[name]()
    graph = fold_batch_norm(graph) if folded else graph
    save_graph(tmp_path / "net.safetensors", graph, PROVENANCE)
    again = load_graph(tmp_path / "net.safetensors")
    assert same(graph, again)
    assert net_of(again) == net_of(graph)
    assert again.meta["provenance"] == PROVENANCE
    inputs = inputs_of(graph)
    with torch.no_grad():
        expected, found = outputs_of(graph(*inputs)), outputs_of(again(*inputs))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_shared_parameters_are_stored_once_and_tied_again(tmp_path: Path) -> None:
    graph = GRAPHS["siamese"]()
    save_graph(tmp_path / "net.safetensors", graph, {})
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert sorted(file.keys()) == ["conv_left.bias", "conv_left.weight"]
    state, metadata = load_state(tmp_path / "net.safetensors")
    assert state["conv_right.weight"] is state["conv_left.weight"]
    assert "ties" not in metadata
    again = load_graph(tmp_path / "net.safetensors")
    assert again.get_parameter("conv_left.weight") is again.get_parameter("conv_right.weight")


def test_a_blob_shared_in_another_shape_gets_its_own_memory(tmp_path: Path) -> None:
    share = 'param { name: "w" share_mode: PERMISSIVE }'
    params = 'inner_product_param {{ num_output: {0} bias_term: false weight_filler {{ type: "xavier" }} }}'
    graph = graph_of(
        'input: "data" input_shape { dim: 1 dim: 6 }\n'
        + layer("InnerProduct", "a", "data", "a", params.format(4) + share)
        + layer("InnerProduct", "b", "a", "b", params.format(6) + share)
    )
    assert graph.get_parameter("a.weight").data_ptr() == graph.get_parameter("b.weight").data_ptr()
    save_graph(tmp_path / "net.safetensors", graph, {})
    again = load_graph(tmp_path / "net.safetensors")
    assert same(graph, again)
    assert again.get_parameter("a.weight").data_ptr() == again.get_parameter("b.weight").data_ptr()


def test_pth_is_a_plain_state_dict(tmp_path: Path) -> None:
    graph = GRAPHS["siamese"]()
    save_pth(tmp_path / "net.pth", graph.state_dict())
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert type(state) is dict and all(same_bits(state[key], value) for key, value in graph.state_dict().items())
    assert state["conv_left.weight"].data_ptr() == state["conv_right.weight"].data_ptr()
    save_pth(tmp_path / "other.pth", graph.state_dict())
    assert (tmp_path / "net.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()


def test_load_reads_any_converted_net(tmp_path: Path) -> None:
    graph = GRAPHS["fully"]()
    save_graph(tmp_path / "net.safetensors", graph, PROVENANCE)
    loaded = load(tmp_path / "net.safetensors")
    card = card_of(loaded)
    assert (card.input_size, card.num_classes) == ((33, 41), 3) and card.weights_data() == PROVENANCE
    (data,) = inputs_of(graph)
    with torch.no_grad():
        assert torch.equal(loaded(data), graph(data))
    with pytest.raises(WeightsError, match=r"pytorch_icnet\.load"):
        read_checkpoint(tmp_path / "net.safetensors")


def test_load_still_reads_icnet(tmp_path: Path) -> None:
    graph = icnet_graph(merged=False)
    save_state(tmp_path / "net.safetensors", graph.state_dict(), {"architecture": "icnet"})
    assert isinstance(load(tmp_path / "net.safetensors"), ICNet)


def test_what_no_text_describes_is_refused(tmp_path: Path) -> None:
    graph = strided_shrink(icnet_graph(merged=True))
    graph.graph.find_nodes(op="call_module", target="data_sub2")[0].meta.pop("caffe_layer")
    with pytest.raises(InputError, match="data_sub2"):
        save_graph(tmp_path / "net.safetensors", graph, {})
    assert list(tmp_path.iterdir()) == []


def file_with(path: Path, metadata: object, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    save_file(tensors if tensors is not None else {"a": torch.zeros(2)}, path, {METADATA_KEY: text})
    return path


TEXT = image(4, 4) + layer("ReLU", "r", "data", "r")
HUGE = image(4, 4) + layer(
    "Convolution", "c", "data", "c", "convolution_param { num_output: 700000 kernel_size: 30 pad: 15 }"
)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "are not JSON"),
        ("[" * 100_000, "are not JSON"),
        ("[1]", "not a JSON object"),
        ({"ties": [1]}, "ties are not"),
        ({"ties": {"b": "nowhere"}}, "not possible"),
        ({"ties": {"a": "a"}}, "not possible"),
        ({"ties": {"b": ["a"]}}, "not possible"),
        ({}, "no net in text form"),
        ({"architecture": "caffe"}, "no net in text form"),
        ({"architecture": "caffe", "prototxt": 5}, "no net in text form"),
        ({"architecture": "caffe", "prototxt": TEXT, "provenance": 5}, "no net in text form"),
        ({"architecture": "caffe", "prototxt": TEXT}, "unknown: a"),
        ({"architecture": "caffe", "prototxt": TEXT, "ties": {f"t{i}": "a" for i in range(999)}}, "unknown: a"),
        ({"architecture": "caffe", "prototxt": "layer {"}, "expected"),
        ({"architecture": "caffe", "prototxt": BRANCHES}, "more weights than its tensors"),
        ({"architecture": "caffe", "prototxt": HUGE}, "more weights than its tensors"),
    ],
)
def test_hostile_metadata_are_refused(tmp_path: Path, metadata: Any, message: str) -> None:
    path = file_with(tmp_path / "net.safetensors", metadata)
    with pytest.raises(InputError, match=message) as error:
        load_graph(path)
    assert "\n" not in str(error.value)


def test_a_text_is_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "secret.prototxt").write_text(TEXT)
    metadata = {"architecture": "caffe", "prototxt": str(tmp_path / "secret.prototxt")}
    with pytest.raises(InputError, match=r"net\.safetensors: the net in its metadata: <text>"):
        load_graph(file_with(tmp_path / "net.safetensors", metadata, {}))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(path, GRAPHS["fully"](), {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_graph(path)
