"""The edge cases of text and weights: what the original Caffe accepts, with the same shapes and values, and refuses."""

from __future__ import annotations

import csv
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converter import FillerWarning, NetError, WeightsMismatchError, load_caffe, summary
from converter.compare import Difference, difference, first_diverging
from converter.graph import Weights, translate
from icnet_common.errors import InputError
from prototxt import PrototxtError, read_net, read_weights

from ..golden import DATA
from ..reference.goldens import read_json, seeded_blobs

CASES = DATA / "cases"
WEIGHTS = Path(__file__).parents[1] / "prototxt" / "data"
LIMIT = 1e-6
OTHERWISE = {"conv_engine_cudnn", "op_data_lmdb", "op_hdf5data"}
"""Refused for what that build of Caffe lacked."""
LAYERS = {"conv1", "bn", "sc", "pr", "ip"}
"""Of the net to which the weights belong. A file that lacks some is an error here unless lenient."""


def rows(index: Path, kind: str) -> list[dict[str, str]]:
    with index.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["file"].startswith(kind)]


def stem(row: dict[str, str]) -> str:
    return Path(row["file"]).name.partition(".")[0]


def state(args: str) -> dict[str, Any]:
    """The phase, level and stages that the index's arguments ask for."""
    level, stages = re.search(r"--level=(\d+)", args), re.search(r"--stages=(\S+)", args)
    return {
        "phase": "TRAIN" if "--train" in args else "TEST",
        "level": int(level[1]) if level else 0,
        "stages": stages[1].split(",") if stages else (),
    }


def described(row: dict[str, Any]) -> str:
    """A row of the summary as the index writes a layer."""
    tops = (f" {top}{shape}" for top, shape in zip(row["tops"], row["top_shapes"], strict=True))
    params = (f" P{shape}" for shape in row["param_shapes"])
    return f"{row['name']}({row['type']}){''.join(tops)}{''.join(params)}".replace(", ", ",").replace("\ufffd", "?")


def expected(result: str) -> list[str]:
    """The layers of the index's ``result``, without those that split blobs."""
    layers = re.sub(r" (sum|first|last)=\S+", "", result).partition("OUT:")[0].replace("\ufffd", "?").split("; ")
    return [" ".join(layer.split(" ")) for layer in layers if layer.strip() and "(Split)" not in layer]


@pytest.mark.parametrize("row", rows(CASES / "texts.csv", "text"), ids=stem)
def test_text(row: dict[str, str]) -> None:
    path = CASES / row["file"]
    if row["caffe"] == "reject" and stem(row) not in OTHERWISE:
        with pytest.raises(PrototxtError) as error:
            summary(read_net(path, **state(row["args"])))
        assert path.name in str(error.value) and "\n" not in str(error.value)
        return
    found = [described(layer) for layer in summary(read_net(path, **state(row["args"])))]
    if stem(row) not in OTHERWISE:
        assert found == expected(row["result"])


def test_unknown_shapes_are_told_when_they_are_needed() -> None:
    path = CASES / "text" / "op_data_lmdb.prototxt"
    assert [row["top_shapes"] for row in summary(path)] == [[[], []], [[]]]
    with pytest.raises(NetError, match="bottom 'data' comes from files"):
        load_caffe(path)


def run(case: dict[str, Any], blobs: dict[str, list[np.ndarray[Any, Any]]]) -> list[Difference]:
    """How far the outputs of a one-layer net are from Caffe's."""
    net = read_net(CASES / case["prototxt"])
    with np.load(CASES / "ops.npz") as stored:
        inputs = [torch.from_numpy(stored[f"in|{case['case']}|{blob}"]) for blob in net.inputs]
        references = {blob: torch.from_numpy(stored[f"out|{case['case']}|{blob}"]) for blob in case["outputs"]}
    with torch.no_grad():
        result = translate(net, Weights(blobs))(*inputs)
    outputs = result if isinstance(result, dict) else {next(iter(references)): result}
    assert set(outputs) == set(references) | (set(outputs) & set(net.inputs))
    return [difference(blob, outputs[blob], reference) for blob, reference in references.items()]


@pytest.mark.parametrize("case", read_json(CASES / "ops.json")["cases"], ids=lambda case: case["case"])
def test_forward(case: dict[str, Any]) -> None:
    found = run(case, {layer["name"]: seeded_blobs(layer) for layer in case["layers"]})
    assert first_diverging(found, LIMIT) is None, found


def test_other_weights_are_noticed() -> None:
    noticed = total = 0
    for case in read_json(CASES / "ops.json")["cases"]:
        if case["layers"]:
            blobs = {layer["name"]: [blob + 0.001 for blob in seeded_blobs(layer)] for layer in case["layers"]}
            total += 1
            noticed += first_diverging(run(case, blobs), LIMIT) is not None
    assert noticed == total > 40


def sums(result: str) -> list[float]:
    return [float(value) for value in re.findall(r"sum=(\S+?);? ", result + " ")]


@pytest.mark.parametrize("row", rows(WEIGHTS / "index.csv", "weights"), ids=lambda row: Path(row["file"]).name)
def test_weights(row: dict[str, str]) -> None:
    path, net = WEIGHTS / row["file"], CASES / "net.prototxt"
    if row["caffe"] == "reject":
        with pytest.raises(InputError) as error:
            load_caffe(net, path)
        assert "\n" not in str(error.value)
        return
    lacking = LAYERS - set(read_weights(path))
    if lacking:
        with pytest.raises(WeightsMismatchError, match=f"{len(lacking)} of 5 layers have no weights"):
            load_caffe(net, path)
    with pytest.warns(FillerWarning) if lacking else nullcontext():
        graph = load_caffe(net, path, lenient=bool(lacking))
    blobs = [tensor.detach().double().sum().item() for tensor in graph.state_dict().values()]
    np.testing.assert_allclose(blobs, sums(row["result"]), rtol=1e-6)
