"""From a command to the first image, or the first layer, it is at most five calls of our own functions."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fastapi.testclient import TestClient

from converter import registry
from converter.cli import main as icnet_convert
from evaluation.cli import main as icnet_eval
from pytorch_icnet.imaging.images import decode_image, read_image
from pytorch_icnet.pipeline import Pipeline
from pytorch_icnet.predict import Predictor
from pytorch_icnet.predict.cli import main as icnet_predict
from pytorch_icnet.serve.app import create_app
from pytorch_icnet.serve.worker import Worker
from pytorch_icnet.supervisely.modes import DeployedModel

from .nets import seeded, write_caffemodel

ROOT = Path(__file__).parent.parent
MOST = 5


def frames() -> list[str]:
    """Our functions on the stack, the command first; without what all commands have around them, and the tests."""
    found = []
    for frame in traceback.extract_stack():
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in ("tests", "icnet_common", ".venv"):
            found.append(frame.name)
    return found


def noting(function: Callable[..., Any], notes: list[list[str]]) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        notes.append(frames())
        return function(*args, **kwargs)

    return noted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "list.txt").write_text("a.png\n")
    torch.save(seeded().state_dict(), tmp_path / "w.pth")
    return tmp_path


def submitted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    notes: list[list[str]] = []
    monkeypatch.setattr(Pipeline, "submit", noting(Pipeline.submit, notes))
    return notes


def network(folder: Path) -> list[str]:
    return ["--weights", str(folder / "w.pth"), "--device", "cpu", "--backend", "eager", "--input-size", "33", "65"]


def test_an_evaluated_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains, reads = submitted(monkeypatch), list[list[str]]()
    monkeypatch.setattr("evaluation.run.task.read_image", noting(read_image, reads))
    where = ["--list", str(folder / "list.txt"), "--data-root", str(folder), "--save-root", str(folder / "out")]
    assert CliRunner().invoke(icnet_eval, [*where, *network(folder)]).exit_code == 0
    assert chains == [["main", "evaluate", "execute", "_work", "map"]]
    assert reads == [["_run", "prepare"]]


def test_a_predicted_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains, reads = submitted(monkeypatch), list[list[str]]()
    monkeypatch.setattr("pytorch_icnet.predict.sources.read_image", noting(read_image, reads))
    arguments = [str(folder / "a.png"), *network(folder), "--output", str(folder / "out")]
    assert CliRunner().invoke(icnet_predict, arguments).exit_code == 0
    assert chains == [["main", "predict", "run", "map"]]
    assert len(reads) == 1 and len(reads[0]) <= MOST


def test_a_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request is the server's own, by which the network runs once."""
    chains, requests, decoded = submitted(monkeypatch), list[list[str]](), list[list[str]]()
    monkeypatch.setattr(Worker, "submit", noting(Worker.submit, requests))
    monkeypatch.setattr("pytorch_icnet.serve.worker.decode_image", noting(decode_image, decoded))
    predictor = Predictor(folder / "w.pth", backend="eager", input_size=(33, 65))
    with TestClient(create_app(DeployedModel.of(predictor))) as client:
        data = (folder / "a.png").read_bytes()
        assert client.post("/predict", content=data, headers={"Content-Type": "image/png"}).status_code == 200
    assert requests == [["_warm_up"], ["__call__", "predict", "_answer"]]
    assert chains == [["_run"]] * 2
    assert decoded == [["_run", "prepare", "prepare"]] * 2
    assert all(len(chain) <= MOST for chain in (*requests, *chains, *decoded))


def test_a_converted_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains: list[list[str]] = []
    relu = registry.registered()["ReLU"]
    noted = dataclasses.replace(relu, translate=noting(relu.translate, chains))
    find = registry.find
    monkeypatch.setattr(registry, "find", lambda name: noted if name == "ReLU" else find(name))
    weights = write_caffemodel(tmp_path / "w.caffemodel", seeded(merged=False))
    result = CliRunner().invoke(icnet_convert, [str(weights), "--no-verify"])
    assert result.exit_code == 0, result.output
    assert chains[0] == ["main", "convert", "translate", "wire"]
