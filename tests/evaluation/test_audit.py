"""Each mistake of the audit really is made, and says what it would have scored."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from evaluation.audit.audit import Audit, Finding, audit
from evaluation.audit.common_errors import MISTAKES
from evaluation.data.lists import ImageList, read_list
from evaluation.protocols import ProtocolSettings, protocol
from evaluation.scoring import Scores, score
from icnet_common.errors import InputError
from pytorch_icnet import icnet
from pytorch_icnet.card import QUARTER, ModelCard
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, plain_table
from pytorch_icnet.imaging.images import read_image, write_label_map
from pytorch_icnet.imaging.normalization import CAFFE, Normalization
from pytorch_icnet.predictor import Predictor, Prepared

SIZE = (96, 160)
INPUT = (97, 161)

BY_FIGURES = {"per-image", "running", "present"}
BY_TRUTH = {"labelIds", "void-counted", "void-first", "list"}
"""Mistakes that leave the label maps as they are."""


class Colours(nn.Module):
    """A stand-in whose scores are how near a pixel is to the colour of each class, at a quarter of the resolution."""

    def __init__(self) -> None:
        super().__init__()
        colours = torch.from_numpy(CITYSCAPES_TABLE.palette[:19].astype(np.float32))
        mean = torch.tensor(CAFFE.mean)
        self.card = ModelCard("", 19, INPUT, CAFFE, stride=QUARTER)
        self.register_buffer("colours", (colours - mean)[:, [2, 1, 0]])

    def quarter_scores(self, blob: torch.Tensor) -> torch.Tensor:
        distance = blob[:, None, :, ::4, ::4] - self.get_buffer("colours")[None, :, :, None, None]
        return -0.002 * distance.square().sum(2)


@pytest.fixture
def listed(tmp_path: Path) -> ImageList:
    """Three images in the classes' colours, with noise, and their labels; some classes are absent."""
    random = np.random.default_rng(5)
    lines = []
    for index in range(3):
        coarse = random.integers(index, 17, (3, 5), dtype=np.uint8)
        label = coarse.repeat(32, 0).repeat(32, 1)
        rgb = np.clip(CITYSCAPES_TABLE.palette[label] + random.normal(0, 12, (*SIZE, 3)), 0, 255).astype(np.uint8)
        label[:24] = 255
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        write_label_map(tmp_path / "gt" / f"{index}_gtFine_labelTrainIds.png", label)
        lines.append(f"{index}.png gt/{index}_gtFine_labelTrainIds.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return read_list(tmp_path / "list.txt")


def audited(listed: ImageList, module: nn.Module, pixels: Normalization | None = CAFFE) -> Audit:
    network = predictor_of(module, INPUT)
    settings = ProtocolSettings(
        input_size=INPUT, pixels=pixels, fit=lambda size: (size[0] // 32 * 32 + 1, size[1] // 32 * 32 + 1)
    )
    return audit(network, settings, listed.entries, listed.path.parent)


def predictor_of(module: nn.Module, size: tuple[int, int]) -> Predictor:
    return Predictor(module, backend="eager", rewrite=False, input_size=size, classes=plain_table(19))


def by_name(found: Audit) -> dict[str, Finding]:
    return {finding.name: finding for finding in found.mistakes}


def official_scores(listed: ImageList) -> Scores:
    """What the official scoring says of label maps made by the official protocol."""
    folder = listed.path.parent
    official = protocol("official", ProtocolSettings(input_size=INPUT, pixels=CAFFE))
    network = predictor_of(Colours(), INPUT)
    (view,) = official.inputs(SIZE)
    for entry in listed.entries:
        blob = view.blob(read_image(folder / entry.image))
        labels = official.finish([network.forward(Prepared(SIZE, {view: blob})).logits[view]], SIZE).labels
        write_label_map(folder / "gray" / entry.image, labels)
    return score(folder / "gray", listed.path, folder)


def test_the_right_figures_are_the_official_ones(listed: ImageList) -> None:
    found, scores = audited(listed, Colours()), official_scores(listed)
    assert (found.right.mean_iou, found.right.pixel_accuracy) == (scores.mean_iou, scores.pixel_accuracy)
    assert scores.pixel_accuracy > 0.7


def test_every_mistake_is_made(listed: ImageList) -> None:
    found = by_name(audited(listed, Colours()))
    assert list(found) == [mistake.name for mistake in MISTAKES]
    assert {name for name, finding in found.items() if finding.note} == {"stride"}
    for name, finding in found.items():
        if name in BY_FIGURES | BY_TRUTH:
            assert finding.changed == 0, name
        elif name not in ("stride", "network-size", "antialiasing", "straight"):
            assert finding.changed is not None and finding.changed > 0, name
    assert found["network-size"].changed is None


@pytest.mark.parametrize(
    "name", ["channels", "mean", "unit-range", "other-pixels", "labelIds", "list", "void-counted", "void-first"]
)
def test_grave_mistakes_cost_much(listed: ImageList, name: str) -> None:
    found = audited(listed, Colours())
    finding = by_name(found)[name]
    assert finding.mean_iou is not None and found.right.mean_iou is not None
    assert finding.mean_iou < found.right.mean_iou - 0.02


def test_figures_by_hand(listed: ImageList) -> None:
    """The three ways of averaging, from the images' own scores."""
    found = audited(listed, Colours())
    single = [audited(ImageList(listed.path, (entry,)), Colours()) for entry in listed.entries]
    findings = by_name(found)
    present = [by_name(image)["present"].mean_iou for image in single]
    assert findings["per-image"].mean_iou == pytest.approx(np.mean(np.array(present, np.float64)))
    first_two = audited(ImageList(listed.path, listed.entries[:2]), Colours())
    running = [single[0].right.mean_iou, first_two.right.mean_iou, found.right.mean_iou]
    assert findings["running"].mean_iou == pytest.approx(np.mean(np.array(running, np.float64)))
    scores = official_scores(listed)
    present_classes = int((scores.union > 0).sum())
    assert 0 < present_classes < 19
    assert findings["present"].mean_iou == pytest.approx(scores.mean_iou * 19 / present_classes)


def test_the_stride_of_conv3_1(listed: ImageList) -> None:
    """Made in ICNet, whose stride is put back."""
    torch.manual_seed(0)
    module = icnet(width=0.25).eval()
    before = [child.stride for child in module.modules() if isinstance(child, nn.Conv2d)]
    finding = by_name(audited(ImageList(listed.path, listed.entries[:1]), module))["stride"]
    assert finding.note == ""
    assert finding.changed is not None and finding.changed > 0
    assert [child.stride for child in module.modules() if isinstance(child, nn.Conv2d)] == before


def test_images_larger_than_the_input(listed: ImageList) -> None:
    network = predictor_of(Colours(), (65, 129))
    settings = ProtocolSettings(input_size=(65, 129), pixels=CAFFE)
    findings = by_name(audit(network, settings, listed.entries, listed.path.parent))
    assert findings["padding"].note == "the image is larger than the network's input, 65x129"
    assert findings["cropping"].note == "the scores are smaller than the image"
    assert findings["nearest"].note == ""


def test_what_is_printed_and_written(listed: ImageList) -> None:
    found = audited(listed, Colours())
    lines = found.as_text().splitlines()
    assert len(lines) == 2 + len(MISTAKES)
    assert lines[1].startswith("official")
    assert "stride        conv3_1's stride on its 3x3 convolution: the network has no conv3_1" in found.as_text()
    data = json.loads(json.dumps(found.as_data()))
    assert data["right"]["mean_iou"] == found.right.mean_iou
    assert [row["name"] for row in data["mistakes"]] == [mistake.name for mistake in MISTAKES]
    assert data["images"] == ["0.png", "1.png", "2.png"]


def test_without_labels(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\n")
    with pytest.raises(InputError, match="needs images with labels"):
        audited(read_list(tmp_path / "list.txt"), Colours())


def test_label_ids_are_named_here_too(listed: ImageList) -> None:
    path = listed.path.parent / (listed.entries[0].label or "")
    ids: npt.NDArray[np.uint8] = np.full(SIZE, 23, np.uint8)
    write_label_map(path, ids)
    with pytest.raises(InputError, match="holds labelIds"):
        audited(listed, Colours())
