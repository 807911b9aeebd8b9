"""The table of layer types: complete, up to date in the documents, and true about what the types were compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from converter import register, registry
from converter.catalogue import COMPARED_WITH_CAFFE, catalogue, catalogue_text
from converter.registry import INPUT_TYPES
from prototxt import read_net

from ..golden import DATA, SHARED, shared
from ..reference.goldens import read_json

DOCUMENT = Path(__file__).parents[2] / "docs" / "layers.md"


@pytest.fixture(autouse=True)
def _own_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what other tests registered."""
    own = {
        name: kind for name, kind in registry.registered().items() if kind.translate.__module__.startswith("converter.")
    }
    monkeypatch.setattr(registry, "_types", own)


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == catalogue_text(), "icnet-convert --layers > docs/layers.md"


def test_every_type_is_listed_with_its_parameters() -> None:
    rows = {row["type"]: row for row in catalogue()}
    assert set(rows) == set(registry.registered()) | INPUT_TYPES
    assert all(row["description"] and row["family"] for row in rows.values())
    assert all(row["tested_against"] for name, row in rows.items() if name not in INPUT_TYPES)
    pooling = rows["Pooling"]
    assert pooling["family"] == "pooling" and pooling["tops"] == "1 to 2"
    assert pooling["parameters"]["pool"] == "MAX" and pooling["parameters"]["stride"] == 1
    assert rows["Scale"]["parameters"]["filler"] is None
    assert rows["Convolution"]["restrictions"] == "at most three spatial axes"
    assert rows["SoftmaxWithLoss"]["tops"] == "1 to 2, which need no name"
    json.dumps(list(rows.values()))


def test_a_users_type_is_listed() -> None:
    @register("Zero", bottoms=1, tops=1, limits="gives nothing")
    def zero(params: object, shapes: object, blobs: object) -> nn.Module:  # type: ignore[empty-body]
        """0 times x."""

    row = next(row for row in catalogue() if row["type"] == "Zero")
    assert row["description"] == "0 times x." and row["restrictions"] == "gives nothing" and not row["tested_against"]
    assert "**Zero** — 0 times x." in catalogue_text()


def types_of(*files: Path) -> set[str]:
    return {layer.type for file in files for layer in read_net(file).layers} - INPUT_TYPES


def test_types_compared_with_caffe_are_in_the_references() -> None:
    cases = [DATA / "cases" / case["prototxt"] for case in read_json(DATA / "cases" / "ops.json")["cases"]]
    committed = types_of(*cases, *(DATA / "ops").glob("*.prototxt"))
    assert committed <= COMPARED_WITH_CAFFE
    shared("golden")
    nets = [*(SHARED / "golden/nets").glob("*/net.prototxt"), *(SHARED / "golden/models").glob("*.prototxt")]
    assert committed | types_of(*nets) == COMPARED_WITH_CAFFE
