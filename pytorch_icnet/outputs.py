"""The files that are made of an image: label maps, pictures, probabilities. The one place that writes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import MappingProxyType

import cv2
import numpy as np
from scipy.io import savemat

from icnet_common.errors import InputError
from icnet_common.files import atomic_write, stale_temporaries

from .arrays import Bytes, Floats
from .datasets.classes import CITYSCAPES_TABLE, ClassTable
from .imaging import png
from .imaging.draw import coloured, overlay, side_by_side

KINDS = ("labels", "label-ids", "colour", "overlay", "side-by-side", "probabilities")
"""Each has a folder of its own. The first two are gray PNG files: trainIds, and the data set's own ids; ``colour`` is
an indexed PNG file of trainIds with the classes' colours; the next two are RGB."""

PROBABILITY_FILES = ("npz", "mat")
"""NumPy's and MATLAB's."""

_MAT_LIMIT = 1 << 31
"""Bytes of an array that a .mat file of version 5 can hold."""


@dataclass(frozen=True)
class Drawing:
    """How label maps become files.

    Attributes:
        table: the classes, with their colours and ids.
        alpha: how much of an overlay is colour, 0 to 1; what no class is keeps the image.
    """

    table: ClassTable = field(default_factory=lambda: CITYSCAPES_TABLE)
    alpha: float = 0.5

    def picture(self, kind: str, image: Bytes, labels: Bytes) -> Bytes:
        """A kind of picture as RGB, uint8 HxWx3; side by side Hx2Wx3.

        Args:
            kind: "colour", "overlay" or "side-by-side".
            image: RGB, uint8 HxWx3.
            labels: trainIds, uint8 HxW.
        """
        if kind == "overlay":
            return overlay(image, labels, self.table.palette, self.alpha)
        colours = coloured(labels, self.table.palette)
        return colours if kind == "colour" else side_by_side(image, colours)

    def encode(self, kind: str, image: Bytes, labels: Bytes) -> bytes:
        """The PNG file of any kind but probabilities; arguments as for :meth:`picture`."""
        encoders: Mapping[str, Callable[[], bytes]] = {
            "labels": lambda: png.encode(labels),
            "label-ids": lambda: png.encode(self.table.to_label_id[labels]),
            "colour": lambda: png.encode(labels, self.table.palette),
        }
        return encoders[kind]() if kind in encoders else _encode(self.picture(kind, image, labels))


@dataclass(frozen=True)
class Outputs:
    """Which files, and where.

    Attributes:
        root: the folder of everything.
        kinds: of :data:`KINDS`, in the order in which they are written.
        drawing: colours and ids.
        probability_files: of :data:`PROBABILITY_FILES`, where the kinds have probabilities.
        float16: whether npz files hold half precision; otherwise float32, as mat files always do.
        folders: names of the kinds' folders, where they are not the kinds' own.
    """

    root: Path
    kinds: tuple[str, ...] = ("labels", "colour", "overlay")
    drawing: Drawing = field(default_factory=Drawing)
    probability_files: tuple[str, ...] = ("npz",)
    float16: bool = False
    folders: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def path(self, kind: str, name: str | PurePath, suffix: str = "png") -> Path:
        """The file of a kind that is made of the image called ``name``, which may have folders and has no suffix."""
        return self.root / self.folders.get(kind, kind) / f"{name}.{suffix}"

    def files(self, name: str | PurePath) -> list[Path]:
        """All files of an image."""
        return [path for kind in self.kinds for path in self._paths(kind, name)]

    @property
    def wants_probabilities(self) -> bool:
        return "probabilities" in self.kinds

    def write(self, name: str | PurePath, image: Bytes, labels: Bytes, probabilities: Floats | None = None) -> None:
        """Write all files of an image, each atomically.

        Args:
            name: the image's, without suffix.
            image: RGB, uint8 HxWx3.
            labels: trainIds, uint8 HxW.
            probabilities: float32 CxHxW, where they are wanted; stored as ``data``, HxWxC.

        Raises:
            InputError: a file cannot be written, or the probabilities are too large for a .mat file (2 GB).
        """
        for kind in self.kinds:
            for path in self._paths(kind, name):
                if kind != "probabilities":
                    with atomic_write(path) as temporary:
                        temporary.write_bytes(self.drawing.encode(kind, image, labels))
                else:
                    assert probabilities is not None
                    self._write_probabilities(path, probabilities.transpose(1, 2, 0))

    def sweep(self, names: Collection[str]) -> None:
        """Remove what a process that was killed left half-written of these images."""
        for folder in {path.parent for path in self.files("")}:
            for name, path in stale_temporaries(folder):
                if Path(name).stem in names:
                    path.unlink(missing_ok=True)

    def _paths(self, kind: str, name: str | PurePath) -> list[Path]:
        suffixes = self.probability_files if kind == "probabilities" else ("png",)
        return [self.path(kind, name, suffix) for suffix in suffixes]

    def _write_probabilities(self, path: Path, data: Floats) -> None:
        if path.suffix == ".mat" and data.nbytes >= _MAT_LIMIT:
            raise InputError(f"{path}: {data.nbytes} bytes are too many for a .mat file; use npz")
        with atomic_write(path) as temporary:
            if path.suffix == ".mat":
                savemat(temporary, {"data": np.ascontiguousarray(data)})
            else:
                np.savez(temporary, data=data.astype(np.float16) if self.float16 else np.ascontiguousarray(data))


def _encode(picture: Bytes) -> bytes:
    encoded, data = cv2.imencode(".png", picture[..., ::-1])
    if not encoded:
        raise InputError("a picture cannot be written as PNG")
    return data.tobytes()
