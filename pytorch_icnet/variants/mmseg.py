"""mmsegmentation's ICNet, with ResNets of depth 18, 50 and 101.

Follows open-mmlab/mmsegmentation 0.30.0 and 1.2.2, which have the same network: ``configs/icnet``,
``mmseg/models/backbones/icnet.py``, ``necks/ic_neck.py`` and ``decode_heads/fcn_head.py``. Modules have the published
names, so that state dicts agree key by key. It shares the idea with Caffe's ICNet and little else: pixels' centres at
half in every resize, full-width ResNets, a pyramid that is concatenated and convolved, ReLUs before the sums of the
cascade, a 3x3 convolution in each head, and scores at 1/8 of the image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from converter.state_dict import load_strict
from icnet_common.errors import WeightsError

from ..card import InputSizes, ModelCard
from ..imaging.normalization import IMAGENET
from ..pyramid import BINS
from .resnet import DEPTHS, WIDTHS, BasicBlock, Bottleneck, ResNet, convolution, depth_of

FAMILY, NAME = "mmseg", "mmsegmentation's ICNet"

INPUT_SIZE = (1024, 2048)
"""Height and width of the images that the published speeds are for; any size from :data:`SMALLEST` on is taken."""

SMALLEST = 14
"""Height and width from which every branch has a pixel."""

_SIZES = InputSizes(smallest=(SMALLEST, SMALLEST), network="mmsegmentation's ICNet")

HEADS = ("decode_head", "auxiliary_head.0", "auxiliary_head.1")

ALIAS, BACKBONE = "backbone.resnet.", "backbone.backbone."
"""The prefix that checkpoints from before the network's release have, and the released one."""

_SIGNS = ("backbone.conv_sub4.conv.weight", "neck.cff_24.conv_low.conv.weight", "decode_head.conv_seg.weight")

Features = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class MMSegICNet(nn.Module):
    """The network as published, with its auxiliary heads or without.

    Args:
        depth: of the ResNet: 18, 50 or 101.
        num_classes: of the scores.
        aux: also the two heads of training.
    """

    def __init__(self, depth: int = 50, num_classes: int = 19, *, aux: bool = True) -> None:
        super().__init__()
        self.depth, self.num_classes, self.aux = depth, num_classes, aux
        self.card = ModelCard(FAMILY, num_classes, INPUT_SIZE, IMAGENET, FAMILY)

        self.backbone = MMSegBackbone(depth)
        self.neck = MMSegNeck()
        self.decode_head = MMSegHead(num_classes)
        if aux:
            self.auxiliary_head = nn.ModuleList(
                [MMSegHead(num_classes, dropout=0.1), MMSegHead(num_classes, dropout=0.1)]
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores before softmax.

        Args:
            x: (N, 3, H, W), RGB, minus the mean and divided by the deviation of :attr:`pixels`.

        Returns:
            (N, num_classes, H, W).

        Raises:
            InputError: an image smaller than :data:`SMALLEST`.
        """
        return resized(self.eighth_scores(x), (x.shape[-2], x.shape[-1]))

    def eighth_scores(self, x: torch.Tensor) -> torch.Tensor:
        """The scores before they are resized: (N, num_classes, ceil(H / 8), ceil(W / 8))."""
        scores: torch.Tensor = self.decode_head(self._features(x)[2])
        return scores

    def cascade_scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The scores that are trained, of all heads, at 1/8, 1/8 and 1/16: decode head, then auxiliary 1 and 0."""
        low, middle, high = self._features(x)
        return self.decode_head(high), self.auxiliary_head[1](middle), self.auxiliary_head[0](low)

    def _features(self, x: torch.Tensor) -> Features:
        _SIZES.check(x.shape[-2], x.shape[-1])
        features: Features = self.neck(self.backbone(x))
        return features


class MMSegBackbone(nn.Module):
    """The three branches; those at 1/2 and 1/4 are one ResNet, its third and fourth stages on halved features."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        block, _ = DEPTHS[depth]
        half, quarter = WIDTHS[1] * block.expansion, WIDTHS[3] * block.expansion
        self.backbone = ResNet(depth, ceil_mode=True)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), convolution(quarter, 512)) for bins in sorted(BINS)
        )
        self.psp_bottleneck = convolution(quarter + 512 * len(BINS), 512, 3)
        self.conv_sub1 = nn.Sequential(
            convolution(3, 32, 3, stride=2), convolution(32, 32, 3, stride=2), convolution(32, 64, 3, stride=2)
        )
        self.conv_sub2 = convolution(half, 256)
        self.conv_sub4 = convolution(512, 256)

    def forward(self, x: torch.Tensor) -> Features:
        """Features at 1/8 (64 channels), 1/16 and 1/32 (256 each) of the image."""
        sub1 = self.conv_sub1(x)
        y = self.backbone.maxpool(self.backbone.stem(halved(x)))
        y = self.backbone.layer2(self.backbone.layer1(y))
        sub2 = self.conv_sub2(y)
        y = self.backbone.layer4(self.backbone.layer3(halved(y)))
        size = (y.shape[-2], y.shape[-1])
        levels = [resized(level(y), size) for level in self.psp_modules]
        y = self.psp_bottleneck(torch.cat([*levels, y], 1))
        return sub1, sub2, self.conv_sub4(y)


class CascadeFeatureFusion(nn.Module):
    """Coarse features brought to the size of finer ones and added to them."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.conv_low = convolution(low, 128, 3, dilation=2)
        self.conv_high = convolution(high, 128)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse features at the finer size, which an auxiliary head scores, and the sum."""
        low = self.conv_low(resized(low, (high.shape[-2], high.shape[-1])))
        return low, low + self.conv_high(high)


class MMSegNeck(nn.Module):
    """The two fusions of the cascade. Their sums are of ReLUs' values, so that a ReLU after them changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.cff_24 = CascadeFeatureFusion(256, 256)
        self.cff_12 = CascadeFeatureFusion(128, 64)

    def forward(self, branches: Features) -> Features:
        """What the heads score: at 1/16 and 1/8 the coarse halves of the fusions, and at 1/8 the last sum."""
        sub1, sub2, sub4 = branches
        sub24, fused = self.cff_24(sub4, sub2)
        sub12, fused = self.cff_12(fused, sub1)
        return sub24, sub12, fused


class MMSegHead(nn.Module):
    """A 3x3 convolution and the scores; ``dropout`` is the share of channels that training leaves out."""

    def __init__(self, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(128, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.convs = nn.Sequential(convolution(128, 128, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.conv_seg(self.dropout(self.convs(x)))
        return scores


def resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, with pixels' centres at half, without antialiasing."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def halved(x: torch.Tensor) -> torch.Tensor:
    """At half the size, rounded down. Positions follow from the factor 0.5 and not from the sizes, as published."""
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


def initialize(model: MMSegICNet) -> None:
    """The weights of a training from scratch, from torch's generator, as mmsegmentation 1.2.2 begins.

    He's normal weights (2015) by each convolution's outputs, 0.01 for the scores, and no residual branch in any block
    of the ResNet, whose last normalisations begin at zero (Goyal et al. 2017).
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            if name.endswith("conv_seg"):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def matches(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict is one of this network, by its keys and shapes."""
    stem = any(f"{prefix}stem.0.weight" in state for prefix in (BACKBONE, ALIAS))
    return stem and all(key in state and state[key].dim() == 4 for key in _SIGNS)


def build(state: Mapping[str, torch.Tensor]) -> MMSegICNet:
    """The network of a state dict, in eval mode; its depth, classes and heads follow from keys and shapes.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree; names all of them.
    """
    state = {re.sub(f"^{re.escape(ALIAS)}", BACKBONE, key): value for key, value in state.items()}
    depth = depth_of(state, BACKBONE)
    if depth is None:
        known = ", ".join(map(str, DEPTHS))
        raise WeightsError(f"not the weights of mmsegmentation's ICNet: its blocks are of no known ResNet ({known})")
    num_classes = state["decode_head.conv_seg.weight"].shape[0]
    aux = any(key.startswith("auxiliary_head.") for key in state)
    with torch.device("meta"):
        model = MMSegICNet(depth, num_classes, aux=aux)
    return load_strict(model, state, "not the weights of mmsegmentation's ICNet")
