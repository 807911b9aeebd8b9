"""3x3 convolutions of stride 1 with 16 products for every 4 pixels instead of 36: Winograd's F(2x2, 3x3).

After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016, arXiv:1509.09308). A tile of 4x4 pixels
d and the weights g give 2x2 pixels

    A^T ((G g G^T) * (B^T d B)) A

where * multiplies element by element, so that the sums over the channels are 16 products of matrices. With dilation k
the pixels of a tile stand k apart. In exact arithmetic this is the convolution; in float32 it has rounded no more than
the plain sums in the networks that were measured, as its sums are shorter (docs/performance.md).

This form is for PyTorch's compiler, which makes one loop each of what comes before and after the products.
``native/winograd.hpp`` is the same in C++.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from converter.passes.upsample_convolution import UpsampledConvolution

LEAST_CHANNELS = 128
"""With fewer, the transforms cost more than the products save. Measured: 64 channels lose 3 % of ICNet's time."""

MOST_BYTES = 1 << 26
"""Of the transformed input or output; larger ones would only move through memory."""


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """G g G^T of weights (O, I, 3, 3): (O, I, 4, 4), computed in float64 and rounded to the type of ``weight``."""
    half = 0.5
    matrix = torch.tensor([[1, 0, 0], [half, half, half], [half, -half, half], [0, 0, 1]], dtype=torch.float64)
    return (matrix @ weight.detach().double() @ matrix.T).to(weight.dtype)


class WinogradConvolution(nn.Module):
    """A 3x3 convolution of stride 1 that keeps the size.

    Args:
        weight: (O, I, 3, 3).
        bias: (O,) or None.
        dilation: and padding.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dilation: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        matrices = transformed(weight).permute(2, 3, 1, 0).reshape(16, weight.shape[1], weight.shape[0])
        self.matrices = nn.Parameter(matrices.contiguous(), requires_grad=False)
        self.dilation = dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, I, H, W) to (1, O, H, W); best with channels last. Large ones, and other batches, go the plain way."""
        batch, _, height, width = x.shape
        rows, columns = _tiles(height, self.dilation), _tiles(width, self.dilation)
        numbers = 16 * len(rows) * len(columns) * max(self.matrices.shape[1:])
        if batch != 1 or numbers * x.element_size() > MOST_BYTES:
            return F.conv2d(x, self.weight, self.bias, padding=self.dilation, dilation=self.dilation)
        margin = (self.dilation, 3 * self.dilation)
        pixels = F.pad(x[0].permute(1, 2, 0), (0, 0, *margin, *margin))
        tiles = [
            value
            for line in _before(pixels, rows, self.dilation, 0)
            for value in _before(line, columns, self.dilation, 1)
        ]
        sums = torch.bmm(torch.stack(tiles).flatten(1, 2), self.matrices).reshape(4, 4, len(rows), len(columns), -1)
        corners = torch.stack([torch.stack(_after(line), 1) for line in _after(sums)])
        y = corners.reshape(2 * len(rows), 2 * len(columns), -1)  # all upper rows, then all lower ones; so with columns
        y = y[_places(height, self.dilation)][:, _places(width, self.dilation)]
        if self.bias is not None:
            y = y + self.bias
        result: torch.Tensor = y.permute(2, 0, 1)[None]
        return result

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, dilation={self.dilation}"


class WinogradUpsampledConvolution(UpsampledConvolution):
    """An :class:`UpsampledConvolution` whose coarse part is a :class:`WinogradConvolution`."""

    def __init__(self, layer: UpsampledConvolution) -> None:
        super().__init__(layer.weight, layer.bias)
        self.plain = WinogradConvolution(layer.weight, layer.bias)

    def coarse(self, x: torch.Tensor) -> torch.Tensor:
        """See :meth:`UpsampledConvolution.coarse`."""
        result: torch.Tensor = self.plain(x)
        return result


def with_winograd(module: nn.Module, least_channels: int = LEAST_CHANNELS) -> nn.Module:
    """``module``, whose 3x3 convolutions of so many input and output channels are now computed so."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d | UpsampledConvolution) and child.groups == 1:
                if min(child.weight.shape[:2]) < least_channels:
                    continue
                if type(child) is UpsampledConvolution:
                    setattr(parent, name, WinogradUpsampledConvolution(child))
                elif type(child) is nn.Conv2d and _fits(child):
                    setattr(parent, name, WinogradConvolution(child.weight, child.bias, child.dilation[0]))
    return module


def _fits(layer: nn.Conv2d) -> bool:
    square = layer.dilation[0] == layer.dilation[1] and layer.padding == layer.dilation
    return square and (layer.kernel_size, layer.stride, layer.padding_mode) == ((3, 3), (1, 1), "zeros")


def _tiles(size: int, dilation: int) -> list[int]:
    """The first pixel of each pair along an axis."""
    return [i for i in range(size) if i // dilation % 2 == 0]


def _places(size: int, dilation: int) -> torch.Tensor:
    """Where each pixel of an axis is found if the pairs' second pixels stand after all first ones."""
    first = _tiles(size, dilation)
    order = {pixel: i for i, pixel in enumerate([*first, *(i + dilation for i in first)])}
    return torch.tensor([order[i] for i in range(size)])


def _before(x: torch.Tensor, first: list[int], dilation: int, axis: int) -> list[torch.Tensor]:
    """B^T along an axis, for all tiles."""
    a, b, c, d = (x.index_select(axis, torch.tensor(first) + k * dilation) for k in range(4))
    return [a - c, b + c, c - b, b - d]


def _after(m: torch.Tensor) -> list[torch.Tensor]:
    """A^T along the first axis."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
