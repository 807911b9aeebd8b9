"""The schema: compiled as written, and numbered as Caffe's where that matters."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from prototxt import read_net, schema
from prototxt.params import layer_of

from ..golden import shared


@pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="needs grpcio-tools")
def test_the_compiled_schema_is_the_written_one(tmp_path: Path) -> None:
    compiled = tmp_path / "caffe.binpb"
    options = [f"-I{schema.FOLDER}", f"--descriptor_set_out={compiled}", "caffe.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options], check=True)
    sets = [
        descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
        for path in (compiled, schema.FOLDER / "caffe.binpb")
    ]
    assert sets[0] == sets[1]


def test_forks_fields_have_numbers_of_their_own() -> None:
    fields = schema.message("LayerParameter").DESCRIPTOR.fields
    assert {field.number for field in fields if 142 < field.number <= 10000} == set()
    assert {field.number for field in fields} >= {*range(1, 12), *range(100, 143)}


@pytest.mark.parametrize(
    ("weights", "net"),
    [
        ("icnet/icnet_bnnomerge_rand.caffemodel", None),
        ("models/mtcnn_det2.caffemodel", "models/mtcnn_det2.prototxt"),
        ("ops/misc_upstream.caffemodel", "ops/misc_upstream.prototxt"),
    ],
)
def test_numbers_are_caffes(weights: str, net: str | None) -> None:
    """Parameters in a binary file of Caffe's own mean the same as those of the text it was made from."""
    from prototxt import bundled_net

    binary = schema.message("NetParameter").FromString(shared("golden", weights).read_bytes())
    text = read_net(bundled_net("icnet_cityscapes_bnnomerge") if net is None else shared("golden", net))
    stored = {layer.name: layer_of(layer, None, weights) for layer in binary.layer}
    compared = 0
    for layer in text.layers:
        other = stored.get(layer.name)
        own = layer.params.message
        if other is None or own is None or schema.message("LayerParameter").DESCRIPTOR.fields_by_name[own].number > 142:
            continue
        for name in layer.params:
            if layer.params.is_set(name) and not name.endswith("_filler"):
                assert other.params[name] == layer.params[name], (layer.name, name)
                compared += 1
    assert compared > 10
