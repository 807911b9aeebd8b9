"""Networks of other families are predicted by the rules that their evaluations use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.protocols import Logits, Settings, protocol
from pytorch_icnet.imaging.pixels import CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Pixels
from pytorch_icnet.predict import Predictor


class Coarse(nn.Module):
    """Scores at an eighth of the resolution, resized to the input."""

    def __init__(self, name: str, pixels: Pixels) -> None:
        super().__init__()
        self.protocol, self.pixels = name, pixels
        self.num_classes, self.input_size = 5, (32, 64)
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
def test_labels_are_those_of_the_protocol(name: str, pixels: Pixels) -> None:
    pytest.importorskip("PIL")
    net = Coarse(name, pixels).eval()
    size = (40, 72)
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = protocol(name, Settings(input_size=net.input_size, pixels=pixels))
    with torch.inference_mode():
        logits = [Logits(net(view.blob(rgb))[0], view.size) for view in theirs.views(size)]
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
    with pytest.raises(ValueError, match="no rule 'other'"):
        Predictor(Coarse("other", CAFFE))
