"""The weights of one layer, as its translator asks for them, and Caffe's fillers (``filler.hpp``), seeded."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from icnet_common.files import release
from prototxt import LegacyBlob, Params

from .errors import LayerError

Shape = tuple[int, ...]

_PIECE = 1 << 22  # values: a large blob is copied in pieces, so that file and copy are never both in memory


@dataclass
class SharedParameter:
    """The first blob of a ``param { name }``, and the learning rate and decay that all its users must agree on."""

    parameter: nn.Parameter
    agreed: dict[str, float] = field(default_factory=dict)


class Blobs(Sequence[torch.Tensor]):
    """The blobs of one layer in Caffe's order, as float32 tensors.

    A translator calls :meth:`take` once per blob with the shape that Caffe gives it. What comes back is the stored blob
    after a check of its shape, Caffe's filler where there are no stored weights, or an empty tensor of that shape on
    the meta device where only shapes are asked for. So the translator is the one place that knows a layer's blobs, and
    matching, filling and summaries follow from it.

    Args:
        name: the layer's name, which seeds its fillers.
        stored: the blobs of the weights file; None where it has none for this layer.
        meta: give tensors of the meta device, whatever is stored.
        specs: the layer's ``param`` blocks, which may share blobs by name.
        owners: the net's shared blobs by that name; the first to take a name becomes its owner.
    """

    def __init__(
        self,
        name: str,
        stored: Sequence[NDArray[Any]] | None = None,
        *,
        meta: bool = False,
        specs: Sequence[Params] = (),
        owners: dict[str, SharedParameter] | None = None,
    ) -> None:
        self.name = name
        self.stored = stored
        self.meta = meta
        self.specs = specs
        self.owners = {} if owners is None else owners
        self.shapes: list[Shape] = []
        self.taken: list[nn.Parameter] = []
        self.filled: list[int] = []
        self.problems: list[str] = []
        self._indexed = False

    @property
    def shared_names(self) -> list[str]:
        """``param { name }`` of each blob, ``""`` for none."""
        return [spec.name for spec in self.specs]

    def take(self, shape: Sequence[int], filler: Params | None = None) -> nn.Parameter:
        """The next blob, of this shape, as a parameter; blobs that share a name are one parameter.

        A stored blob of another shape, or one too few, is noted in ``problems``, and a meta tensor stands in for it, so
        that one error can name everything that does not fit.

        Args:
            shape: as Caffe gives it to the blob.
            filler: ``weight_filler`` and its like; None is the constant 0.

        Raises:
            LayerError: the shape is impossible, or the blob cannot be shared as the text wants.
        """
        shape = tuple(int(n) for n in shape)
        if any(n < 0 for n in shape):
            raise LayerError(f"blob {len(self.shapes)} would have the shape {list(shape)}")
        check_count(shape)
        if filler is not None and 0 in shape:
            raise LayerError(f"blob {len(self.shapes)} would have the shape {list(shape)}, which a filler cannot fill")
        index = len(self.shapes)
        self.shapes.append(shape)
        spec = self.specs[index] if index < len(self.specs) else None
        parameter = self._parameter(index, shape, filler, spec)
        self.taken.append(parameter)
        return parameter

    def _parameter(self, index: int, shape: Shape, filler: Params | None, spec: Params | None) -> nn.Parameter:
        if spec is None or not spec.name:
            return nn.Parameter(self._value(index, shape, filler))
        owner = self.owners.get(spec.name)
        if owner is None:
            owner = self.owners[spec.name] = SharedParameter(nn.Parameter(self._value(index, shape, filler)))
            parameter = owner.parameter
        else:
            parameter = self._share(owner.parameter, spec, index, shape)
        _agree(owner, spec)
        return parameter

    def _value(self, index: int, shape: Shape, filler: Params | None) -> torch.Tensor:
        if self.meta:
            return torch.empty(shape, device="meta")
        if self.stored is None:
            self.filled.append(index)
            seed = zlib.crc32(f"{self.name}/{index}".encode("utf-8", "surrogateescape"))
            return fill(shape, filler, np.random.default_rng(seed))
        stored = self._stored(index, shape)
        return torch.empty(shape, device="meta") if stored is None else stored

    def _share(self, owner: nn.Parameter, spec: Params, index: int, shape: Shape) -> nn.Parameter:
        """The owner, or with ``share_mode: PERMISSIVE`` its values in this blob's own shape (``Net::AppendParam``)."""
        permissive = spec.share_mode == "PERMISSIVE" and owner.numel() == int(np.prod(shape, dtype=object))
        if tuple(owner.shape) != shape and not permissive:
            raise LayerError(
                f"blob {index} {list(shape)} cannot share {spec.name!r}, whose shape is {list(owner.shape)}"
            )
        stored = None if self.meta or self.stored is None else self._stored(index, shape)
        if stored is not None:
            owner.data.copy_(stored.reshape(owner.shape))  # Caffe copies layer after layer, so the last one stays
        return owner if tuple(owner.shape) == shape else nn.Parameter(owner.data.view(shape))

    def _stored(self, index: int, shape: Shape) -> torch.Tensor | None:
        assert self.stored is not None
        if index >= len(self.stored):
            return None
        array = self.stored[index]
        if not fits(array, shape):
            self.problems.append(f"blob {index} has the shape {list(array.shape)}, expected {list(shape)}")
            return None
        return tensor(array, shape)

    def finish(self) -> None:
        """Note a blob count that differs from what the translator took.

        Raises:
            LayerError: the text specifies more parameters than the layer has.
        """
        if len(self.specs) > len(self.shapes):
            raise LayerError(f"has {len(self.specs)} param blocks, but {len(self.shapes)} blobs")
        if self.stored is not None and not self._indexed and len(self.stored) != len(self.shapes):
            self.problems.append(f"{len(self.stored)} blobs, expected {len(self.shapes)}")

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | list[torch.Tensor]:
        self._indexed = True  # a translator that picks blobs by index checks their number itself
        stored = self.stored or ()
        if isinstance(index, slice):
            return [tensor(array, array.shape) for array in stored[index]]
        return tensor(stored[index], stored[index].shape)

    def __len__(self) -> int:
        return len(self.stored or ())


def check_count(shape: Shape) -> None:
    """Check that Caffe can hold a blob of this shape.

    Raises:
        LayerError: it has more than 32 axes or 2^31 - 1 values.
    """
    if len(shape) > 32 or math.prod(n for n in shape if n) > 2**31 - 1:
        raise LayerError(f"a blob of the shape {list(shape)} is more than Caffe can hold")


def fits(stored: NDArray[Any], expected: Shape) -> bool:
    """Whether Caffe copies a stored blob into one of the expected shape (``Blob::ShapeEquals``).

    Old-style dims are compared right-aligned, as if 1 stood in front of the expected shape; a ``shape`` must be equal.
    """
    if isinstance(stored, LegacyBlob):
        return len(expected) <= 4 and stored.shape == (1,) * (4 - len(expected)) + expected
    return stored.shape == expected


def tensor(array: NDArray[Any], shape: Shape) -> torch.Tensor:
    """A float32 copy: stored blobs are read-only and may be unaligned views of a file, whose memory is let go."""
    flat = array.reshape(-1)
    copy = np.empty(flat.size, np.float32)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        copy[start : start + _PIECE] = piece
        release(piece)
    return torch.from_numpy(copy.reshape(shape))


def _agree(owner: SharedParameter, spec: Params) -> None:
    for name in ("lr_mult", "decay_mult"):
        if spec.is_set(name) and owner.agreed.setdefault(name, spec[name]) != spec[name]:
            raise LayerError(f"{name} {spec[name]:g} of {spec.name!r} differs from its owner's {owner.agreed[name]:g}")


def fill(shape: tuple[int, ...], filler: Params | None, generator: np.random.Generator) -> torch.Tensor:
    """A float32 tensor as Caffe's filler would make it (the distribution is Caffe's, the stream of numbers is NumPy's).

    Args:
        shape: of the blob.
        filler: a ``FillerParameter``; None is the constant 0.
        generator: the source of randomness.

    Raises:
        LayerError: a filler type that Caffe does not have, or one that does not suit the shape.
    """
    kind = "constant" if filler is None else filler.type
    value = 0.0 if filler is None else filler.value
    if kind == "constant" or filler is None:
        return torch.full(shape, value, dtype=torch.float32)
    count = math.prod(shape)
    values: NDArray[np.float64]
    if kind == "uniform":
        values = generator.uniform(filler.min, filler.max, count)
    elif kind == "gaussian":
        values = generator.normal(filler.mean, filler.std, count)
        if filler.sparse >= 0 and shape:
            values *= generator.random(count) < filler.sparse / shape[0]
    elif kind == "positive_unitball":
        rows = generator.random((shape[0], -1 if not count else count // shape[0]))
        values = (rows / rows.sum(axis=1, keepdims=True)).ravel()
    elif kind == "xavier":
        bound = math.sqrt(3.0 / _fan(shape, filler))
        values = generator.uniform(-bound, bound, count)
    elif kind == "msra":
        values = generator.normal(0.0, math.sqrt(2.0 / _fan(shape, filler)), count)
    elif kind == "bilinear":
        values = _bilinear(shape)
    else:
        raise LayerError(f"unknown filler type {kind!r}")
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def _fan(shape: tuple[int, ...], filler: Params) -> float:
    count = math.prod(shape)
    fan_in = count / shape[0] if shape else 1.0
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    fans = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}
    return max(fans[filler.variance_norm], 1.0)


def _bilinear(shape: tuple[int, ...]) -> NDArray[np.float64]:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise LayerError(f"the bilinear filler needs a square 4-D blob, not {list(shape)}")
    size = shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    line = 1 - np.abs(np.arange(size) / factor - centre)
    return np.broadcast_to(np.outer(line, line), shape).ravel()
