"""The same image and weights give the same bytes, whoever asks: a command, the service, or a program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fastapi.testclient import TestClient
from scipy.io import loadmat
from torch import nn

from evaluation.cli import main as icnet_eval
from pytorch_icnet import Predictor
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.outputs import Drawing
from pytorch_icnet.pipeline import one_thread_each
from pytorch_icnet.predict.cli import main as icnet_predict
from pytorch_icnet.serve.app import create_app
from pytorch_icnet.supervisely.modes import DeployedModel
from pytorch_icnet.variants.liminn import LiminnICNet

from .nets import seeded

SIZE = (70, 120)
"""Of the image, whose label 255 is nowhere predicted; the network is fed at 65x129."""


def icnet() -> nn.Module:
    return seeded()


def liminn() -> nn.Module:
    torch.manual_seed(0)
    return LiminnICNet(19, 50).eval()


def photo() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """In which PyTorch rounds in one way."""
    with one_thread_each():
        yield


@pytest.mark.parametrize("name", ["icnet", "liminn"])
def test_every_door_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """By default for ICNet. Of a variant "auto" takes other backends for prediction, which round otherwise."""
    net, size, backend = (icnet(), (65, 129), "auto") if name == "icnet" else (liminn(), None, "eager")
    chosen = [] if size is None else ["--input-size", *map(str, size)]
    cv2.imwrite(str(tmp_path / "street.png"), photo())
    torch.save(net.state_dict(), tmp_path / "w.pth")
    (tmp_path / "list.txt").write_text("street.png\n")
    weights = ("--weights", str(tmp_path / "w.pth"), "--device", "cpu", "--backend", backend, *chosen)
    runner = CliRunner()
    evaluated = runner.invoke(
        icnet_eval,
        [
            *("--list", str(tmp_path / "list.txt"), "--data-root", str(tmp_path), *weights),
            *("--save-root", str(tmp_path / "eval"), "--save-overlay", "--save-feat", "both"),
        ],
    )
    assert evaluated.exit_code == 0, evaluated.output
    for kind in ("npz", "mat"):
        arguments = [
            str(tmp_path / "street.png"),
            *weights,
            "--output",
            str(tmp_path / "predict"),
            "--probabilities",
            kind,
        ]
        predicted = runner.invoke(icnet_predict, arguments)
        assert predicted.exit_code == 0, predicted.output

    predictor = Predictor(tmp_path / "w.pth", backend=backend, input_size=size)
    rgb = read_image(tmp_path / "street.png")
    labels, probabilities = predictor.labels(rgb), predictor.probabilities(rgb)
    assert len(np.unique(labels)) > 2, "a label map of one class would not tell much"
    names = {"labels": "gray", "colour": "color", "overlay": "overlay"}
    with TestClient(create_app(DeployedModel.of(predictor))) as client:
        for kind, folder in names.items():
            expected = Drawing().encode(kind, rgb, labels)
            answer = client.post(
                f"/predict?format={kind}",
                content=(tmp_path / "street.png").read_bytes(),
                headers={"Content-Type": "image/png"},
            )
            assert answer.status_code == 200
            doors = {
                "icnet-eval": (tmp_path / "eval" / folder / "street.png").read_bytes(),
                "icnet-predict": (tmp_path / "predict" / kind / "street.png").read_bytes(),
                "POST": answer.content,
            }
            assert [door for door, found in doors.items() if found != expected] == [], kind
    expected_data = probabilities.transpose(1, 2, 0)
    for root in (tmp_path / "eval" / "feat", tmp_path / "predict" / "probabilities"):
        with np.load(root / "street.npz") as file:
            assert file["data"].dtype == np.float32 and np.array_equal(file["data"], expected_data)
        assert np.array_equal(loadmat(str(root / "street.mat"))["data"], expected_data)


def test_an_overlay_keeps_the_image_where_nothing_is_labelled() -> None:
    """The control of the test above: files, answers and pictures come from this one function."""
    rgb = photo()
    labels = np.full(SIZE, 255, np.uint8)
    drawing = Drawing()
    assert np.array_equal(drawing.picture("overlay", rgb, labels), rgb)
    labels[:10] = 13
    assert not np.array_equal(drawing.picture("overlay", rgb, labels)[:10], rgb[:10])
    assert drawing.encode("overlay", rgb, labels) != drawing.encode("colour", rgb, labels)
