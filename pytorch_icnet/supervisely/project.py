"""Projects: folders with ``meta.json``, and in each data set ``img/NAME`` and ``ann/NAME.json``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icnet_common.config import read_json
from icnet_common.errors import InputError
from icnet_common.files import atomic_folder, atomic_write, reading, write_json

from ..imaging.images import image_size
from .annotation import Annotation, read_annotation
from .meta import MAX_META_BYTES, Meta, meta_of

META = "meta.json"
IMAGES, ANNOTATIONS, PROBABILITIES = "img", "ann", "probabilities"
_COMPACT: dict[str, Any] = {"indent": None, "ensure_ascii": False, "separators": (",", ":")}
_READABLE = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Item:
    """An image of a project."""

    dataset: str
    name: str
    """Of the image's file, without folders."""
    image: Path
    annotation: Path | None
    """None: the image has none."""

    def read(self, meta: Meta) -> Annotation:
        """Its annotation; without one, of the image's size and empty. Raises InputError where a file is damaged."""
        if self.annotation is None:
            return Annotation(image_size(self.image))
        return read_annotation(self.annotation, meta)


@dataclass(frozen=True)
class Project:
    """A project on the disk."""

    root: Path
    meta: Meta
    items: tuple[Item, ...]
    """By data set and name."""


def read_project(root: str | os.PathLike[str]) -> Project:
    """The project in a folder. Annotations are read later, item by item.

    Raises:
        InputError: no project, or a link that leads out of it; begins with the path.
    """
    root = Path(root)
    if not (root / META).is_file():
        raise InputError(f"{root}: not a Supervisely project: it has no {META}")
    meta = meta_of(read_json(_inside(root, root / META), MAX_META_BYTES), str(root / META))
    with reading(root):
        folders = sorted(path.parent for path in root.glob(f"*/{IMAGES}") if path.is_dir())
        items = tuple(item for folder in folders for item in _items(root, folder))
    if not items:
        raise InputError(f"{root}: a project without images; expected DATASET/{IMAGES}/*.png or .jpg")
    return Project(root, meta, items)


def _items(root: Path, folder: Path) -> Iterator[Item]:
    for image in sorted((folder / IMAGES).iterdir()):
        if image.name.startswith(".") or not image.is_file():
            continue
        if image.suffix.lower() not in _READABLE:
            raise InputError(f"{image}: {image.suffix or 'no'} images cannot be read; convert it to PNG or JPEG")
        # after the file's whole name, in old projects after its stem
        paths = (folder / ANNOTATIONS / f"{name}.json" for name in (image.name, image.stem))
        found = next((path for path in paths if path.is_file()), None)
        yield Item(folder.name, image.name, _inside(root, image), None if found is None else _inside(root, found))


def _inside(root: Path, path: Path) -> Path:
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path}: a link that leads out of the project, which is refused")
    return path


class ProjectWriter:
    """Fills the folder of a new project. See :func:`new_project`."""

    def __init__(self, folder: Path, meta: Meta) -> None:
        self.folder = folder
        write_json(folder / META, meta.as_data(), **_COMPACT)

    def add(self, item: Item, annotation: Annotation) -> None:
        """Add an image, as a hard link where the disk can, and its annotation."""
        image = self.path(item, IMAGES, item.name)
        image.parent.mkdir(parents=True, exist_ok=True)
        source = item.image.resolve()
        try:
            os.link(source, image)
        except OSError:
            with atomic_write(image) as temporary:
                shutil.copyfile(source, temporary)
        write_json(self.path(item, ANNOTATIONS, f"{item.name}.json"), annotation.as_data(), **_COMPACT)

    def path(self, item: Item, kind: str, name: str) -> Path:
        """The path of a file that belongs to an item. Raises InputError: a name that would lead elsewhere."""
        for part in (item.dataset, name):
            if part in ("", ".", "..") or any(letter in part for letter in "/\\\0"):
                raise InputError(f"{part!r}: not the name of a file")
        return self.folder / item.dataset / kind / name


@contextmanager
def new_project(path: str | os.PathLike[str], meta: Meta) -> Iterator[ProjectWriter]:
    """A project's folder that appears when the block ends without an error.

    Raises:
        InputError: the folder is there already, or cannot be written.
    """
    with suppress(OSError):
        Path(path).rmdir()  # an empty folder may be given
    with atomic_folder(path, lambda _: False) as folder:
        yield ProjectWriter(folder, meta)
