"""From images to label maps on disk, with a small stand-in for the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch import nn

from evaluation.data.lists import Entry
from evaluation.protocols import ProtocolSettings, protocol
from evaluation.run.task import STAGES, Context, EvaluationTask
from evaluation.scoring import Scoring
from icnet_common.errors import InputError
from pytorch_icnet.card import QUARTER, InputSizes, ModelCard
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, PALETTE, plain_table
from pytorch_icnet.imaging import postprocess, preprocess, probabilities
from pytorch_icnet.imaging.images import read_image, read_label_map, write_label_map
from pytorch_icnet.outputs import Drawing, Outputs
from pytorch_icnet.pipeline import Pipeline, Threads, one_thread_each
from pytorch_icnet.predictor import Predictor
from pytorch_icnet.weights.known import Provenance

from ..nets import seeded

INPUT_SIZE = (33, 65)


class Quarter(nn.Module):
    """A seeded convolution of stride 4: scores at a quarter of the resolution."""

    def __init__(self, num_classes: int = 19, md5: str = "0" * 32) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, num_classes, 5, stride=4, padding=2)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 50
        provenance = Provenance("quarter", md5, "0" * 64, None)
        sizes = InputSizes(32, 1, 8)
        self.card = ModelCard("", num_classes, INPUT_SIZE, sizes=sizes, stride=QUARTER, provenance=provenance)

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.convolution(x)
        return scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the quarter scores are enough")


class Full(nn.Module):
    """Scores at full resolution, and no quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = Quarter()
        self.card = replace(self.quarter.card, stride=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(
            self.quarter.quarter_scores(x), INPUT_SIZE, mode="bilinear", align_corners=True
        )


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Four images of different sizes."""
    random = np.random.default_rng(0)
    found = []
    for number, size in enumerate([(32, 64), (30, 70), (33, 65), (64, 50)], start=1):
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"i{number}.png"), cv2.resize(coarse, size[::-1]))
        found.append(Entry(f"i{number}.png", None, number))
    return found


def predictor_of(model: nn.Module) -> Predictor:
    return Predictor(model, repeatable=True)


def outputs_of(root: Path, *more: str, alpha: float = 0.5, files: tuple[str, ...] = ("mat", "npz")) -> Outputs:
    """As ``icnet-eval`` has them."""
    folders = {"labels": "gray", "colour": "color", "probabilities": "feat"}
    return Outputs(root, ("colour", *more, "labels"), Drawing(alpha=alpha), files, folders=folders)


def predict(context: Context, entries: list[Entry], threads: Threads) -> list[EvaluationTask]:
    with one_thread_each():
        pipeline: Pipeline[EvaluationTask] = Pipeline(threads)
        return list(pipeline.map(EvaluationTask(index, entry, context) for index, entry in enumerate(entries)))


def scoring_of(root: Path) -> Scoring:
    settings = ProtocolSettings(input_size=INPUT_SIZE)
    return Scoring((protocol("official", settings),), settings.table, root)


def run(model: nn.Module, entries: list[Entry], root: Path, *more: str, alpha: float = 0.5) -> Outputs:
    outputs = outputs_of(root / "out", *more, alpha=alpha)
    tasks = predict(Context(predictor_of(model), scoring_of(root), outputs), entries, Threads(1, 2, 2))
    assert [task.entry for task in tasks] == entries
    assert all(set(task.seconds) == set(STAGES) - {"score"} for task in tasks)
    assert all(task.image is None and not task.prepared and not task.scored for task in tasks), "images are let go"
    return outputs


def files(root: Path) -> Iterator[str]:
    """All files, hidden ones included."""
    return (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())


def test_files(entries: list[Entry], tmp_path: Path) -> None:
    model = Quarter()
    outputs = run(model, entries, tmp_path)
    seen = set()
    for entry in entries:
        image = read_image(tmp_path / entry.image)
        with torch.inference_mode():
            scores = model.quarter_scores(preprocess(image, INPUT_SIZE))
        expected = postprocess(scores, (image.shape[0], image.shape[1]), full_size=INPUT_SIZE)
        assert np.array_equal(read_label_map(outputs.path("labels", entry.stem)), expected)
        assert np.array_equal(read_image(outputs.path("colour", entry.stem)), PALETTE[expected])
        seen |= set(expected.ravel().tolist())
    assert len(seen) > 3
    assert list(files(outputs.root)) == [f"{kind}/i{n}.png" for kind in ("color", "gray") for n in (1, 2, 3, 4)]


def test_features(entries: list[Entry], tmp_path: Path) -> None:
    model = Quarter()
    outputs = run(model, entries[:2], tmp_path, "probabilities")
    image = read_image(tmp_path / "i2.png")
    with torch.inference_mode():
        scores = model.quarter_scores(preprocess(image, INPUT_SIZE))
    data = loadmat(outputs.path("probabilities", "i2", "mat"))["data"]
    assert data.dtype == np.float32
    assert np.array_equal(data, probabilities(scores, (30, 70), full_size=INPUT_SIZE))
    assert np.array_equal(data, np.load(outputs.path("probabilities", "i2", "npz"))["data"])
    assert np.array_equal(data.argmax(axis=2), read_label_map(outputs.path("labels", "i2")))


def test_model_without_quarter_scores(entries: list[Entry], tmp_path: Path) -> None:
    maps = []
    for model in (Quarter(), Full()):
        outputs = run(model, entries, tmp_path)
        maps.append([read_label_map(outputs.path("labels", entry.stem)) for entry in entries])
    assert max((one != other).mean() for one, other in zip(*maps, strict=True)) < 1e-3


def test_other_number_of_classes(entries: list[Entry], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the network: scores 19 classes, but the table has 21"):
        Predictor(Quarter(), classes=plain_table(21))
    wrong = Quarter(21)
    wrong.card = replace(wrong.card, num_classes=19)
    with pytest.raises(InputError, match="expected scores of 19 classes"):
        run(wrong, entries, tmp_path)


def test_damaged_image_stops_the_run_and_leaves_whole_files(entries: list[Entry], tmp_path: Path) -> None:
    data = (tmp_path / "i3.png").read_bytes()
    (tmp_path / "i3.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"i3\.png: the PNG file is cut off"):
        run(Quarter(), entries, tmp_path)
    outputs = outputs_of(tmp_path / "out")
    names = list(files(outputs.root))
    assert not [name for name in names if "i3" in name or "i4" in name]
    for name in names:
        assert read_label_map(outputs.root / name).size > 0


def test_overlay(entries: list[Entry], tmp_path: Path) -> None:
    outputs = run(Quarter(), entries[:1], tmp_path, "overlay", alpha=0.25)
    image, colour = read_image(tmp_path / "i1.png"), read_image(outputs.path("colour", "i1"))
    exact = 0.75 * image + 0.25 * colour
    assert np.abs(read_image(outputs.path("overlay", "i1")) - exact).max() <= 0.5


def test_scores_with_the_label(entries: list[Entry], tmp_path: Path) -> None:
    outputs = run(Quarter(), entries[:2], tmp_path)
    labels = read_label_map(outputs.path("labels", "i1"))
    write_label_map(tmp_path / "l1.png", labels)
    labelled = [dataclasses.replace(entries[0], label="l1.png"), dataclasses.replace(entries[1], label="none.png")]
    noted: list[str] = []
    context = Context(
        predictor_of(Quarter()), scoring_of(tmp_path), outputs, lambda task: noted.append(task.entry.image)
    )
    works = predict(context, labelled, Threads(1, 1, 1))
    assert noted == ["i1.png", "i2.png"]
    record = works[0].score.stats["official"]
    assert record.confusion.diagonal().sum() == record.confusion.sum() == labels.size
    assert works[0].inputs.keys() == {"image", "label"} and works[0].seconds.keys() == set(STAGES)
    assert works[1].score.skipped == f"{tmp_path / 'none.png'}: no such label; skipped"
    assert not works[1].score.stats


def test_same_bits_in_any_number_of_threads(entries: list[Entry], tmp_path: Path) -> None:
    """What the net computes for an image does not depend on how many threads torch has, nor on other images."""
    model = seeded()
    model.card = replace(model.card, input_size=(97, 161))
    predictor = Predictor(model, backend="eager", repeatable=True)
    scoring = Scoring((protocol("official", ProtocolSettings(input_size=(97, 161))),), CITYSCAPES_TABLE, tmp_path)
    digests = []
    before = torch.get_num_threads()
    for torch_threads, threads in ((1, Threads(1, 1, 1)), (2, Threads(1, 1, 1)), (3, Threads(2, 4, 2))):
        torch.set_num_threads(torch_threads)
        outputs = outputs_of(
            tmp_path / f"out{torch_threads}", "probabilities", files=("npz",)
        )  # mat files hold the time
        works = predict(Context(predictor, scoring, outputs), entries, threads)
        digests.append([work.files for work in works])
        assert torch.get_num_threads() == torch_threads
    torch.set_num_threads(before)
    assert digests[0] == digests[1] == digests[2]
