"""A 3x3 convolution of dilation 2 after an upsampling by 2, computed before the upsampling.

Let U be Interp's zoom by 2, which makes 2n - 1 pixels of n: U(x)[2i] = x[i] and U(x)[2i + 1] = (x[i] + x[i + 1]) / 2.
Let C and D be 3-tap convolutions with the weights w_k, k = -1, 0, 1, and zeros around their input: C with dilation 1
and padding 1, D with dilation 2 and padding 2. Along one axis

    D(U(x))[2i]     = sum_k w_k U(x)[2 (i + k)]     = sum_k w_k x[i + k]
                    = C(x)[i]
    D(U(x))[2i + 1] = sum_k w_k U(x)[2 (i + k) + 1] = sum_k w_k (x[i + k] + x[i + k + 1]) / 2
                    = (C(x)[i] + C(x)[i + 1]) / 2

where x is zero outside 0 to n - 1: so D(U(x)) = U(C(x)). One step does not hold at the border: for 2 (i + k) + 1 = -1,
the pixel before the first one, U(x) is zero to the convolution, whereas (x[-1] + x[0]) / 2 is not; likewise for the
pixel after the last one. With |k| <= 1 they are met only at i = 0 and i = n - 2, in the second and the second-last
pixel. A bias is the same on both sides, as the weights of U add up to 1.

Along two axes the same holds for each, as U and the padding are separable. So the result is U(C(x)) but for the second
and second-last row and column, each of which is a convolution of a strip of three rows (columns) of U(x), one of them
zero. C works on a quarter of the pixels.
"""

from __future__ import annotations

from typing import TypeGuard, cast

import torch
from torch import fx, nn
from torch.nn import functional as F

from ..layers.interp import Interp
from .pointwise_first import is_zoom
from .rewriting import copied, finished, module_of, remove, replace_module


class UpsampledConvolution(nn.Module):
    """A 3x3 convolution with dilation 2 and padding 2 of an upsampling by 2, at a quarter of the work.

    Args:
        weight: (O, I/groups, 3, 3).
        bias: (O,) or None.
        groups: of the convolution.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, groups: int = 1) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.groups = groups
        self.zoom = Interp(zoom=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, O, 2H - 1, 2W - 1)."""
        height, width = x.shape[-2:]
        y: torch.Tensor = self.zoom(self.coarse(x))
        if height > 1:
            y[..., 1, :] = self._row(x[..., :3, :], self.weight, first=True)
            y[..., -2, :] = self._row(x[..., -3:, :], self.weight, first=False)
        if width > 1:
            weight = self.weight.transpose(-1, -2)
            y[..., 1] = self._row(x[..., :3].transpose(-1, -2), weight, first=True)
            y[..., -2] = self._row(x[..., -3:].transpose(-1, -2), weight, first=False)
        return y

    def coarse(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution before the upsampling: (N, C, H, W) to (N, O, H, W)."""
        return F.conv2d(x, self.weight, self.bias, padding=1, groups=self.groups)

    def _row(self, edge: torch.Tensor, weight: torch.Tensor, *, first: bool) -> torch.Tensor:
        """The second (``first``) or second-last row of the result from the three outermost rows of the input.

        Returns:
            (N, O, 2W - 1).
        """
        odd_rows = (edge[..., :-1, :] + edge[..., 1:, :]) / 2
        count, width = odd_rows.shape[-2:]
        strip = F.interpolate(odd_rows, (count, 2 * width - 1), mode="bilinear", align_corners=True)
        taps = weight[..., 1 : 1 + count, :] if first else weight[..., 2 - count : 2, :]
        row = F.conv2d(strip, taps, self.bias, padding=(0, 2), dilation=(1, 2), groups=self.groups)
        return row.squeeze(-2)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1] * self.groups}, {self.weight.shape[0]}, groups={self.groups}"


def upsample_convolution(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` in which convolutions of dilation 2 that read a zoom by 2 work before it. For inference.

    The zoom stays where other layers read it too; otherwise its top is not computed any more.
    """
    graph = copied(graph)
    for node in list(graph.graph.nodes):
        zoom = module_of(graph, node)
        if not is_zoom(zoom) or zoom.zoom != 2:
            continue
        for reader in list(node.users):
            convolution = module_of(graph, reader)
            if is_dilated(convolution) and len(reader.args) == 1:
                weight, bias = cast(nn.Parameter, convolution.weight), cast(nn.Parameter | None, convolution.bias)
                replace_module(graph, reader, UpsampledConvolution(weight, bias, convolution.groups))
                reader.args = node.args
                reader.meta.pop("caffe_layer", None)
        if not node.users:
            remove(graph, node)
    return finished(graph)


def is_dilated(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether ``module`` is a 3x3 convolution of dilation 2 that keeps the size."""
    return type(module) is nn.Conv2d and (
        (module.kernel_size, module.stride, module.padding, module.dilation) == ((3, 3), (1, 1), (2, 2), (2, 2))
    )
