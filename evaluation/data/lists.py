"""Lists of images: a line holds ``image label``, or ``image`` alone where there is nothing to score.

The two are separated by spaces, tabs or a comma. Names with spaces or commas stand in double quotes. What follows a
``#`` at the beginning of a line, or after a space, is a comment.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from icnet_common.errors import InputError
from icnet_common.files import reading

ROOT_VARIABLE = "CITYSCAPES_DATASET"
"""The environment variable by which cityscapesScripts, too, find the data."""

_MAX_BYTES = 1 << 26
_MAX_LINES = 1_000_000
_MAX_LINE = 10_000

_IMAGE = "_leftImg8bit"

LABEL_SUFFIXES = {
    "trainIds": "_labelTrainIds.png",
    "labelIds": "_labelIds.png",
    "instanceIds": "_instanceIds.png",
    "polygons": "_polygons.json",
}
"""What the names of Cityscapes' label files end with, by what the files hold."""


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
    """The file, or the folder of images that was walked."""
    entries: tuple[Entry, ...]

    @property
    def has_labels(self) -> bool:
        """Whether the images can be scored: either all lines have a label, or none."""
        return self.entries[0].label is not None

    @property
    def sha256(self) -> str:
        """Of the entries alone: the same for a list in another spelling, or for a folder with the same files."""
        lines = (f"{entry.image}\t{entry.label or ''}\n" for entry in self.entries)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_list(name: str | os.PathLike[str]) -> ImageList:
    """Read a list file. Blank lines and comments are skipped; Windows' line ends and backslashes are understood.

    Args:
        name: a file; or, where there is no such file, a list that comes with the package: ``val``, ``val.txt`` and
            ``samplelist/val.txt`` all name the list of Cityscapes' 500 validation images.

    Raises:
        InputError: no such list, an empty one, or a wrong line (the message begins with ``file:line``).
    """
    path = _find(name)
    with reading(path):
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for a list of images")
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    if text.count("\n") + text.count("\r") > 2 * _MAX_LINES:
        raise InputError(f"{path}: more than {_MAX_LINES} lines; not a list of images")
    entries = tuple(
        _entry(path, number, fields)
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)
        if (fields := _fields(path, number, line))
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


def cityscapes_list(root: str | os.PathLike[str], split: str = "val") -> ImageList:
    """The images of a split of Cityscapes, as they lie below ``root``, in the order of their names.

    Labels are trainIds where they are there, and the form that is there where they are not; see
    :func:`evaluation.data.labels.read_truth`. The test split has none, since its label files are empty.

    Raises:
        InputError: ``leftImg8bit/<split>`` is not there or holds no images.
    """
    if not re.fullmatch(r"\w+", split):
        raise InputError(f"no split {split!r}; Cityscapes has train, val and test")
    images = Path(root) / "leftImg8bit" / split
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; expected Cityscapes' root, which holds leftImg8bit and gtFine")
    found = sorted(images.glob(f"*/*{_IMAGE}.png"))
    if not found:
        raise InputError(f"{images}: holds no */*{_IMAGE}.png")
    labels = Path(root) / "gtFine" / split
    have_labels = split != "test" and labels.is_dir()
    entries = []
    for number, image in enumerate(found, start=1):
        label = _label_beside(labels / image.parent.name, image.name) if have_labels else None
        entries.append(Entry(_below(root, image), None if label is None else _below(root, label), number))
    return ImageList(images, tuple(entries))


def data_root(given: str | os.PathLike[str] | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the data is: the folder that was given, else ``CITYSCAPES_DATASET``, else the working directory.

    Raises:
        InputError: ``CITYSCAPES_DATASET`` names no folder.
    """
    if given is not None:
        return Path(given)
    named = environment.get(ROOT_VARIABLE)
    if not named:
        return Path()
    if not Path(named).is_dir():
        raise InputError(f"{ROOT_VARIABLE} is {named}, which is no folder")
    return Path(named)


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


def _fields(path: Path, number: int, line: str) -> list[str]:
    """The names in a line; none in a blank line and a comment."""
    if len(line) > _MAX_LINE:
        raise InputError(f"{path}:{number}: a line of {len(line)} characters; not a list of images")
    fields: list[str] = []
    line = line.strip(_SPACE)
    position = 0
    while position < len(line) and line[position] != "#":
        match = _FIELD.match(line, position)
        if match is None:
            what = "a quote is not closed" if line[position] == '"' else "a comma without a name before it"
            raise InputError(f"{path}:{number}: {what}")
        fields.append((match["quoted"] or match["plain"]).replace("\\", "/"))
        position = match.end()
    return fields


_SPACE = " \t\v\f"

_QUOTED = rf'"(?P<quoted>[^"]+)"(?=[{_SPACE},]|$)'
_PLAIN = rf'(?P<plain>[^{_SPACE},"][^{_SPACE},]*)'
_FIELD = re.compile(rf"(?:{_QUOTED}|{_PLAIN})[{_SPACE}]*,?[{_SPACE}]*")
"""A name, and the separator after it."""


def _entry(path: Path, number: int, fields: list[str]) -> Entry:
    if len(fields) > 2:
        raise InputError(
            f"{path}:{number}: {len(fields)} fields, expected `image label` or `image`; "
            "names with spaces or commas stand in double quotes"
        )
    if any("\0" in field for field in fields):
        raise InputError(f"{path}:{number}: a zero byte; not a list of images")
    return Entry(fields[0], fields[1] if len(fields) == 2 else None, number)


def _label_beside(folder: Path, image: str) -> Path:
    """The label of an image in Cityscapes' layout, in the first form that is there; trainIds where none is."""
    base = image.removesuffix(f"{_IMAGE}.png")
    forms = [folder / f"{base}_gtFine{suffix}" for suffix in LABEL_SUFFIXES.values()]
    return next((path for path in forms if path.is_file()), forms[0])


def _below(root: str | os.PathLike[str], path: Path) -> str:
    return path.relative_to(root).as_posix()
