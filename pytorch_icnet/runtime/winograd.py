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

from collections.abc import Sequence

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
    matrix = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
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
        rows, columns = len(_first(height, self.dilation)), len(_first(width, self.dilation))
        numbers = 16 * rows * columns * max(self.matrices.shape[1:])
        if batch != 1 or numbers * x.element_size() > MOST_BYTES:
            return F.conv2d(x, self.weight, self.bias, padding=self.dilation, dilation=self.dilation)
        pixels = _windows(x[0].permute(1, 2, 0), self.dilation)
        values = [value for line in _before(pixels.unbind(0)) for value in _before(line.unbind(0))]
        tiles = [value.flatten(0, 1).flatten(1, 2)[:rows, :columns] for value in values]
        sums = torch.bmm(torch.stack(tiles).flatten(1, 2), self.matrices).reshape(4, 4, rows, columns, -1)
        corners = torch.stack([corner for line in _after(sums) for corner in _after(line)])
        y = _pixels(corners.reshape(2, 2, rows, columns, -1), height, width, self.dilation)
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
            if type(child) is UpsampledConvolution and _wide(child, least_channels):
                setattr(parent, name, WinogradUpsampledConvolution(child))
            elif type(child) is nn.Conv2d and _fits(child) and _wide(child, least_channels):
                setattr(parent, name, WinogradConvolution(child.weight, child.bias, child.dilation[0]))
    return module


def _wide(layer: nn.Conv2d | UpsampledConvolution, least_channels: int) -> bool:
    return layer.groups == 1 and min(layer.weight.shape[:2]) >= least_channels


def _fits(layer: nn.Conv2d) -> bool:
    square = layer.dilation[0] == layer.dilation[1] and layer.padding == layer.dilation
    return square and (layer.kernel_size, layer.stride, layer.padding_mode) == ((3, 3), (1, 1), "zeros")


def _first(size: int, dilation: int) -> list[int]:
    """The first pixel of each pair along an axis."""
    return [i for i in range(size) if i // dilation % 2 == 0]


def _windows(x: torch.Tensor, dilation: int) -> torch.Tensor:
    """(H, W, C) to the tiles, as a view of the padded pixels: (4, 4, rows, dilation, columns, dilation, C).

    Of each pair's first pixel i, rows or columns are i // (2 dilation), and the dilation next to it is i % dilation;
    there may be pairs beyond the border. As a view, for in this way the compiler keeps the padded pixels, instead of
    asking of each of a tile's 16 values whether it lies in the padding.
    """
    height, width, channels = x.shape
    rows, columns = (-(-size // (2 * dilation)) for size in (height, width))
    bottom, right = (2 * dilation * (n + 1) - dilation - size for n, size in ((rows, height), (columns, width)))
    padded = F.pad(x, (0, 0, dilation, right, dilation, bottom)).contiguous()
    down, across, _ = padded.stride()
    size = (4, 4, rows, dilation, columns, dilation, channels)
    steps = (dilation * down, dilation * across, 2 * dilation * down, down, 2 * dilation * across, across, 1)
    return padded.as_strided(size, steps)


def _pixels(corners: torch.Tensor, height: int, width: int, dilation: int) -> torch.Tensor:
    """The tiles' results (2, 2, rows, columns, C) in their places: (H, W, C)."""
    if dilation == 1:
        return corners.permute(2, 0, 3, 1, 4).flatten(2, 3).flatten(0, 1)[:height, :width]
    # All upper rows, then all lower ones; so with columns.
    y = corners.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    return y[_places(height, dilation)][:, _places(width, dilation)]


def _places(size: int, dilation: int) -> torch.Tensor:
    """Where each pixel of an axis is found if the pairs' second pixels stand after all first ones."""
    first = _first(size, dilation)
    order = {pixel: i for i, pixel in enumerate([*first, *(i + dilation for i in first)])}
    return torch.tensor([order[i] for i in range(size)])


def _before(d: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """B^T of four."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _after(m: torch.Tensor) -> list[torch.Tensor]:
    """A^T along the first axis."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
