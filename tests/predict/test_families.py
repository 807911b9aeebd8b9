"""Networks of other families are predicted by the rules that their evaluations use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from evaluation.protocols import Logits, ProtocolSettings, protocol
from icnet_common.errors import InputError
from pytorch_icnet import ICNet
from pytorch_icnet.card import ModelCard
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Normalization
from pytorch_icnet.predict import Predictor
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.mmseg import MMSegICNet
from pytorch_icnet.variants.semseg import SemSegICNet

Bytes = npt.NDArray[np.uint8]


class Coarse(nn.Module):
    """Scores at an eighth of the resolution, resized to the input."""

    def __init__(self, name: str, pixels: Normalization) -> None:
        super().__init__()
        self.card = ModelCard("", 5, (32, 64), pixels, name)
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 5, 8, stride=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        return nn.functional.interpolate(self.convolution(x), size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("official", CAFFE),
        ("mmseg", IMAGENET),
        ("liminn", TORCHVISION),
        ("semseg", UNIT_BGR),
        ("supervisely", CAFFE),
    ],
)
def test_labels_are_those_of_the_protocol(name: str, pixels: Normalization) -> None:
    pytest.importorskip("PIL")
    net = Coarse(name, pixels).eval()
    size = (40, 72)
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = protocol(name, ProtocolSettings(input_size=(32, 64), pixels=pixels))
    with torch.inference_mode():
        logits = [Logits(net(view.blob(rgb))[0], view.size) for view in theirs.inputs(size)]
    prediction = theirs.finish(logits, size).at(size)
    predictor = Predictor(net, backend="eager")
    labels = predictor.labels(rgb)
    assert labels.shape == size
    assert np.mean(labels == prediction) > 0.999
    assert len(np.unique(labels)) > 1
    probabilities = predictor.probabilities(rgb)
    assert probabilities.shape == (5, *size)
    assert np.mean(probabilities.argmax(0) == labels) > 0.999


def test_unknown_family() -> None:
    with pytest.raises(ValueError, match="no recipe 'other'"):
        Predictor(Coarse("other", CAFFE))


def like_mmsegmentation(net: nn.Module, rgb: Bytes) -> npt.NDArray[Any]:
    """Its test pipeline with mmcv's calls of OpenCV, and ``whole_inference``."""
    height, width = rgb.shape[:2]
    scale = min(2048 / max(height, width), 1024 / min(height, width))
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    image: npt.NDArray[Any] = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    image = cv2.subtract(image, np.array([[123.675, 116.28, 103.53]]))
    image = cv2.multiply(image, 1 / np.array([[58.395, 57.12, 57.375]]))
    scores = net(torch.from_numpy(image.transpose(2, 0, 1))[None])
    return nn.functional.interpolate(scores, (height, width), mode="bilinear").argmax(1)[0].numpy()


def like_liminn(net: nn.Module, rgb: Bytes) -> npt.NDArray[Any]:
    """``ToTensor`` and ``Normalize``; the image has a size that the net gives back."""
    x = torch.from_numpy(rgb).permute(2, 0, 1).float().div(255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found: npt.NDArray[Any] = net(((x - mean[:, None, None]) / std[:, None, None])[None]).argmax(1)[0].numpy()
    return found


def like_semseg(net: nn.Module, rgb: Bytes) -> npt.NDArray[Any]:
    """The loader with ``version="pascal"``, and ``validate.py`` with mirroring; rows and columns of the image."""
    image = pytest.importorskip("PIL.Image")
    resized = np.array(image.fromarray(rgb).resize((2049, 1025), image.BILINEAR))
    values = (resized[..., ::-1].astype(np.float64) - [103.939, 116.779, 123.68]).transpose(2, 0, 1)
    straight, mirrored = (torch.from_numpy(each.copy()).float()[None] for each in (values, values[..., ::-1]))
    labels = ((net(straight) + net(mirrored).flip(-1)) / 2).argmax(1)[0].numpy()
    rows, columns = (
        ((np.arange(n) + 0.5) * of / n).astype(int) for n, of in zip(rgb.shape[:2], labels.shape, strict=True)
    )
    found: npt.NDArray[Any] = labels[rows][:, columns]
    return found


def seeded(net: nn.Module) -> nn.Module:
    """In eval mode, with weights that keep the signal's size."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net.eval()


@pytest.mark.parametrize(
    ("make", "by_hand", "wrapped"),
    [
        (lambda: MMSegICNet(18, 5), like_mmsegmentation, lambda s: {"meta": {"iter": np.int64(3)}, "state_dict": s}),
        (lambda: LiminnICNet(5), like_liminn, lambda s: s),
        pytest.param(
            lambda: SemSegICNet(5),
            like_semseg,
            lambda s: {"model_state": {f"module.{key}": value for key, value in s.items()}},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_published_files_as_their_authors_predict(
    tmp_path: Path,
    make: Callable[[], nn.Module],
    by_hand: Callable[[nn.Module, Bytes], npt.NDArray[Any]],
    wrapped: Callable[[Any], Any],
) -> None:
    net = seeded(make())
    torch.save(wrapped(net.state_dict()), tmp_path / "published.pth")
    noise = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    rgb = np.asarray(cv2.resize(noise, (160, 96), interpolation=cv2.INTER_CUBIC), np.uint8)
    with torch.inference_mode():
        expected = by_hand(net, rgb)
        swapped = by_hand(net, np.ascontiguousarray(rgb[..., ::-1]))
    labels = Predictor(tmp_path / "published.pth", backend="eager", cache_dir=tmp_path / "cache").labels(rgb)
    assert labels.shape == expected.shape == (96, 160)
    assert len(np.unique(expected)) > 1
    assert np.mean(labels == expected) > 0.999
    assert np.mean(labels == swapped) < 0.999, "colours in the wrong order go unnoticed"


@pytest.mark.parametrize("name", ["mmseg", "liminn"])
def test_an_input_size_without_effect_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"without meaning for the recipe '{name}'"):
        Predictor(Coarse(name, IMAGENET), input_size=(64, 64))
    Predictor(Coarse("semseg", UNIT_BGR), input_size=(64, 64))


def test_other_colours() -> None:
    """A net is fed the colours that are asked for, whichever its own are."""
    rgb = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    asked = Predictor(Coarse("liminn", CAFFE), backend="eager", pixels=UNIT_BGR)
    own, other = (Predictor(Coarse("liminn", pixels), backend="eager") for pixels in (UNIT_BGR, CAFFE))
    assert np.array_equal(asked.scores(rgb), own.scores(rgb))
    assert not np.allclose(asked.scores(rgb), other.scores(rgb))
    small = Predictor(ICNet(5, width=0.1), backend="eager", input_size=(33, 65), pixels=UNIT_BGR)
    assert all(view.pixels == UNIT_BGR for view in small.recipe.inputs((40, 72)))
