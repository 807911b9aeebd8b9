"""ICNet, written by hand.

The net of Zhao, Qi, Shen, Shi and Jia, "ICNet for Real-Time Semantic Segmentation on High-Resolution Images" (ECCV
2018), as its prototxt was released, which differs from the paper's figure: the branch at 1/4 of the image begins with
``conv3_1`` of the branch at 1/2, halved, and the pyramid sums its levels. Every layer of the prototxt is a child under
its Caffe name, so that weights, activations and reports of the two sides meet by name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from converter.layers.elementwise import Eltwise, Scale
from converter.layers.interp import Interp
from converter.layers.pooling import Pooling, pool, pooled_length
from converter.passes.fold_batch_norm import fold

from .card import QUARTER, InputSizes, ModelCard
from .imaging.normalization import CAFFE
from .pyramid import BINS, Pyramid, Window, windows

INPUT_SIZE = (1025, 2049)
"""Height and width of the published net's input."""

SIZES = InputSizes(32, 1, 8, network="ICNet")
"""The branches meet at equal sizes exactly when the remainder of height and width modulo 32 is 1 to 8."""


class ICNet(nn.Module):
    """Scores of street scenes from a cascade of three resolutions.

    Args:
        num_classes: channels of ``conv6_cls``.
        merged: convolutions with biases, the form for inference; otherwise convolutions without biases, each followed
            by batch normalisation (``conv/bn``), the form for training.
        pyramid: windows other than the default (see :func:`pytorch_icnet.pyramid.windows`):
            ``{"pool1": (kernel_h, kernel_w, stride_h, stride_w), "pool2": ..., "pool3": ..., "pool6": ...,
            "interp": (height, width)}``.
        width: factor on the number of channels of every layer but the scores.
        aux: also the auxiliary heads of training, ``conv6_sub2`` and ``conv6_sub4``.
        channels: output channels of single convolutions by name, for pruned nets; wins over ``width``.
    """

    input_names = ("data",)

    def __init__(
        self,
        num_classes: int = 19,
        merged: bool = True,
        *,
        pyramid: Pyramid | None = None,
        width: float = 1.0,
        aux: bool = False,
        channels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.merged, self.aux = num_classes, merged, aux
        self.pyramid = None if pyramid is None else {name: tuple(values) for name, values in pyramid.items()}
        self.card = ModelCard(
            "icnet", num_classes, INPUT_SIZE, CAFFE, sizes=SIZES, stride=QUARTER, pyramid=self.pyramid
        )
        self._width, self._channels = width, dict(channels or {})

        self.data_sub1 = Scale(nn.Parameter(torch.ones(3)))
        self.data_sub2 = Interp(shrink=2)
        n = self._convolution("conv1_1_3x3_s2", 3, 32, kernel=3, stride=2, relu=True)
        n = self._convolution("conv1_2_3x3", n, 32, kernel=3, relu=True)
        n = self._convolution("conv1_3_3x3", n, 64, kernel=3, relu=True)
        self.pool1_3x3_s2 = Pooling("MAX", (3, 3), (2, 2), (1, 1))
        n = self._stage("conv2", n, blocks=3, inner=32, outer=128)
        half = self._bottleneck("conv3_1", n, 64, 256, stride=2, project=True)
        self.conv3_1_sub4 = Interp(shrink=2)
        n = self._stage("conv3", half, blocks=3, inner=64, outer=256, first=2)
        n = self._stage("conv4", n, blocks=6, inner=128, outer=512, dilation=2)
        n = self._stage("conv5", n, blocks=3, inner=256, outer=1024, dilation=4)
        for bins in BINS:
            self.add_module(f"conv5_3_pool{bins}", PyramidPooling())
            self.add_module(f"conv5_3_pool{bins}_interp", ResizeTo())
        self.conv5_3_sum = Eltwise()
        quarter = self._convolution("conv5_4_k1", n, 256, relu=True)

        self.conv5_4_interp = Interp(zoom=2)
        n = self._convolution("conv_sub4", quarter, 128, kernel=3, dilation=2)
        self._convolution("conv3_1_sub2_proj", half, 128)
        self._add_with_relu("sub24_sum")
        self.sub24_sum_interp = Interp(zoom=2)

        low = self._convolution("conv_sub2", n, 128, kernel=3, dilation=2)
        m = self._convolution("conv1_sub1", 3, 32, kernel=3, stride=2, relu=True)
        m = self._convolution("conv2_sub1", m, 32, kernel=3, stride=2, relu=True)
        m = self._convolution("conv3_sub1", m, 64, kernel=3, stride=2, relu=True)
        self._convolution("conv3_sub1_proj", m, 128)
        self._add_with_relu("sub12_sum")
        self.sub12_sum_interp = Interp(zoom=2)

        self.conv6_cls = nn.Conv2d(low, num_classes, 1)
        self.conv6_interp = Interp(zoom=4)
        if aux:
            self.conv6_sub2 = nn.Conv2d(n, num_classes, 1)
            self.conv6_sub4 = nn.Conv2d(quarter, num_classes, 1)

    def extra_repr(self) -> str:
        """What tells nets of the same layers apart."""
        return "" if self.pyramid is None else f"pyramid={self.pyramid}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores before softmax.

        Args:
            x: (N, 3, H, W), BGR minus the mean, range about -124 to 152; H mod 32 and W mod 32 in 1 to 8.

        Returns:
            (N, num_classes, H', W') with H' and W' the 32k+1 at or below H and W.

        Raises:
            InputError: an illegal size; names the nearest legal ones.
        """
        scores: torch.Tensor = self.conv6_interp(self.quarter_scores(x))
        return scores

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        """The scores at a quarter of the resolution, before ``conv6_interp``: (N, num_classes, 8k+1, 8l+1)."""
        _, _, sub12 = self._cascade(x)
        scores: torch.Tensor = self.conv6_cls(sub12)
        return scores

    def cascade_scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The scores at 1/4, 1/8 and 1/16 that cascade label guidance trains; needs ``aux=True``."""
        quarter, sub24, sub12 = self._cascade(x)
        return self.conv6_cls(sub12), self.conv6_sub2(sub24), self.conv6_sub4(quarter)

    def _cascade(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features at 1/16 (``conv5_4_interp``), 1/8 (``sub24_sum_interp``) and 1/4 (``sub12_sum_interp``)."""
        check_size(x.shape[-2], x.shape[-1])
        image = self.data_sub1(x)

        y = self.data_sub2(image)
        for name in ("conv1_1_3x3_s2", "conv1_2_3x3", "conv1_3_3x3"):
            y = self._run(name, y)
        y = self.pool1_3x3_s2(y)
        for block in ("conv2_1", "conv2_2", "conv2_3", "conv3_1"):
            y = self._run_bottleneck(block, y)
        half = y

        y = self.conv3_1_sub4(half)
        for stage, numbers in (("conv3", (2, 3, 4)), ("conv4", (1, 2, 3, 4, 5, 6)), ("conv5", (1, 2, 3))):
            for number in numbers:
                y = self._run_bottleneck(f"{stage}_{number}", y)
        y = self._run("conv5_4_k1", self._pyramid_sum(y))
        quarter = self.conv5_4_interp(y)

        low, high = self._run("conv_sub4", quarter), self._run("conv3_1_sub2_proj", half)
        sub24 = self.sub24_sum_interp(self._run_sum("sub24_sum", high, low))

        y = image
        for name in ("conv1_sub1", "conv2_sub1", "conv3_sub1"):
            y = self._run(name, y)
        low, high = self._run("conv_sub2", sub24), self._run("conv3_sub1_proj", y)
        sub12 = self.sub12_sum_interp(self._run_sum("sub12_sum", high, low))
        return quarter, sub24, sub12

    def _pyramid_sum(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        chosen: Pyramid = windows(height, width) if self.pyramid is None else self.pyramid
        size = tuple(chosen.get("interp", (height, width)))
        levels = {}
        for bins in BINS:
            pooled = self.get_submodule(f"conv5_3_pool{bins}")(x, tuple(chosen[f"pool{bins}"]))
            levels[bins] = self.get_submodule(f"conv5_3_pool{bins}_interp")(pooled, size)
        total: torch.Tensor = self.conv5_3_sum(x, levels[6], levels[3], levels[2], levels[1])
        return total

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A convolution with its batch normalisation and ReLU, where it has them."""
        for child in (name, f"{name}/bn", f"{name}/relu"):
            if child in self._modules:
                x = self.get_submodule(child)(x)
        return x

    def _run_sum(self, name: str, *parts: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.get_submodule(f"{name}/relu")(self.get_submodule(name)(*parts))
        return x

    def _run_bottleneck(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = self._run(f"{name}_1x1_reduce", x)
        y = self._run(f"{name}_3x3", y)
        y = self._run(f"{name}_1x1_increase", y)
        shortcut = self._run(f"{name}_1x1_proj", x) if f"{name}_1x1_proj" in self._modules else x
        return self._run_sum(name, shortcut, y)

    def _convolution(
        self,
        name: str,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        relu: bool = False,
    ) -> int:
        """Add a convolution, its batch normalisation and its ReLU; returns its number of output channels."""
        outputs = self._channels.get(name, max(1, round(outputs * self._width)))
        padding = dilation * (kernel // 2)
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=self.merged)
        self.add_module(name, convolution)
        if not self.merged:
            self.add_module(f"{name}/bn", nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.05))
        if relu:
            self.add_module(f"{name}/relu", nn.ReLU())
        return outputs

    def _add_with_relu(self, name: str) -> None:
        self.add_module(name, Eltwise())
        self.add_module(f"{name}/relu", nn.ReLU())

    def _bottleneck(
        self,
        name: str,
        inputs: int,
        inner: int,
        outer: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
    ) -> int:
        """1x1 reduce (which carries the stride), 3x3, 1x1 increase, and the sum with the shortcut."""
        n = self._convolution(f"{name}_1x1_reduce", inputs, inner, stride=stride, relu=True)
        n = self._convolution(f"{name}_3x3", n, inner, kernel=3, dilation=dilation, relu=True)
        outputs = self._convolution(f"{name}_1x1_increase", n, outer)
        if project:
            self._convolution(f"{name}_1x1_proj", inputs, outer, stride=stride)
        self._add_with_relu(name)
        return outputs

    def _stage(
        self,
        name: str,
        inputs: int,
        *,
        blocks: int,
        inner: int,
        outer: int,
        dilation: int = 1,
        first: int = 1,
    ) -> int:
        """``blocks`` bottlenecks numbered from ``first``; block 1 changes the number of channels and so projects."""
        for number in range(first, first + blocks):
            inputs = self._bottleneck(f"{name}_{number}", inputs, inner, outer, dilation=dilation, project=number == 1)
        return inputs


class PyramidPooling(nn.Module):
    """Caffe's average pooling with windows given at run time, as they depend on the size of the features."""

    def forward(self, x: torch.Tensor, window: Window) -> torch.Tensor:
        kernel, stride = window[:2], window[2:]
        height, width = (
            pooled_length(n, k, s, 0, padded=False) for n, k, s in zip(x.shape[-2:], kernel, stride, strict=True)
        )
        return pool(x, "AVE", kernel, stride, (0, 0), (height, width))


class ResizeTo(nn.Module):
    """Interp to a size given at run time."""

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        resized: torch.Tensor = Interp(size)(x)
        return resized


def check_size(height: int, width: int) -> None:
    """Raise InputError, naming the nearest legal sizes, unless ICNet takes an image of this size."""
    SIZES.check(height, width)


def folded(model: ICNet) -> ICNet:
    """The merged form of a net with batch normalisation, for inference: equal up to rounding, on the same device.

    A merged net is returned as it is.
    """
    if model.merged:
        return model
    channels = {name: child.out_channels for name, child in model.named_children() if isinstance(child, nn.Conv2d)}
    merged = ICNet(model.num_classes, pyramid=model.pyramid, aux=model.aux, channels=channels)
    merged.card = model.card
    state = {}
    for name, child in model.named_children():
        norm = model._modules.get(f"{name}/bn")
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            bias = None if child.bias is None else child.bias.detach()
            state[f"{name}.weight"], state[f"{name}.bias"] = fold(child.weight.detach(), bias, norm)
        elif not isinstance(child, nn.BatchNorm2d):
            state.update({f"{name}.{key}": value for key, value in child.state_dict().items()})
    merged.to(model.data_sub1.weight).load_state_dict(state)
    return merged.train(model.training)
