"""Writing programs for the kernels: what ``program.hpp`` describes, made from tensors."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...arrays import Ints, Size
from ..winograd import transformed
from . import structures
from .compiler import NumberFormat
from .structures import LINE, HugePageMemory

BLOCK = 32
"""Channels that stand side by side."""

MAX_BUFFERS = 128
MAX_BINS = 256
"""As in ``program.hpp``."""

_TILE_OVERRUN = 64
"""Pixels beyond the last one that the tile unit may read."""

Pairs = tuple[Ints, Ints]


class Kind(IntEnum):
    IMAGE, CONVOLUTION, POOLING, SCORES, WINOGRAD = range(5)


@dataclass(eq=False)
class Blob:
    """A layer's top in the kernels' form.

    Attributes:
        halo: zeros between the rows, and rows of zeros above and below.
        floats: float32; otherwise the form that convolutions read: split numbers, if the program has such.
        image: three channels for each pixel, and a zero if numbers are split.
        stored: in the program's memory; the scores go to the caller's.
        step: the step that makes it.
        window: only that step reads it, so that a few rows are kept at a time.
    """

    index: int
    channels: int
    height: int
    width: int
    halo: int = 1
    floats: bool = False
    image: bool = False
    stored: bool = True
    step: int = -1
    window: bool = True

    @property
    def pitch(self) -> int:
        """Pixels from one row to the next."""
        return self.width + self.halo


class Input(NamedTuple):
    """What a convolution reads: weights (O, I, kernel_h, kernel_w) float32; padding keeps the size at stride 1."""

    blob: Blob
    weight: torch.Tensor
    stride: int = 1
    dilation: int = 1


@dataclass
class KernelOperation:
    """A layer of a step; see ``program.hpp``."""

    kind: Kind
    out: Blob
    inputs: Sequence[Input] = ()
    bias: torch.Tensor | None = None
    relu: bool = False
    residual: Blob | None = None
    stride: int = 1
    """Of the residual; of an image: of the pixels that are taken."""
    upsampled: Pairs | None = None
    """Of a residual at half the resolution: the rows, and the columns, whose mean is taken for each of the top's."""
    reads: list[Blob] = field(init=False)

    def __post_init__(self) -> None:
        self.reads = [source.blob for source in self.inputs] + ([self.residual] if self.residual else [])


class KernelProgram:
    """Steps for the kernels, and the memory that they work in.

    Args:
        kernels: see :func:`.compiler.library`.
        numbers: how they are held.
    """

    def __init__(self, kernels: ctypes.CDLL, numbers: NumberFormat) -> None:
        self._kernels, self.numbers = kernels, numbers
        self._memory = HugePageMemory()
        self._blobs: list[Blob] = []
        self._steps: list[structures.CStep] = []
        self._bands: list[Sequence[KernelOperation]] = []
        self._tables: list[ctypes.Array[structures.COperation]] = []
        self._scratch = 0

    def blob(
        self,
        channels: int,
        size: Size,
        halo: int = 1,
        *,
        floats: bool = False,
        image: bool = False,
        stored: bool = True,
    ) -> Blob:
        """A top of (height, width) ``size``; see :class:`Blob`."""
        assert len(self._blobs) < MAX_BUFFERS
        blob = Blob(len(self._blobs), channels, *size, halo, floats, image, stored, window=stored)
        self._blobs.append(blob)
        return blob

    def bands(self, *operations: KernelOperation, rows: int) -> None:
        """A step of operations one after the other, on bands of so many rows of the last one's top.

        What other steps read must be read here only by 1x1 convolutions of stride 1: threads divide the rows.
        """
        self._bands.append(operations)
        self._step(operations, band=rows)

    def lines(
        self,
        operation: KernelOperation,
        lines: Sequence[Sequence[int]],
        whole: KernelOperation | None = None,
        rows: int = 0,
    ) -> None:
        """A step of one convolution at some of its pixels.

        Args:
            lines: as :data:`.structures.LINE`, long ones first.
            whole: another convolution to the same blob, at all pixels of its input, so many ``rows`` at a time.
        """
        table = np.asarray(lines, np.int32)
        assert table.shape[1] == len(LINE)
        operation.out.window = False
        operations = [operation] if whole is None else [operation, whole]
        self._step(operations, lines=self._memory.copy(table), n_lines=len(table), band=rows)

    def pyramid(self, source: Blob, out: Blob, pool: torch.Tensor, spread: torch.Tensor, bias: torch.Tensor) -> None:
        """A step: relu(z + spread pool z + bias).

        Args:
            source, out: of the same size; float32 and split.
            pool, spread: (bins, pixels) and (pixels, bins), with pixels in the order of the memory, the zeros between
                the rows included.
            bias: (channels,).
        """
        source.window = out.window = False
        out.step = len(self._steps)
        step = structures.CStep(source=source.index, out=out.index, bias=self._bias(bias))
        for target, matrix in ((step.pool, pool), (step.spread, spread)):
            dense = matrix.numpy().astype(np.float32)
            rows, columns = dense.nonzero()
            starts = np.searchsorted(rows, np.arange(len(dense) + 1))
            target.starts = self._memory.copy(starts.astype(np.int32))
            target.indices = self._memory.copy(columns.astype(np.int32))
            target.values = self._memory.copy(dense[rows, columns])
            target.rows = len(dense)
        self._steps.append(step)

    def _step(self, operations: Sequence[KernelOperation], **values: int) -> None:
        number = len(self._steps)
        for operation in operations:
            operation.out.step = number
            for blob in operation.reads:
                blob.window &= blob.step == number
        table = (structures.COperation * len(operations))(*map(self._structure, operations))
        self._tables.append(table)
        self._steps.append(structures.CStep(ctypes.addressof(table), n_operations=len(operations), **values))

    def _structure(self, operation: KernelOperation) -> structures.COperation:
        out, residual = operation.out, operation.residual
        same = residual if residual and not operation.upsampled else None
        result = structures.COperation(
            kind=operation.kind,
            out=out.index,
            sources=len(operation.inputs),
            groups=_blocks(out.channels),
            relu=operation.relu,
            flat=all(i.stride == 1 and i.blob.pitch == out.pitch for i in operation.inputs)
            and (same is None or (operation.stride, same.pitch) == (1, out.pitch)),
            residual=residual.index if residual else -1,
            residual_stride=operation.stride,
        )
        if operation.upsampled:
            result.row_pairs, result.column_pairs = map(self._memory.copy, operation.upsampled)
        if operation.bias is not None:
            result.bias = self._bias(operation.bias)
        if operation.kind is Kind.IMAGE:
            result.source[0].stride = operation.stride
        for target, source in zip(result.source, operation.inputs, strict=False):
            self._set_source(target, source, operation)
        return result

    def _set_source(self, target: structures.CSource, source: Input, operation: KernelOperation) -> None:
        blob, weight, outputs = source.blob, source.weight, operation.out.channels
        rows, columns = weight.shape[-2:]
        target.buffer, target.stride, target.dilation = blob.index, source.stride, source.dilation
        target.rows, target.columns, target.pad = rows, columns, source.dilation * (rows // 2)
        target.blocks, target.depth = _blocks(weight.shape[1]), BLOCK
        if blob.image:  # a row of taps is one chunk
            wide = torch.zeros(len(weight), rows, columns, 4 if self.numbers else 3)
            wide[..., :3] = weight.permute(0, 2, 3, 1)
            weight = wide.flatten(2).transpose(1, 2)[..., None]
            target.columns, target.depth = 1, weight.shape[1]
        if operation.kind is Kind.WINOGRAD:
            self._scratch = max(self._scratch, self._kernels.scratch(target.blocks, _blocks(outputs)))
            weight = transformed(weight)
        target.weights = self._memory.copy(packed(weight, _blocks(outputs), self.numbers))

    def _bias(self, bias: torch.Tensor) -> int:
        padded = torch.zeros(_blocks(len(bias)) * BLOCK)
        padded[: len(bias)] = bias
        return self._memory.copy(padded.numpy())

    def build(self, threads: int) -> None:
        """Lay the blobs out for up to so many threads; nothing can be added afterwards."""
        self._check_bands()
        self.threads = threads
        self._buffers = (structures.CBuffer * len(self._blobs))()
        self._table = (structures.CStep * len(self._steps))(*self._steps)
        self._program = structures.CProgram(
            *(ctypes.addressof(self._buffers), ctypes.addressof(self._table), len(self._steps), self.numbers),
            *(self._memory.take(threads * self._scratch), self._scratch),
        )
        for blob, buffer in zip(self._blobs, self._buffers, strict=True):
            buffer.height, buffer.width, buffer.floats = blob.height, blob.width, blob.floats
            buffer.thread = blob.window  # its size follows when it is known
        rows = np.zeros(MAX_BUFFERS, np.int32)
        for step in self._table:
            if step.n_operations and not step.n_lines:
                self._kernels.window_rows(
                    ctypes.byref(self._program), ctypes.byref(step), threads, ctypes.c_void_p(rows.ctypes.data)
                )
        for blob, buffer in zip(self._blobs, self._buffers, strict=True):
            self._lay_out(blob, buffer, int(rows[blob.index]))
        for operation in itertools.chain(*self._tables):
            for source in operation.source[: operation.sources]:
                image = self._blobs[source.buffer].image
                source.part = self._buffers[source.buffer].block if image else 2 * BLOCK

    def _check_bands(self) -> None:
        """Threads must not write the same rows of a blob that they share: those that others read have one writer."""
        for operations in self._bands:
            for operation in operations[:-1]:
                shared = not operation.out.window
                reads = [i for reader in operations for i in reader.inputs if i.blob is operation.out]
                assert not shared or all((i.stride, i.weight.shape[-2]) == (1, 1) for i in reads)

    def _lay_out(self, blob: Blob, buffer: structures.CBuffer, rows: int) -> None:
        if blob.image:
            pitch = -(-blob.pitch // 8) * 8
            buffer.pixel, buffer.blocks = (8, self.numbers) if self.numbers else (12, 1)
        else:
            buffer.pixel = BLOCK * (2 * self.numbers if self.numbers and not blob.floats else 4)
            pitch, buffer.blocks = blob.pitch, _blocks(blob.channels)
        buffer.row = pitch * buffer.pixel
        rows = rows if blob.window else blob.height + 2 * blob.halo
        buffer.block = -(-(rows * buffer.row + (blob.halo + _TILE_OVERRUN) * buffer.pixel) // 64) * 64
        size, origin = buffer.blocks * buffer.block, blob.halo * buffer.pixel
        if blob.window:
            buffer.thread = -(-size // 4096) * 4096 + 448  # so that threads do not meet in the same cache sets
            size = self.threads * buffer.thread
        else:
            origin += blob.halo * buffer.row
        if blob.stored:
            buffer.data = self._memory.take(size) + origin

    def run(self, image: torch.Tensor, scores: torch.Tensor, threads: int) -> None:
        """Compute ``scores`` (classes, rows, columns) of ``image`` (3, H, W), both float32 and contiguous.

        Not from two threads at once.
        """
        call = structures.CCall(image.data_ptr(), scores.data_ptr(), *image.shape[-2:], len(scores))
        self._kernels.run(ctypes.byref(self._program), ctypes.byref(call), min(threads, self.threads))


def packed(weight: torch.Tensor, groups: int, numbers: NumberFormat) -> npt.NDArray[Any]:
    """Weights (O, I, H, W) in the order of ``vectors.hpp`` (float32) or ``tiles.hpp`` (bfloat16, as int16).

    They are padded with zeros to whole blocks.
    """
    outputs, inputs, rows, columns = weight.shape
    blocks = _blocks(inputs)
    full = torch.zeros(groups * BLOCK, blocks * BLOCK, rows, columns)
    full[:outputs, :inputs] = weight
    # group, half, output | block, pair, two | row, column
    axes = full.reshape(groups, 2, 16, blocks, 16, 2, rows, columns)
    if numbers is NumberFormat.FLOAT32:
        return axes.permute(0, 6, 7, 3, 1, 4, 5, 2).contiguous().numpy()
    order = axes.permute(0, 6, 7, 3, 1, 4, 2, 5)
    split = torch.stack(split_numbers(order, numbers), 4)
    return split.contiguous().view(torch.int16).numpy()


def split_numbers(values: torch.Tensor, parts: int) -> list[torch.Tensor]:
    """float32 as bfloat16 tensors whose sum it is: each is what those before it leave, rounded."""
    result = []
    for _ in range(parts):
        result.append(values.bfloat16())
        values = values - result[-1].float()
    return result


def _blocks(channels: int) -> int:
    return -(-channels // BLOCK)
