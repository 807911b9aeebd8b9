"""ResNets whose stem is three small convolutions, and whose late stages widen their sight instead of halving.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), with three changes that ICNet's variants share.
The stem is three 3x3 convolutions in place of one of 7x7; mmsegmentation calls the net v1c with 64 channels after it,
PyTorch-Encoding v1s with 128. A bottleneck's stride is on its 3x3 convolution. A stage of dilation 2 or 4 keeps its
input's size, and its first block has half the dilation of the others ("contracted").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

WIDTHS = (64, 128, 256, 512)
"""Inner channels of the four stages."""

STRIDES, DILATIONS = (1, 2, 1, 1), (1, 1, 2, 4)
"""Of the four stages."""

STEM = (32, 32, 64)
"""Output channels of the stem's convolutions."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the sum with the shortcut; of the shallow nets. Only the first one is dilated."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int = 1, dilation: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(y + shortcut)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride and the dilation), 1x1, and the sum with the shortcut."""

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int = 1, dilation: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(y + shortcut)
        return result


Block = type[BasicBlock] | type[Bottleneck]

DEPTHS: Mapping[int, tuple[Block, tuple[int, int, int, int]]] = MappingProxyType(
    {
        18: (BasicBlock, (2, 2, 2, 2)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }
)
"""The kind of block and the number of them in each stage, by the depth in a net's name."""


class ResNet(nn.Module):
    """The four stages with their stem, under mmsegmentation's names: ``stem``, ``maxpool``, ``layer1`` to ``layer4``.

    The parts are public, as the variants run some stages on other inputs than the previous stage's output; a net with
    other names for them takes :func:`stem` and :func:`stages`.

    Args:
        depth: a key of :data:`DEPTHS`.
        ceil_mode: whether the stem's pooling rounds sizes up.
    """

    def __init__(self, depth: int, *, ceil_mode: bool = False) -> None:
        super().__init__()
        self.stem = stem(STEM)
        self.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=ceil_mode)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(depth, STEM[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last stage's features: (N, 512 or 2048, h, w)."""
        x = self.maxpool(self.stem(x))
        x = self.layer2(self.layer1(x))
        result: torch.Tensor = self.layer4(self.layer3(x))
        return result


def stem(widths: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions, each with batch normalisation and ReLU (so 0, 3 and 6 are convolutions); the first halves."""
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(zip([3, *widths], widths, strict=False)):
        convolution = nn.Conv2d(inputs, outputs, 3, 2 if place == 0 else 1, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, dilation: int = 1, relu: str = "activate"
) -> nn.Sequential:
    """A convolution without bias, padded to keep the size, batch normalisation and ReLU: ``conv``, ``bn``, ``relu``.

    By default ``relu`` is mmcv's name.
    """
    padding = dilation * (kernel // 2)
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), bn=nn.BatchNorm2d(outputs)
    )
    return nn.Sequential(OrderedDict(layers, **{relu: nn.ReLU(inplace=True)}))


def stages(depth: int, inputs: int) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]:
    """The four stages of a depth, see :class:`ResNet`; ``inputs`` channels go into the first."""
    block, counts = DEPTHS[depth]
    made = []
    for width, count, stride, dilation in zip(WIDTHS, counts, STRIDES, DILATIONS, strict=True):
        made.append(stage(block, inputs, width, count, stride=stride, dilation=dilation))
        inputs = width * block.expansion
    first, second, third, fourth = made
    return first, second, third, fourth


def stage(block: Block, inputs: int, width: int, count: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """``count`` blocks. The first has the stride, half the dilation and, where its shape asks for it, a projection."""
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, max(dilation // 2, 1), downsample)
    return nn.Sequential(first, *(block(outputs, width, dilation=dilation) for _ in range(count - 1)))


def depth_of(state: Mapping[str, torch.Tensor], prefix: str) -> int | None:
    """The depth that the keys ``{prefix}layer1.0.conv1.weight`` and so on tell; None: none of :data:`DEPTHS`."""
    counts = tuple(_count(state, f"{prefix}layer{number}.") for number in (1, 2, 3, 4))
    block: Block = Bottleneck if f"{prefix}layer1.0.conv3.weight" in state else BasicBlock
    return next((depth for depth, known in DEPTHS.items() if known == (block, counts)), None)


def _count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many blocks there are, numbered from 0 without a gap."""
    number = 0
    while f"{prefix}{number}.conv1.weight" in state:
        number += 1
    return number
