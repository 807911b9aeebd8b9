"""What a run has finished, so that another can go on: a line per image, and the settings that all of them share.

An image counts as finished when its line is whole, the files that it was made from are the same, and every file that
was made of it is there with the digest that the line gives. Each process appends to a file of its own.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from icnet_common.errors import InputError
from icnet_common.files import digest, write_json, writing

from ..protocols import ImageStats

SETTINGS = "run.json"
"""Below the root of the outputs: what made them."""


@dataclass(frozen=True)
class Finished:
    """An image whose files are written."""

    image: str
    """Its path in the list."""
    inputs: Mapping[str, str]
    """SHA-256 of the files that it was made from, by what they are: ``image``, ``label``."""
    files: Mapping[str, str]
    """SHA-256 of the files that were made, by their path below the root of the outputs."""
    records: Mapping[str, ImageStats] = field(default_factory=dict)
    """What it adds to the figures, by protocol; empty where it was not scored."""

    def as_line(self) -> bytes:
        """One line that :meth:`from_line` reads, with a checksum."""
        data = {
            "image": self.image,
            "inputs": dict(self.inputs),
            "files": dict(self.files),
            "records": {name: record.as_data() for name, record in self.records.items()},
        }
        text = json.dumps(data, separators=(",", ":")).encode()
        return _checksum(text) + b" " + text + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Finished:
        """The image of a line.

        Raises:
            ValueError: the line is cut off or damaged.
        """
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != _checksum(text):
            raise ValueError("a line that is cut off or damaged")
        data: dict[str, Any] = json.loads(text)
        try:
            records = {name: ImageStats.from_data(record) for name, record in data["records"].items()}
            return cls(data["image"], data["inputs"], data["files"], records)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a line of a journal") from error


class Journal:
    """The journal of a run.

    Args:
        root: of the outputs.
        rank: of this process; it writes a file of its own and reads those of all.
    """

    def __init__(self, root: Path, rank: int = 0) -> None:
        self._root = root
        self._path = root / f"journal.{rank}.jsonl"
        self._stream: BinaryIO | None = None
        self._lock = threading.Lock()

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Forget what was finished, or, to ``resume``, see that it was made with the same settings.

        A setting that is None goes with any other: it has not mattered yet.

        Raises:
            InputError: it was made with others; names those that differ.
        """
        path = self._root / SETTINGS
        wanted: dict[str, Any] = json.loads(json.dumps(settings))
        if resume and path.exists():
            try:
                before: Any = json.loads(path.read_text())
            except ValueError as error:
                raise InputError(f"{path}: damaged; remove it, or leave out --resume") from error
            if differing := _differences(before, wanted):
                raise InputError(
                    f"{self._root}: holds results of other settings ({'; '.join(differing)}); "
                    "give another --save-root, or leave out --resume to overwrite them"
                )
            wanted = {key: before[key] if value is None else value for key, value in wanted.items()}
        else:
            for old in self._files():
                old.unlink()
        write_json(path, wanted)

    def finished(self) -> Mapping[str, Finished]:
        """What the lines of all processes say is finished, by the image's path in the list; see :func:`still_whole`."""
        return _Lines(self._files())

    def add(self, image: Finished) -> None:
        """Append an image, from any thread; it survives the end of this process from here on."""
        line = image.as_line()
        with writing(self._path), self._lock:
            if self._stream is None:
                _end_line(self._path)
                self._stream = self._path.open("ab")
            self._stream.write(line)
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _files(self) -> list[Path]:
        return sorted(self._root.glob("journal.*.jsonl"))


def still_whole(image: Finished, root: Path, inputs: Mapping[str, Path], files: Sequence[Path]) -> bool:
    """Whether an image need not be made again.

    Args:
        image: what the journal says.
        root: of the outputs.
        inputs: the files that it would be made from, by what they are.
        files: the files that would be made.
    """
    names = [path.relative_to(root).as_posix() for path in files]
    if image.inputs.keys() != inputs.keys() or not image.files.keys() >= set(names):
        return False
    try:
        return all(image.files[name] == digest(path) for name, path in zip(names, files, strict=True)) and all(
            image.inputs[what] == digest(path) for what, path in inputs.items()
        )
    except OSError:
        return False


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()


class _Lines(Mapping[str, Finished]):
    """The whole lines of files, each read again when it is asked for, so that memory does not grow with the list.

    The last line of a file may be cut off by whatever stopped the run; its image is then made again.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for path in paths:
            position = 0
            with path.open("rb") as stream:
                for line in stream:
                    with suppress(ValueError):
                        self._places[Finished.from_line(line).image] = (path, position)
                    position += len(line)

    def __getitem__(self, image: str) -> Finished:
        path, position = self._places[image]
        with path.open("rb") as stream:
            stream.seek(position)
            return Finished.from_line(stream.readline())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _end_line(path: Path) -> None:
    """End a line that was cut off, so that the next one begins on its own."""
    if path.exists() and path.stat().st_size:
        with path.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")


def _differences(before: Any, now: dict[str, Any]) -> list[str]:
    if not isinstance(before, dict):
        return ["not known which"]
    missing = object()
    pairs = {key: (before.get(key, missing), now.get(key, missing)) for key in {**before, **now}}
    return [
        _difference(key.replace("_", " "), *("none" if value is missing else value for value in pair))
        for key, pair in pairs.items()
        if pair[0] != pair[1] and None not in pair
    ]


def _difference(name: str, before: Any, now: Any) -> str:
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (before, now)]
    return f"{name} {texts[0]}, now {texts[1]}" if max(map(len, texts)) <= 64 else name
