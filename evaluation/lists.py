"""Lists of images: a line holds ``image label``, or ``image`` alone where there is nothing to score."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from prototxt.errors import InputError

_MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Entry:
    """A line of a list. Paths are relative to the data root and written with ``/``."""

    image: str
    label: str | None
    line: int
    """Its number in the file, from 1."""

    @property
    def stem(self) -> str:
        """The image's name without folders and suffix, which its results are called after."""
        return PurePosixPath(self.image).stem


@dataclass(frozen=True)
class ImageList:
    path: Path
    entries: tuple[Entry, ...]

    @property
    def has_labels(self) -> bool:
        """Whether the images can be scored: either all lines have a label, or none."""
        return self.entries[0].label is not None


def read_list(name: str | os.PathLike[str]) -> ImageList:
    """Read a list file. Blank lines are skipped; Windows' line ends and backslashes are understood.

    Args:
        name: a file; or, where there is no such file, a list that comes with the package: ``val``, ``val.txt`` and
            ``samplelist/val.txt`` all name the list of Cityscapes' 500 validation images.

    Raises:
        InputError: no such list, an empty one, or a wrong line (the message begins with ``file:line``).
    """
    path = _find(name)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for a list of images")
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    entries = tuple(
        _entry(path, number, fields)
        for number, line in enumerate(text.splitlines(), start=1)
        if (fields := line.replace("\\", "/").split())
    )
    if not entries:
        raise InputError(f"{path}: the list is empty")
    for entry in entries:
        if (entry.label is None) != (entries[0].label is None):
            with_label, without = ("line 1", "this one") if entries[0].label else ("this line", "the first")
            raise InputError(
                f"{path}:{entry.line}: {with_label} has a label and {without} has none; either all have or none"
            )
    return ImageList(path, entries)


def locate(data_root: str | os.PathLike[str], name: str) -> Path:
    """The file of a list's path: below the data root, as MATLAB's ``fullfile`` joins them, or absolute."""
    below = Path(data_root) / name.lstrip("/")
    return Path(name) if name.startswith("/") and not below.exists() else below


def refuse_equal_stems(entries: tuple[Entry, ...], path: Path) -> None:
    """Raise InputError where two images would write their results to the same file."""
    lines: dict[str, int] = {}
    for entry in entries:
        first = lines.setdefault(entry.stem, entry.line)
        if first != entry.line:
            raise InputError(
                f"{path}:{entry.line}: results are called after the image, and {entry.stem} is also in line {first}"
            )


def _find(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if path.exists() and not path.is_dir():
        return path
    if path.parent in (Path(), Path("samplelist")) and path.suffix in ("", ".txt"):
        bundled = Path(str(resources.files("samplelist").joinpath(f"{path.stem}.txt")))
        if bundled.is_file():
            return bundled
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected a list of images")
    names = sorted(Path(item.name).stem for item in resources.files("samplelist").iterdir() if ".txt" in item.name)
    raise InputError(f"{path}: no such list; the lists {', '.join(names)} come with the package")


def _entry(path: Path, number: int, fields: list[str]) -> Entry:
    if len(fields) > 2:
        raise InputError(f"{path}:{number}: {len(fields)} fields, expected `image label` or `image` (without spaces)")
    if any("\0" in field for field in fields):
        raise InputError(f"{path}:{number}: a zero byte; not a list of images")
    return Entry(fields[0], fields[1] if len(fields) == 2 else None, number)
