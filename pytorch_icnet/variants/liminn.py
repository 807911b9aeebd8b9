"""liminn's ICNet: a full-width ResNet-50 that sees the image at a half and at a quarter.

Follows liminn/ICNet-pytorch da394fc, ``models/icnet.py``, ``segbase.py`` and ``base_models``. Modules have the
published names, so that state dicts agree key by key.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from converter.state_dict import load_strict

from ..card import ModelCard
from ..imaging.normalization import TORCHVISION
from ..pyramid import BINS
from . import resnet

FAMILY, NAME = "liminn", "liminn's ICNet"

INPUT_SIZE = (1024, 2048)
"""Height and width of Cityscapes' images, which are fed as they are."""

DEPTHS = (50, 101, 152)
"""Of the ResNets that the published code can choose; its configuration always has 50."""

STEM = (64, 64, 128)
"""Output channels of the stem's convolutions, of "ResNet v1s"."""

IMAGENET_CLASSES = 1000

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class LiminnICNet(nn.Module):
    """The net as published; its file holds the backbone's ``fc`` layer, which nothing uses.

    Args:
        num_classes: of the scores.
        depth: of the ResNet, one of :data:`DEPTHS`.
        published_mistakes: ``layer3`` and ``layer4`` also run on the image at a half, where nothing uses their result;
            in training their statistics see that image too. The scores are the same.
    """

    def __init__(self, num_classes: int = 19, depth: int = 50, *, published_mistakes: bool = False) -> None:
        super().__init__()
        self.num_classes, self.depth, self.published_mistakes = num_classes, depth, published_mistakes
        self.card = ModelCard(FAMILY, num_classes, INPUT_SIZE, TORCHVISION, FAMILY)

        self.pretrained = LiminnBackbone(depth)
        widths = ((3, 32), (32, 32), (32, 64))
        self.conv_sub1 = nn.Sequential(*(resnet.convolution(*each, 3, stride=2, relu="relu") for each in widths))
        self.head = LiminnHead(num_classes, 512 * 4, 128 * 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor | Outputs:
        """Scores before softmax.

        Args:
            x: (N, 3, H, W), RGB as torchvision normalises it; any size of at least 32.

        Returns:
            In eval mode (N, num_classes, H', W'), the first of :meth:`outputs`, with H' and W' the multiples of 8 at or
            above H and W; in training all of them.
        """
        outputs = self.outputs(x)
        return outputs if self.training else outputs[0]

    def outputs(self, x: torch.Tensor) -> Outputs:
        """What the published ``forward`` gives in either mode: the scores in full size, at 1/4, 1/8 and 1/16."""
        quarter, eighth, sixteenth = self.cascade_scores(x)
        return _resized(quarter, factor=4), quarter, eighth, sixteenth

    def cascade_scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The scores at 1/4, 1/8 and 1/16 of the image that training compares with the labels."""
        detail = self.conv_sub1(x)
        middle = self.pretrained.early(_resized(x, factor=0.5))
        if self.published_mistakes:
            with torch.no_grad():
                self.pretrained.late(middle)
        coarse = self.pretrained.late(self.pretrained.early(_resized(x, factor=0.25)))
        scores: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = self.head(detail, middle, pyramid_sum(coarse))
        return scores


class LiminnBackbone(nn.Module):
    """ResNet v1s: the third convolution of its stem has its batch normalisation outside the Sequential."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        convolutions = list(resnet.stem(STEM))
        self.conv1 = nn.Sequential(*convolutions[:-2])
        self.bn1, self.relu = convolutions[-2:]
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = resnet.stages(depth, STEM[-1])
        self.fc = nn.Linear(512 * 4, IMAGENET_CLASSES)

    def early(self, x: torch.Tensor) -> torch.Tensor:
        """The features of ``layer2``: 512 channels at 1/8 of ``x``."""
        y: torch.Tensor = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        y = self.layer2(self.layer1(y))
        return y

    def late(self, x: torch.Tensor) -> torch.Tensor:
        """The features of ``layer4``, 2048 channels, from those of ``layer2``, of the same size."""
        y: torch.Tensor = self.layer4(self.layer3(x))
        return y


class LiminnHead(nn.Module):
    """Two fusions, and the scores at 1/4."""

    def __init__(self, num_classes: int, coarse: int, middle: int) -> None:
        super().__init__()
        self.cff_12 = LiminnFusion(128, 64, num_classes)
        self.cff_24 = LiminnFusion(coarse, middle, num_classes)
        self.conv_cls = nn.Conv2d(128, num_classes, 1, bias=False)

    def forward(
        self, detail: torch.Tensor, middle: torch.Tensor, coarse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The scores at 1/4, 1/8 and 1/16."""
        fused, sixteenth = self.cff_24(coarse, middle)
        fused, eighth = self.cff_12(fused, detail)
        return self.conv_cls(_resized(fused, factor=2)), eighth, sixteenth


class LiminnFusion(nn.Module):
    """The coarser branch, resized and dilated, plus the finer one, projected; the coarser one is also scored."""

    def __init__(self, low: int, high: int, num_classes: int) -> None:
        super().__init__()
        self.conv_low = nn.Sequential(nn.Conv2d(low, 128, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(128))
        self.conv_high = nn.Sequential(nn.Conv2d(high, 128, 1, bias=False), nn.BatchNorm2d(128))
        self.conv_low_cls = nn.Conv2d(128, num_classes, 1, bias=False)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = self.conv_low(F.interpolate(low, high.shape[-2:], mode="bilinear", align_corners=True))
        return F.relu(low + self.conv_high(high)), self.conv_low_cls(low)


def pyramid_sum(x: torch.Tensor) -> torch.Tensor:
    """The sum of the features and their adaptive averages in 1, 2, 3 and 6 bins, each resized to the features."""
    total = x
    for bins in BINS:
        pooled = F.adaptive_avg_pool2d(x, bins)
        total = total + F.interpolate(pooled, x.shape[-2:], mode="bilinear", align_corners=True)
    return total


def _resized(x: torch.Tensor, *, factor: float) -> torch.Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


def matches(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict is of this family."""
    stem, low = state.get("pretrained.conv1.0.weight"), state.get("head.cff_24.conv_low.0.weight")
    return stem is not None and low is not None and stem.dim() == low.dim() == 4


def build(state: Mapping[str, torch.Tensor]) -> LiminnICNet:
    """The net of a state dict of this family, in eval mode; classes and depth follow from keys and shapes.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree.
    """
    scores = state.get("head.conv_cls.weight")
    depth = resnet.depth_of(state, "pretrained.")
    with torch.device("meta"):
        model = LiminnICNet(19 if scores is None else scores.shape[0], depth if depth in DEPTHS else 50)
    return load_strict(model, state, "not the weights of liminn's ICNet")
