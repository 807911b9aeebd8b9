"""Activations that a real Caffe has left, in an npz file or a folder of npy files.

The files are not trusted: nothing in them is executed, sizes are checked before anything is read, and arrays are read
one by one when they are asked for.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from icnet_common.errors import InputError
from prototxt import Net

from .names import Top, tops_of

MOST_ARRAYS = 100_000
MOST_BYTES = 2**31
"""Of one array."""
KINDS = "fiub"
"""Of NumPy's dtypes: floats, integers, booleans."""


class DumpError(InputError):
    """Activations that cannot be read or belong to another net; the message begins with the file's name."""


@dataclass(frozen=True)
class StoredArray:
    """An array of a file, of which only the header has been read.

    Attributes:
        where: file and name, for messages.
        shape: as the header says.
        open: the array's npy file.
    """

    where: str
    shape: tuple[int, ...]
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def read(self) -> NDArray[Any]:
        """The array.

        Raises:
            DumpError: it is damaged.
        """
        with _reported(self.where), self.open() as stream:
            header = _Header.read(stream)
            data = stream.read(header.bytes)
            if header.shape != self.shape or len(data) != header.bytes:
                raise ValueError("it ends too early")
            order: Any = "F" if header.fortran else "C"
            return np.frombuffer(data, header.dtype).reshape(header.shape, order=order)


@dataclass(frozen=True)
class Dump:
    """The arrays of a file or folder, by the names of blobs or layers that they were stored under.

    Attributes:
        source: the file or folder.
        values: by name, without the prefix ``out:`` that some have.
        inputs: what was stored as ``in:NAME``.
    """

    source: str
    values: Mapping[str, StoredArray]
    inputs: Mapping[str, StoredArray]

    def inputs_of(self, net: Net) -> dict[str, NDArray[np.float32]]:
        """What the net was fed with: ``in:NAME``, else ``input:NAME``, else ``NAME`` or, of a single one, ``input``.

        Raises:
            DumpError: an input is missing or damaged, or may have been overwritten by a layer that works in place.
        """
        given, stored = _Names(self.inputs), _Names(self.values)
        writers = {top: layer.name for layer in net.layers if layer.bottoms for top in layer.tops}
        found: dict[str, NDArray[np.float32]] = {}
        for name in net.inputs:
            others = [f"input:{name}", name, *(["input"] if len(net.inputs) == 1 else [])]
            key = given.find(name) or next(filter(None, map(stored.find, others)), None)
            if key is None:
                raise DumpError(f"{self.source}: no array for the input {name!r}: store it as 'in:{name}'")
            if name in writers and not given.find(name) and key == stored.find(name) and not self.is_by_layer(net):
                raise DumpError(
                    f"{self.source}: {name!r} is not the input any more, as layer {writers[name]!r} works in place: "
                    f"store the input as 'in:{name}'"
                )
            found[name] = (self.inputs if given.find(name) else self.values)[key].read().astype(np.float32)
        return found

    def is_by_layer(self, net: Net) -> bool:
        """Whether an array has the name of a layer, but not of a blob.

        Then all names are meant as layers: the value of the top right after that layer ran, which is not the blob's
        final value where another layer works in place.
        """
        tops = tops_of(net)
        blobs = _Names([*(top.blob for top in tops), *_split_names(tops)])
        layers = _Names([top.key for top in tops])
        return any(layers.find(name) and not blobs.find(name) for name in self.values)

    def matched(self, net: Net, *, by_layer: bool) -> tuple[dict[str, StoredArray], list[str]]:
        """The arrays by the key of the top that they are, in the net's order, and the names that the net lacks.

        Args:
            net: the net that was run.
            by_layer: what a name means that is a layer's and a blob's.
        """
        tops = tops_of(net)
        layers = {f"{top.layer}:{top.blob}": top.key for top in tops} | {top.key: top.key for top in tops}
        blobs = {top.blob: top.key for top in tops} | _split_names(tops)
        keys = blobs | layers if by_layer else layers | blobs
        names = _Names(keys)
        found = {name: names.find(name) for name in self.values}
        arrays = {keys[known]: self.values[name] for name, known in found.items() if known is not None}
        unknown = [name for name, known in found.items() if known is None]
        return {top.key: arrays[top.key] for top in tops if top.key in arrays}, unknown


def _split_names(tops: list[Top]) -> dict[str, str]:
    """What Caffe calls the copies of a blob that several layers read, but for their numbers (``insert_splits.cpp``)."""
    return {f"{top.blob}_{top.layer}_{top.index}_split": top.key for top in tops}


class _Names:
    """Finds a name, or what a file system makes of it: with ``%2F`` or ``_`` for ``/``."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.escaped = {escaped: name for name in self.names for escaped in (name.replace("/", "_"), unquote(name))}

    def find(self, name: str) -> str | None:
        """The one of the names that ``name`` stands for, if any."""
        for known in (name, unquote(name), re.sub(r"_split_\d+$", "_split", unquote(name))):
            if known in self.names:
                return known
            if known in self.escaped:
                return self.escaped[known]
        return None


def read_dump(path: str | os.PathLike[str]) -> Dump:
    """The headers of an npz file, or of the npy files in and below a folder (``conv1/bn.npy`` is ``conv1/bn``).

    Raises:
        DumpError: there is no array, or one that is damaged, not numeric or too large.
    """
    path = Path(path)
    values: dict[str, StoredArray] = {}
    inputs: dict[str, StoredArray] = {}
    for name, array in _of_folder(path) if path.is_dir() else _of_npz(path):
        kind, _, rest = name.partition(":")
        (inputs if kind == "in" else values)[rest if kind in ("in", "out") else name] = array
        if len(values) + len(inputs) > MOST_ARRAYS:
            raise DumpError(f"{path}: more than {MOST_ARRAYS} arrays")
    if not values and not inputs:
        raise DumpError(f"{path}: holds no arrays (.npy)")
    return Dump(str(path), values, inputs)


def _of_npz(path: Path) -> Iterator[tuple[str, StoredArray]]:
    with _reported(str(path)), zipfile.ZipFile(path) as file:
        for member in (member for member in file.infolist() if member.filename.endswith(".npy")):
            name = member.filename.removesuffix(".npy")
            with _reported(f"{path}: {name!r}"), file.open(member) as stream:
                shape = _Header.read(stream).checked(member.file_size)
            yield name, StoredArray(f"{path}: {name!r}", shape, partial(_opened_member, path, member.filename))


@contextmanager
def _opened_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as file, file.open(member) as stream:
        yield stream


def _of_folder(path: Path) -> Iterator[tuple[str, StoredArray]]:
    for file in sorted(path.rglob("*.npy")):
        with _reported(str(file)), file.open("rb") as stream:
            shape = _Header.read(stream).checked(file.stat().st_size)
        name = file.relative_to(path).as_posix().removesuffix(".npy")
        yield name, StoredArray(str(file), shape, _file_of(file))


def _file_of(path: Path) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: path.open("rb")


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int

    @classmethod
    def read(cls, stream: IO[bytes]) -> _Header:
        """The header at the start of an npy file; ``stream`` is then at the array's first byte."""
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its format is of version {version[0]}.{version[1]}, which numbers do not need")
        first = version == (1, 0)
        parse = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = parse(stream)
        if any(type(size) is not int or size < 0 for size in shape):
            raise ValueError("its shape is impossible")
        return cls(shape, fortran, dtype, stream.tell())

    @property
    def bytes(self) -> int:
        """The array's size."""
        return self.dtype.itemsize * math.prod(self.shape)

    def checked(self, file_bytes: int) -> tuple[int, ...]:
        """The shape, once the array is known to be numeric, of a legal size and in the file."""
        if self.dtype.kind not in KINDS or self.dtype.itemsize > 8:
            raise ValueError(f"it holds {self.dtype}, not plain numbers")
        if self.bytes > MOST_BYTES:
            raise ValueError(f"it has {self.bytes:,} bytes, more than the {MOST_BYTES:,} that are read")
        if self.bytes != file_bytes - self.length:
            raise ValueError(f"it has {file_bytes - self.length:,} bytes of data, its header says {self.bytes:,}")
        return self.shape


@contextmanager
def _reported(where: str) -> Iterator[None]:
    """Errors as one line that begins with the file, but for files that cannot be opened, which have theirs."""
    try:
        yield
    except DumpError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DumpError(f"{where}: not an npz file, or damaged: {_line(error)}") from error
    except Exception as error:  # zipfile and NumPy's header parser let many kinds through, all caused by the file
        if isinstance(error, OSError) and error.filename:
            raise
        raise DumpError(f"{where}: not a readable array: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
