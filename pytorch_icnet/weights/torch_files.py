"""The state dict of a torch checkpoint, read as data, without running anything.

Both containers of ``torch.save`` are read: the zip archive of today and the stream of pickles from before torch 1.6.
Only the weights are read: what a trainer saved beside them costs neither time nor memory.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch

from icnet_common.errors import WeightsError

from .pickles import MAX_BYTES, Placeholder, StoredTensor, StoredValues, load

LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a file from before torch 1.6."""

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "net", "network", "weights")
"""Keys under which programs save a state dict beside other things."""

PREFIXES = ("module.", "_orig_mod.")
"""What wrappers put before every key: DataParallel and ``torch.compile``."""

_LOCAL_HEADER = 30
_MAX_ENTRIES = 1 << 16

Places = Mapping[str, tuple[int, int]]
"""By key: where stored values begin in the file, and how many bytes there are."""


def is_legacy(head: bytes) -> bool:
    """Whether a file begins as torch's did before 1.6."""
    return head.startswith(LEGACY_MAGIC[: len(head)]) and len(head) >= len(LEGACY_MAGIC)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint, in a dict by key, without wrappers and the prefixes that they add.

    Raises:
        WeightsError: not a whole torch checkpoint, or without a state dict; one line.
    """
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            content, places = _legacy(stream, size) if is_legacy(stream.read(16)) else _archive(stream, path, size)
            return _tensors(stream, _state_of(content, path), places, size, path)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        UnicodeError,
        RuntimeError,
    ) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: not a whole torch checkpoint, get it again: {line}") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _archive(stream: BinaryIO, path: Path, size: int) -> tuple[Any, Places]:
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        names = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        if any(name.rpartition("/")[2] in ("archive_format", "constants.pkl") for name in entries):
            raise WeightsError(
                f"{path}: a program of torch.export or torch.jit, which could run code on loading and is refused; "
                "save the state dict of the network that it was made from"
            )
        if len(names) != 1 or len(entries) > _MAX_ENTRIES:
            raise WeightsError(f"{path}: a zip archive, but not a torch checkpoint")
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
            raise WeightsError(f"{path}: a compressed archive, which torch does not write; save the state dict again")
        if sum(entry.file_size for entry in entries.values()) > size:
            raise WeightsError(f"{path}: its parts are together larger than the file; get it again")
        prefix = names[0].removesuffix("data.pkl")
        if entries[names[0]].file_size > MAX_BYTES:
            raise WeightsError(f"{path}: {entries[names[0]].file_size >> 20} MB of Python objects beside the weights")
        byte_order = entries.get(f"{prefix}byteorder")
        if byte_order is not None and archive.read(byte_order) != b"little":
            raise WeightsError(f"{path}: numbers in big-endian order, which are not read; save it on another machine")
        content = load(BytesIO(archive.read(names[0])))
        places = {
            name.removeprefix(f"{prefix}data/"): (_begin(stream, entry), entry.file_size)
            for name, entry in entries.items()
            if name.startswith(f"{prefix}data/")
        }
    return content, places


def _begin(stream: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin: behind a header of its own, whose length the archive's directory does not tell."""
    stream.seek(entry.header_offset)
    header = stream.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"no {entry.filename} where it should be")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return entry.header_offset + _LOCAL_HEADER + name + extra


def _legacy(stream: BinaryIO, size: int) -> tuple[Any, Places]:
    stream.seek(0)
    load(stream)
    load(stream)
    seen: list[StoredValues] = []
    system, content, keys = load(stream), load(stream, seen), load(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True or not isinstance(keys, list):
        raise pickle.UnpicklingError("written on a machine of another kind, or damaged")
    itemsizes = {values.key: values.dtype.itemsize for values in seen}
    places: dict[str, tuple[int, int]] = {}
    for key in map(str, keys):
        count = int.from_bytes(stream.read(8), "little")
        begin, length = stream.tell(), count * itemsizes.get(key, 1)
        if key not in itemsizes or begin + length > size:
            raise pickle.UnpicklingError("values are missing at its end")
        places[key] = (begin, length)
        stream.seek(length, 1)
    return content, places


def _state_of(content: Any, path: Path) -> dict[str, StoredTensor]:
    for _ in WRAPPERS:
        inner = next(
            (key for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None
        )
        if inner is None:
            break
        content = content[inner]
    items = content if isinstance(content, dict) else {}
    state = {str(key): value for key, value in items.items() if isinstance(value, StoredTensor)}
    if not state:
        parts = items.values() if items else content if isinstance(content, (list, tuple)) else [content]
        refused = any(isinstance(part, Placeholder) for part in parts)
        raise WeightsError(f"{path}: {_REFUSED if refused else 'holds no state dict of tensors'}")
    for prefix in PREFIXES * 2:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


_REFUSED = (
    "holds Python objects in place of a state dict; to load them could run code and is refused; where you trust the "
    "file, save `model.state_dict()` alone from the program that made it"
)


def _tensors(
    stream: BinaryIO, state: Mapping[str, StoredTensor], places: Places, size: int, path: Path
) -> dict[str, torch.Tensor]:
    """The tensors of a state; those that are one stay one."""
    distinct = dict.fromkeys(state.values())
    if sum(each.nbytes for each in distinct) > size:
        raise WeightsError(f"{path}: its tensors claim more memory than the file has; get it again")
    read: dict[str, torch.Tensor] = {}
    tensors = {each: _tensor(stream, each, places, read) for each in distinct}
    return {key: tensors[each] for key, each in state.items()}


def _tensor(stream: BinaryIO, stored: StoredTensor, places: Places, read: dict[str, torch.Tensor]) -> torch.Tensor:
    values = stored.values
    if values.key not in read:
        begin, length = places.get(values.key, (0, 0))
        buffer = torch.empty(length, dtype=torch.uint8)
        stream.seek(begin)
        if stream.readinto(buffer.numpy()) != length:  # type: ignore[attr-defined]
            raise pickle.UnpicklingError(f"the values {values.key} end too early")
        read[values.key] = buffer
    begin = values.first * values.dtype.itemsize
    mine = read[values.key][begin : begin + values.count * values.dtype.itemsize]
    if len(mine) != values.count * values.dtype.itemsize:
        raise pickle.UnpicklingError(f"of the values {values.key} some are missing")
    return mine.view(stored.dtype).as_strided(stored.shape, stored.strides, stored.offset).contiguous()
