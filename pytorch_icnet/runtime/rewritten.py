"""Networks for inference: the same function with fewer operations, exactly.

The rewrites and their proofs stand in :mod:`converter.passes`; here they are applied to a whole network, converted
graph or hand-written ICNet alike. ICNet gains three more. Two come from 1x1 convolutions and channel factors that
commute with what works on each channel by itself, the third saves a copy of the image:

- ``data_sub1`` multiplies each channel of the image. The convolutions that read it are linear and pad with zeros, which
  a factor leaves zero, so that the factors move into their weights.
- The pyramid adds to ``conv5_3`` what pooling and resizing make of it. Both are linear and treat all channels alike, so
  that ``conv5_4_k1`` without its bias commutes with the whole pyramid, which then works on a quarter of the channels.
  The bias comes last.
- ``conv1_1_3x3_s2`` reads ``data_sub2``, which on an odd size is y[j] = x[2 j], and zeros around it. Its taps
  y[2 i + k], k = -1, 0, 1, are x[4 i + 2 k]: a convolution of x itself with stride 4, dilation 2 and padding 2. An axis
  of n = 2 m - 1 pixels has zeros at -2 and at 2 m = n + 1, which are those of y at -1 and m.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import fx, nn
from torch.nn import functional as F

from converter.passes import for_inference
from converter.passes.strided_shrink import StridedShrink
from converter.passes.upsample_convolution import UpsampledConvolution

from ..icnet import ICNet, check_size, folded

IMAGE_READERS = ("conv1_1_3x3_s2", "conv1_sub1")
"""The convolutions that read ``data_sub1``, the first of them through ``data_sub2``."""

BRANCH_BLOCKS = (
    *("conv3_2", "conv3_3", "conv3_4"),
    *("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv4_5", "conv4_6"),
    *("conv5_1", "conv5_2", "conv5_3"),
)
"""The bottlenecks of the branch at a quarter of the resolution."""


@singledispatch
def rewritten(module: nn.Module) -> nn.Module:
    """The form of ``module`` for inference; it shares memory with it where nothing changes.

    Args:
        module: an ICNet or a converted graph; any other network is returned as it is.

    Returns:
        A network with the same outputs up to rounding: below 1e-12 of the largest in float64.
    """
    return module


rewritten.register(fx.GraphModule, for_inference)


def convolution_of(model: ICNet, name: str) -> nn.Conv2d:
    """The convolution called ``name``."""
    found = model.get_submodule(name)
    assert isinstance(found, nn.Conv2d)
    return found


def bias_of(convolution: nn.Conv2d) -> torch.Tensor:
    """Its bias, which every convolution of a merged net has."""
    assert convolution.bias is not None
    return convolution.bias.detach()


class RewrittenICNet(ICNet):
    """An ICNet for inference, made from a trained one; its layers have the names of those that they come from."""

    def __init__(self, model: ICNet) -> None:
        model = folded(model)
        channels = {name: child.out_channels for name, child in model.named_children() if isinstance(child, nn.Conv2d)}
        with torch.device("meta"):
            super().__init__(model.num_classes, pyramid=model.pyramid, channels=channels)
        self.load_state_dict(model.state_dict(), strict=False, assign=True)  # the auxiliary heads stay behind
        self.card = model.card

        factors = self.data_sub1.weight.detach().double()
        for name in IMAGE_READERS:
            convolution = convolution_of(self, name)
            weight = convolution.weight.detach()
            convolution.weight = nn.Parameter((weight.double() * factors[:, None, None]).to(weight.dtype))
        del self.data_sub1
        self.data_sub2 = StridedShrink(2)
        self.conv3_1_sub4 = StridedShrink(2)
        for name in ("conv_sub4", "conv_sub2"):
            convolution = convolution_of(self, name)
            weight, bias = nn.Parameter(convolution.weight.detach()), nn.Parameter(bias_of(convolution))
            self.add_module(name, UpsampledConvolution(weight, bias))
        self.eval().requires_grad_(False)

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        """See :meth:`ICNet.quarter_scores`."""
        check_size(x.shape[-2], x.shape[-1])
        half = self.half_features(x)
        low, high = self._run("conv_sub4", self.quarter_features(half)), self._run("conv3_1_sub2_proj", half)
        sub24 = self._run_sum("sub24_sum", high, low)
        low, high = self._run("conv_sub2", sub24), self._run("conv3_sub1_proj", self.image_features(x))
        sub12 = self._run_sum("sub12_sum", high, low)
        scores: torch.Tensor = self.sub12_sum_interp(self.conv6_cls(sub12))
        return scores

    def cascade_scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Not here: the auxiliary heads are for training."""
        raise NotImplementedError("the auxiliary scores are for training; take them from the network itself")

    def half_features(self, x: torch.Tensor) -> torch.Tensor:
        """``conv3_1`` of an image (N, 3, H, W): 256 channels at a sixteenth of the resolution."""
        first = convolution_of(self, "conv1_1_3x3_s2")
        if x.shape[-2] % 2 and x.shape[-1] % 2:
            y = F.relu(F.conv2d(x, first.weight, first.bias, stride=4, padding=2, dilation=2))
        else:
            y = F.relu(first(self.data_sub2(x)))
        for name in ("conv1_2_3x3", "conv1_3_3x3"):
            y = self._run(name, y)
        y = self.pool1_3x3_s2(y)
        for block in ("conv2_1", "conv2_2", "conv2_3", "conv3_1"):
            y = self._run_bottleneck(block, y)
        return y

    def quarter_features(self, half: torch.Tensor) -> torch.Tensor:
        """``conv5_4_k1`` of ``conv3_1``: 256 channels at half its resolution."""
        y = self.conv3_1_sub4(half)
        for block in BRANCH_BLOCKS:
            y = self._run_bottleneck(block, y)
        last = convolution_of(self, "conv5_4_k1")
        pooled = self._pyramid_sum(F.conv2d(y, last.weight))
        features: torch.Tensor = F.relu(pooled + bias_of(last)[:, None, None])
        return features

    def image_features(self, x: torch.Tensor) -> torch.Tensor:
        """``conv3_sub1`` of an image (N, 3, H, W): 64 channels at an eighth of the resolution."""
        for name in ("conv1_sub1", "conv2_sub1", "conv3_sub1"):
            x = self._run(name, x)
        return x


rewritten.register(ICNet, RewrittenICNet)
