"""The bundled nets against the table of ICNet's published layers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt import Params, bundled_net, read_net

DATA = Path(__file__).parent / "data"
NETS = {"icnet_cityscapes": "icnet_layers_merged.csv", "icnet_cityscapes_bnnomerge": "icnet_layers_bnnomerge.csv"}


def written(params: Params) -> dict[str, Any]:
    return {name: params[name] for name in params if params.is_set(name)}


def value_of(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(np.float32(text))
    except ValueError:
        return text


@pytest.mark.parametrize("name", NETS)
def test_layers_are_the_published_ones(name: str) -> None:
    net = read_net(bundled_net(name))
    with (DATA / NETS[name]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert net.name == name and dict(net.inputs) == {"data": (1, 3, 1025, 2049)}
    assert net.layers[0].type == "Input" and len(net.layers) == len(rows) + 1
    for layer, row in zip(net.layers[1:], rows, strict=True):
        assert (layer.name, layer.type) == (row["layer"], row["type"])
        assert (list(layer.bottoms), list(layer.tops)) == (row["bottoms"].split(), row["tops"].split())
        expected = {key: value_of(text) for key, _, text in (item.partition("=") for item in row["params"].split())}
        values = {key: value[0] if isinstance(value, tuple) else value for key, value in written(layer.params).items()}
        assert values == expected, layer.name


def test_unknown_nets_are_refused() -> None:
    with pytest.raises(ValueError, match="there are icnet_cityscapes, icnet_cityscapes_bnnomerge"):
        bundled_net("icnet")
    with pytest.raises(ValueError, match="no bundled net"):
        bundled_net("../nets/icnet_cityscapes")
