"""ICNet as a program for the kernels, and the kernels as a backend."""

from __future__ import annotations

import ctypes
from threading import Lock

import torch

from ...arrays import Size
from ...icnet import ICNet
from ...pyramid import BINS, windows
from ..cache import Unavailable
from ..request import Request, Run
from ..rewritten import BRANCH_BLOCKS, RewrittenICNet, bias_of, convolution_of
from . import borders
from .compiler import NumberFormat, instructions, library
from .program import MAX_BINS, Blob, Input, KernelOperation, KernelProgram, Kind

HALF_BLOCKS = ("conv2_1", "conv2_2", "conv2_3", "conv3_1")
"""The bottlenecks of the branch at half the resolution."""

IMAGE_BAND = 2
BLOCK_BANDS = {NumberFormat.FLOAT32: 8, NumberFormat.BFLOAT16: 6, NumberFormat.SPLIT_FLOAT32: 4}
"""Rows of the last top that are computed at a time, of the image and, by the format of numbers, of blocks;
their inputs then fit the cache of a core. Measured."""

PAIR_BAND = 6
"""Rows that are computed at a time where threads take turns."""


def build_native(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: the network is not a rewritten ICNet, or this machine, size or precision will not do.
    """
    module = request.module
    if request.device.type != "cpu":
        raise Unavailable(f"it computes on the processor, not on {request.device}")
    chosen = instructions(request.precision)
    if not isinstance(module, RewrittenICNet):
        raise Unavailable("it runs the rewritten ICNet and nothing else")
    program = icnet_program(library(request.cache, chosen), module, request.size, chosen.formats[request.precision])
    program.build(request.threads)
    shape = (module.num_classes, (request.size[0] + 3) // 4, (request.size[1] + 3) // 4)
    lock = Lock()

    def run(x: torch.Tensor) -> torch.Tensor:
        x, scores = x.contiguous(), torch.empty(1, *shape)
        with lock:
            program.run(x[0], scores[0], request.threads)
        return scores

    return run


def icnet_program(kernels: ctypes.CDLL, model: RewrittenICNet, size: Size, numbers: NumberFormat) -> KernelProgram:
    """The program that computes ``model.quarter_scores`` of an image of (height, width) ``size``.

    Raises:
        Unavailable: the size is not 32k + 1 with k at least 2, or the pyramid has too many bins.
    """
    if any(n % 32 != 1 or n < 32 * (borders.SMALLEST - 1) + 1 for n in size):
        raise Unavailable(f"the kernels take heights and widths of 65, 97, 129, ..., not {size[0]}x{size[1]}")
    return _Writer(KernelProgram(kernels, numbers), model, size).write()


class _Writer:
    def __init__(self, program: KernelProgram, model: RewrittenICNet, size: Size) -> None:
        self.program, self.model = program, model
        self.sizes = [((size[0] - 1) // 2**k + 1, (size[1] - 1) // 2**k + 1) for k in range(6)]
        """Of the image, and halved 1 to 5 times."""
        self.block_band = BLOCK_BANDS[program.numbers]

    def write(self) -> KernelProgram:
        half = self._half_branch()
        coarse = self._upsampled("conv_sub4", self._quarter_branch(half))
        sub24 = self._convolution("conv3_1_sub2_proj", half, 4, relu=True, coarse=coarse)
        self.program.bands(sub24, rows=self.block_band)
        self._scores(self._upsampled("conv_sub2", sub24.out))
        return self.program

    def _half_branch(self) -> Blob:
        """From the image to ``conv3_1``."""
        image = KernelOperation(Kind.IMAGE, self.program.blob(3, self.sizes[1], image=True), stride=2)
        first = self._convolution("conv1_1_3x3_s2", image.out, 2, stride=2, relu=True)
        second = self._convolution("conv1_2_3x3", first.out, 2, relu=True)
        third = self._convolution("conv1_3_3x3", second.out, 2, relu=True, floats=True)
        pooled = Input(third.out, torch.zeros(0, 1, 3, 3), stride=2)  # without weights: 3x3 pixels at every second one
        pool = KernelOperation(Kind.POOLING, self.program.blob(third.out.channels, self.sizes[3]), [pooled])
        self.program.bands(image, first, second, third, pool, rows=IMAGE_BAND)
        return self._blocks(HALF_BLOCKS, pool.out)

    def _quarter_branch(self, half: Blob) -> Blob:
        """From ``conv3_1`` to ``conv5_4_k1``."""
        x = self._blocks(BRANCH_BLOCKS, half)
        last = convolution_of(self.model, "conv5_4_k1")
        height, width = self.sizes[5]
        z = self.program.blob(last.out_channels, self.sizes[5], _halo(5), floats=True)
        zero = torch.zeros(last.out_channels)
        self.program.bands(KernelOperation(Kind.CONVOLUTION, z, [Input(x, last.weight)], zero), rows=self.block_band)
        y = self.program.blob(last.out_channels, self.sizes[5], _halo(5))
        pool, spread = pyramid_matrices(self.model, height, width)
        if len(pool) > MAX_BINS:
            raise Unavailable(f"the pyramid has {len(pool)} bins, and the kernels hold {MAX_BINS}")
        pixels = (torch.arange(height)[:, None] * y.pitch + torch.arange(width)).flatten()
        wide = torch.zeros(height * y.pitch, len(pool), dtype=torch.float64)
        wide[pixels] = spread
        self.program.pyramid(z, y, torch.zeros_like(wide.T).index_copy(1, pixels, pool), wide, bias_of(last))
        return y

    def _scores(self, coarse: Blob) -> None:
        """From the image and ``conv_sub2`` to the scores."""
        image = KernelOperation(Kind.IMAGE, self.program.blob(3, self.sizes[0], image=True), stride=1)
        first = self._convolution("conv1_sub1", image.out, 1, stride=2, relu=True)
        second = self._convolution("conv2_sub1", first.out, 2, stride=2, relu=True)
        third = self._convolution("conv3_sub1", second.out, 3, stride=2, relu=True)
        sub12 = self._convolution("conv3_sub1_proj", third.out, 3, relu=True, coarse=coarse)
        classes = self._convolution("conv6_cls", sub12.out, 3, floats=True)
        top = self.program.blob(classes.out.channels, self.sizes[2], stored=False)
        scores = KernelOperation(Kind.SCORES, top, [Input(classes.out, torch.zeros(0, 1, 1, 1))])
        self.program.bands(image, first, second, third, sub12, classes, scores, rows=2 * IMAGE_BAND)

    def _blocks(self, names: tuple[str, ...], x: Blob) -> Blob:
        """Bottlenecks; the step of each also reduces the channels for the next one, which needs no other pixels."""
        pending: list[KernelOperation] = []
        for name in names:
            level = 3 if name.startswith("conv2") else 4 if name == "conv3_1" else 5
            stride = 2 if name in ("conv3_1", "conv3_2") else 1
            reduce = self._convolution(f"{name}_1x1_reduce", x, level, stride=stride, relu=True)
            if stride == 1:
                self.program.bands(*pending, reduce, rows=self.block_band)
            else:
                if pending:
                    self.program.bands(*pending, rows=self.block_band)
                self.program.bands(reduce, rows=self.block_band)
            middle = self._convolution(f"{name}_3x3", reduce.out, level, relu=True)
            pending = [middle, self._increase(name, middle.out, x, level, stride)]
            x = pending[-1].out
        self.program.bands(*pending, rows=self.block_band)
        return x

    def _increase(self, name: str, x: Blob, shortcut: Blob, level: int, stride: int) -> KernelOperation:
        """The end of a bottleneck. A projected shortcut is a second source: the sum of both is one convolution."""
        increase = convolution_of(self.model, f"{name}_1x1_increase")
        out = self.program.blob(increase.out_channels, self.sizes[level], _halo(level))
        inputs, bias = [Input(x, increase.weight)], bias_of(increase)
        if f"{name}_1x1_proj" not in self.model._modules:
            return KernelOperation(Kind.CONVOLUTION, out, inputs, bias, relu=True, residual=shortcut, stride=stride)
        projection = convolution_of(self.model, f"{name}_1x1_proj")
        inputs.append(Input(shortcut, projection.weight, stride))
        return KernelOperation(Kind.CONVOLUTION, out, inputs, bias + bias_of(projection), relu=True)

    def _upsampled(self, name: str, x: Blob) -> Blob:
        """The coarse result of a convolution that follows an upsampling; see :mod:`.borders`."""
        layer = self.model.get_submodule(name)
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        floats = self.program.numbers is not NumberFormat.BFLOAT16
        out = self.program.blob(len(weight), (x.height + 2, x.width + 2), 0, floats=floats)
        operation = KernelOperation(Kind.CONVOLUTION, out, [Input(x, weight)], bias)
        lines = borders.lines(x.height, x.width)
        if self.program.numbers is not NumberFormat.FLOAT32:
            self.program.lines(operation, lines)
        else:
            some = [line for line in lines if line[-4:] != borders.ALL_TAPS]
            whole = KernelOperation(Kind.WINOGRAD, out, [Input(x, weight)], bias)
            self.program.lines(operation, some, whole, rows=PAIR_BAND)
        return out

    def _convolution(
        self,
        name: str,
        x: Blob,
        level: int,
        *,
        stride: int = 1,
        relu: bool = False,
        floats: bool = False,
        coarse: Blob | None = None,
    ) -> KernelOperation:
        """A convolution to the size of ``level``; ``coarse`` is what it adds, at half that size."""
        layer = convolution_of(self.model, name)
        out = self.program.blob(layer.out_channels, self.sizes[level], _halo(level), floats=floats)
        pairs = None if coarse is None else (borders.pairs(coarse.height - 2), borders.pairs(coarse.width - 2))
        inputs = [Input(x, layer.weight, stride, layer.dilation[0])]
        plain = self.program.numbers is NumberFormat.FLOAT32 and not x.image and coarse is None
        kind = Kind.WINOGRAD if plain and (layer.kernel_size, stride) == ((3, 3), 1) else Kind.CONVOLUTION
        return KernelOperation(kind, out, inputs, bias_of(layer), relu, residual=coarse, upsampled=pairs)


def pyramid_matrices(model: ICNet, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the pyramid adds to features of this size, found by applying it to unit vectors: spread @ pool @ features.

    Returns:
        pool (bins, height * width) and spread (height * width, bins), float64.
    """
    chosen = windows(height, width) if model.pyramid is None else model.pyramid
    pixels = torch.eye(height * width, dtype=torch.float64).reshape(1, -1, height, width)
    pools, spreads = [], []
    for bins in BINS:
        pooled = model.get_submodule(f"conv5_3_pool{bins}")(pixels, tuple(chosen[f"pool{bins}"]))
        rows, columns = pooled.shape[-2:]
        units = torch.eye(rows * columns, dtype=torch.float64).reshape(1, -1, rows, columns)
        resized = model.get_submodule(f"conv5_3_pool{bins}_interp")(units, (height, width))
        pools.append(pooled.flatten(2)[0].T)
        spreads.append(resized.flatten(2)[0].T)
    return torch.cat(pools), torch.cat(spreads, 1)


def _halo(level: int) -> int:
    """As wide as the widest padding among the convolutions of the level: that of conv5."""
    return 4 if level == 5 else 1
