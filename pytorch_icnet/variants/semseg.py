"""pytorch-semseg's ICNet, which Supervisely's plugin copied: Caffe's net with the stride of ``conv3_1`` elsewhere.

Follows meetshah1995/pytorch-semseg 801fb20, ``ptsemseg/models/icnet.py`` and ``utils.py``, and supervisely/supervisely
4e06a065f, ``plugins/nn/icnet/src``. Modules have the published names, so that state dicts agree key by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from converter.layers.interp import Interp
from converter.state_dict import load_strict
from icnet_common.errors import InputError

from ..card import QUARTER, InputSizes, ModelCard
from ..icnet import INPUT_SIZE, ICNet
from ..imaging.normalization import CAFFE
from ..pyramid import BINS, REFERENCE_SIZE, windows
from .names import to_caffe, to_published

FAMILY, NAME = "semseg", "pytorch-semseg's or Supervisely's ICNet"

SIZES = InputSizes(32, 1, 1, INPUT_SIZE, "pytorch-semseg's ICNet")
"""That eval mode takes."""

SMALLEST_TRAINED = 161
"""The shorter side, from which every bin of the pyramid has a pixel in training."""

Scores = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class SemSegICNet(nn.Module):
    """The net as published; its file holds four convolutions of the pyramid that nothing uses.

    Args:
        num_classes: of the scores.
        batch_norm: convolutions without biases, each followed by batch normalisation; otherwise with biases.
        caffe_faithful: the stride of ``conv3_1`` on its first convolution (1x1), as in Caffe's net, for which the
            official weights were trained. As published it is on the second (3x3).
        published_mistakes: in training, ``res_block3_identity`` runs a second time, on features of ``conv5_4_k1``, so
            that its statistics are updated twice; pytorch-semseg only, Supervisely's copy lacks it. The scores are the
            same.
    """

    def __init__(
        self,
        num_classes: int = 19,
        batch_norm: bool = True,
        *,
        caffe_faithful: bool = False,
        published_mistakes: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.batch_norm = num_classes, batch_norm
        self.caffe_faithful, self.published_mistakes = caffe_faithful, published_mistakes
        self.card = ModelCard(FAMILY, num_classes, INPUT_SIZE, CAFFE, FAMILY, SIZES, QUARTER)

        self.convbnrelu1_1 = Unit(3, 32, 3, batch_norm, stride=2, relu=True)
        self.convbnrelu1_2 = Unit(32, 32, 3, batch_norm, relu=True)
        self.convbnrelu1_3 = Unit(32, 64, 3, batch_norm, relu=True)
        self.res_block2 = Stage(3, 64, 32, 128, batch_norm, project=True)
        self.res_block3_conv = Stage(1, 128, 64, 256, batch_norm, project=True, stride=2, early=caffe_faithful)
        self.res_block3_identity = Stage(3, 256, 64, 256, batch_norm)
        self.res_block4 = Stage(6, 256, 128, 512, batch_norm, project=True, dilation=2)
        self.res_block5 = Stage(3, 512, 256, 1024, batch_norm, project=True, dilation=4)
        self.pyramid_pooling = PyramidSum(1024, batch_norm)
        self.conv5_4_k1 = Unit(1024, 256, 1, batch_norm, relu=True)
        self.convbnrelu1_sub1 = Unit(3, 32, 3, batch_norm, stride=2, relu=True)
        self.convbnrelu2_sub1 = Unit(32, 32, 3, batch_norm, stride=2, relu=True)
        self.convbnrelu3_sub1 = Unit(32, 64, 3, batch_norm, stride=2, relu=True)
        self.classification = nn.Conv2d(128, num_classes, 1)
        self.cff_sub24 = SemSegFusion(num_classes, 256, 256, batch_norm)
        self.cff_sub12 = SemSegFusion(num_classes, 128, 64, batch_norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor | Scores:
        """Scores before softmax.

        Args:
            x: (N, 3, H, W), BGR minus the mean; height and width 32k+1. In eval mode at least 1025x2049, as the
                pyramid's windows are those of that size; in training the shorter side is at least 161.

        Returns:
            In eval mode (N, num_classes, H, W), in training :meth:`cascade_scores`.

        Raises:
            InputError: a size that the published net does not take either.
        """
        if self.training:
            return self.cascade_scores(x)
        full: torch.Tensor = Interp(zoom=4)(self.quarter_scores(x))
        return full

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        """What eval mode resizes: (N, num_classes, (H - 1) / 4 + 1, (W - 1) / 4 + 1)."""
        _, _, fused = self._cascade(x)
        scores: torch.Tensor = self.classification(fused)
        return scores

    def cascade_scores(self, x: torch.Tensor) -> Scores:
        """The scores at 1/4, 1/8 and 1/16 of the image that training compares with the labels."""
        low, sub24, sub12 = self._cascade(x)
        heads = (self.classification, self.cff_sub12.low_classifier_conv, self.cff_sub24.low_classifier_conv)
        finest, middle, coarsest = (head(y) for head, y in zip(heads, (sub12, sub24, low), strict=True))
        return finest, middle, coarsest

    def _cascade(self, x: torch.Tensor) -> Scores:
        """Features at 1/16, 1/8 and 1/4, each after resizing."""
        self._check_size(int(x.shape[-2]), int(x.shape[-1]))
        y = self.convbnrelu1_3(self.convbnrelu1_2(self.convbnrelu1_1(Interp(shrink=2)(x))))
        half = self.res_block3_conv(self.res_block2(F.max_pool2d(y, 3, 2, 1)))
        y = self.res_block5(self.res_block4(self.res_block3_identity(Interp(shrink=2)(half))))
        y = self.conv5_4_k1(self.pyramid_pooling(y))
        if self.training and self.published_mistakes:
            with torch.no_grad():
                self.res_block3_identity(y)
        low = Interp(zoom=2)(y)
        sub24 = Interp(zoom=2)(self.cff_sub24(low, half))
        detail = self.convbnrelu3_sub1(self.convbnrelu2_sub1(self.convbnrelu1_sub1(x)))
        sub12 = Interp(zoom=2)(self.cff_sub12(sub24, detail))
        return low, sub24, sub12

    def _check_size(self, height: int, width: int) -> None:
        least = (SMALLEST_TRAINED, SMALLEST_TRAINED) if self.training else INPUT_SIZE
        if height % 32 == 1 == width % 32 and height >= least[0] and width >= least[1]:
            return
        mode = "training" if self.training else "inference"
        raise InputError(
            f"pytorch-semseg's ICNet cannot take an input of {height}x{width}: for {mode} height and width must be "
            f"32k+1 and at least {least[0]}x{least[1]}"
        )


class Unit(nn.Module):
    """A convolution with its batch normalisation and ReLU, where it has them, in a Sequential.

    The Sequential is called ``cbr_unit``, without ReLU ``cb_unit``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        batch_norm: bool,
        *,
        stride: int = 1,
        dilation: int = 1,
        relu: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=not batch_norm)]
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        if relu:
            layers.append(nn.ReLU())
        self.name = "cbr_unit" if relu else "cb_unit"
        self.add_module(self.name, nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.get_submodule(self.name)(x)
        return y


class SemSegBottleneck(nn.Module):
    """1x1, 3x3, 1x1, and the sum with the shortcut, which is a 1x1 convolution where ``project``.

    The stride is on the first convolution where ``early``, as in Caffe, otherwise on the second.
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        batch_norm: bool,
        *,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
        early: bool = False,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if early else (1, stride)
        self.cbr1 = Unit(inputs, inner, 1, batch_norm, stride=first, relu=True)
        self.cbr2 = Unit(inner, inner, 3, batch_norm, stride=second, dilation=dilation, relu=True)
        self.cb3 = Unit(inner, outputs, 1, batch_norm)
        self.cb4 = Unit(inputs, outputs, 1, batch_norm, stride=stride) if project else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.cb3(self.cbr2(self.cbr1(x)))
        return F.relu(y + (x if self.cb4 is None else self.cb4(x)))


class Stage(nn.Module):
    """``blocks`` bottlenecks; ``first`` is what :class:`SemSegBottleneck` makes of the first one only."""

    def __init__(
        self, blocks: int, inputs: int, inner: int, outputs: int, batch_norm: bool, *, dilation: int = 1, **first: Any
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SemSegBottleneck(inputs, inner, outputs, batch_norm, dilation=dilation, **first),
            *(SemSegBottleneck(outputs, inner, outputs, batch_norm, dilation=dilation) for _ in range(blocks - 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return y


class PyramidSum(nn.Module):
    """The sum of the features and their averages over windows: Caffe's in eval mode, ``size // bins`` in training."""

    def __init__(self, channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.path_module_list = nn.ModuleList(
            Unit(channels, channels // len(BINS), 1, batch_norm, relu=True) for _ in BINS
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        published = windows(*REFERENCE_SIZE)
        total = x
        for bins in reversed(BINS):
            even = (size[0] // bins, size[1] // bins)
            window = (*even, *even) if self.training else published[f"pool{bins}"]
            pooled = F.avg_pool2d(x, window[:2], window[2:])
            total = total + Interp(size)(pooled)
        return total


class SemSegFusion(nn.Module):
    """The sum of the coarser branch, dilated, and the finer one, projected, after ReLU; sizes must agree."""

    def __init__(self, num_classes: int, low: int, high: int, batch_norm: bool) -> None:
        super().__init__()
        self.low_dilated_conv_bn = Unit(low, 128, 3, batch_norm, dilation=2)
        self.low_classifier_conv = nn.Conv2d(low, num_classes, 1)
        self.high_proj_conv_bn = Unit(high, 128, 1, batch_norm)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        return F.relu(self.low_dilated_conv_bn(low) + self.high_proj_conv_bn(high))


def matches(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict is of this family."""
    first, block = state.get("convbnrelu1_1.cbr_unit.0.weight"), state.get("res_block2.layers.0.cb3.cb_unit.0.weight")
    return first is not None and block is not None and first.dim() == block.dim() == 4


def build(state: Mapping[str, torch.Tensor], *, caffe_faithful: bool = False) -> SemSegICNet:
    """The net of a state dict of this family, in eval mode; classes and normalisation follow from keys and shapes.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree.
    """
    classes = state["classification.weight"].shape[0] if "classification.weight" in state else 19
    batch_norm = "convbnrelu1_1.cbr_unit.1.weight" in state
    with torch.device("meta"):
        model = SemSegICNet(classes, batch_norm, caffe_faithful=caffe_faithful)
    return load_strict(model, state, "not the weights of pytorch-semseg's ICNet")


def to_icnet(model: SemSegICNet) -> ICNet:
    """The same weights in Caffe's net, with its auxiliary heads: equal to ``caffe_faithful`` at 1025x2049.

    The pyramid's unused convolutions have no place there and are left out.
    """
    caffe = ICNet(model.num_classes, merged=not model.batch_norm, aux=True).to(model.classification.weight)
    state = to_caffe(model.state_dict())
    caffe.load_state_dict({"data_sub1.weight": caffe.data_sub1.weight.detach(), **state})
    caffe.card = replace(caffe.card, provenance=model.card.provenance)
    return caffe.train(model.training)


def from_icnet(model: ICNet, *, caffe_faithful: bool = False) -> SemSegICNet:
    """Caffe's weights in this net, as pytorch-semseg imports them; the pyramid's unused convolutions stay random.

    Raises:
        InputError: a net of other widths than the published one, without the auxiliary heads, or that scales its input.
    """
    if not model.aux:
        raise InputError("pytorch-semseg's net has the auxiliary heads: read the weights with aux=True")
    if not torch.equal(model.data_sub1.weight, torch.ones_like(model.data_sub1.weight)):
        raise InputError("pytorch-semseg's net does not scale its input, but data_sub1 does")
    net = SemSegICNet(model.num_classes, not model.merged, caffe_faithful=caffe_faithful).to(model.conv6_cls.weight)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("data_sub1.")}
    renamed = to_published(state)
    expected = net.state_dict()
    if any(key not in expected or expected[key].shape != value.shape for key, value in renamed.items()):
        raise InputError("pytorch-semseg's net has the published numbers of channels, but these weights others")
    net.load_state_dict({**expected, **renamed})
    net.card = replace(net.card, provenance=model.card.provenance)
    return net.train(model.training)
