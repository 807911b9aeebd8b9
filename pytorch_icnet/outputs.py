"""The files that prediction makes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from icnet_common.errors import InputError
from icnet_common.files import atomic_write

from .datasets.classes import CITYSCAPES_TABLE, ClassTable
from .imaging.draw import coloured, overlay, side_by_side
from .imaging.images import write_coloured, write_label_map
from .predict.sources import Frame, Source
from .predict.video_files import Picture, Writer, create_video

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

KINDS = ("labels", "label-ids", "colour", "overlay", "side-by-side", "probabilities")
"""Each has a folder of its own. The first two are gray PNG files: trainIds, and the data set's own ids."""

PICTURES = ("colour", "overlay", "side-by-side")
"""Of videos these are videos; the other kinds are a folder of files, a file per frame."""

FEATURES = ("npz", "mat")
"""Kinds of files for probabilities: NumPy's with float16, MATLAB's with single."""


@dataclass(frozen=True)
class Outputs:
    """Which files, and where."""

    root: Path
    kinds: tuple[str, ...] | None = None
    """Of :data:`KINDS`; None: labels, colour and overlay of images, colour and overlay of videos."""
    alpha: float = 0.5
    """How much of the overlay is colour, 0 to 1."""
    features: str | None = None
    """Of :data:`FEATURES`; None: no probabilities."""
    table: ClassTable = field(default_factory=lambda: CITYSCAPES_TABLE)

    def of(self, source: Source) -> tuple[str, ...]:
        """The kinds of a source's files."""
        chosen = self.kinds or (("colour", "overlay") if source.is_video else ("labels", "colour", "overlay"))
        wanted = [kind for kind in chosen if kind != "probabilities"]
        return (*wanted, "probabilities") if self.features else tuple(wanted)

    def path(self, kind: str, source: Source, number: int = 0) -> Path:
        """The file of an image, or of a frame of a video."""
        suffix = f".{self.features}" if kind == "probabilities" else ".png"
        name = source.name / f"{number:06d}" if source.is_video else source.name
        return self.root / kind / name.with_name(name.name + suffix)

    def video(self, kind: str, source: Source) -> Path:
        """The video of a kind of pictures."""
        return self.root / kind / source.name.with_name(source.name.name + ".mp4")

    def files(self, source: Source) -> list[Path]:
        """Everything that is made of a source: files, and folders of a video's frames."""
        found = []
        for kind in self.of(source):
            if not source.is_video:
                found.append(self.path(kind, source))
            else:
                found.append(self.video(kind, source) if kind in PICTURES else self.root / kind / source.name)
        return found

    def refuse_overwriting(self, sources: Sequence[Source]) -> None:
        """Raise InputError where a result would replace a source."""
        given = {Path(source.label).resolve(): source for source in sources}
        for path in (path.resolve() for source in sources for path in self.files(source)):
            if path in given and path.is_file():
                raise InputError(f"{given[path].label}: would be replaced by a result; give another --output")

    def write(self, frame: Frame, image: Bytes, labels: Bytes, probabilities: Floats | None) -> dict[str, Bytes]:
        """Write the files of an image, each whole or not at all, and return the pictures of a video's frame.

        Args:
            frame: what it is.
            image: RGB, uint8 HxWx3.
            labels: trainIds, uint8 HxW.
            probabilities: float32 CxHxW; needed for features.
        """
        palette = self.table.palette
        kinds = self.of(frame.source)
        makers: Mapping[str, Callable[[], Bytes]] = {
            "colour": lambda: coloured(labels, palette),
            "overlay": lambda: overlay(image, labels, palette, self.alpha),
            "side-by-side": lambda: side_by_side(image, coloured(labels, palette)),
        }
        pictures: dict[str, Bytes] = {}
        for kind in kinds:
            path = self.path(kind, frame.source, frame.number)
            if kind in PICTURES and frame.source.is_video:
                pictures[kind] = makers[kind]()
            elif kind == "labels":
                write_label_map(path, labels)
            elif kind == "label-ids":
                write_label_map(path, self.table.to_label_id[labels])
            elif kind == "colour":
                write_coloured(path, labels, palette)
            elif kind in PICTURES:
                _write_picture(path, makers[kind]())
            else:
                assert probabilities is not None
                write_probabilities(path, probabilities)
        return pictures


def write_probabilities(path: Path, probabilities: Floats) -> None:
    """Write probabilities, float32 CxHxW, as ``data``, HxWxC: float16 in an .npz, single in a .mat file.

    Raises:
        InputError: the file cannot be written, or is too large for a .mat file (2 GB).
    """
    data = probabilities.transpose(1, 2, 0)
    if path.suffix == ".mat" and data.nbytes >= 1 << 31:
        raise InputError(f"{path}: {data.nbytes} bytes are too many for a .mat file; use npz")
    with atomic_write(path) as temporary:
        if path.suffix == ".mat":
            savemat(temporary, {"data": np.ascontiguousarray(data)})
        else:
            np.savez(temporary, data=data.astype(np.float16))


def _write_picture(path: Path, picture: Bytes) -> None:
    with atomic_write(path) as temporary:
        encoded, data = cv2.imencode(".png", picture[..., ::-1])
        if not encoded:
            raise InputError(f"{path}: cannot be written as PNG")
        temporary.write_bytes(data.tobytes())


class Videos:
    """Writes the pictures of one video after the other, frame by frame in order."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._source: Source | None = None
        self._open: list[_Video] = []

    def write(self, frame: Frame, pictures: Mapping[str, Bytes]) -> None:
        """Add the pictures of a frame, by kind. Those of another source begin its videos, and end the last one's."""
        if frame.source is not self._source:
            self.close()
            self._source = frame.source
        if not self._open:
            for kind, picture in pictures.items():
                size = (picture.shape[0], picture.shape[1])
                self._open.append(_Video(kind, self._outputs.video(kind, frame.source), frame, size))
        for video in self._open:
            image = pictures[video.kind]
            if image.shape[:2] != video.size:
                height, width = video.size
                raise InputError(
                    f"{frame.source.label}: frame {frame.number} is {image.shape[1]}x{image.shape[0]}, those before it "
                    f"{width}x{height}; a video has one size"
                )
            video.writer.write(Picture(image, frame.time, frame.duration))

    def close(self) -> None:
        """Finish what is open: it can then be played, though the source may have gone on."""
        self._source, videos, self._open = None, self._open, []
        with contextlib.ExitStack() as stack:
            for video in videos:
                stack.callback(video.close)


class _Video:
    """A video that is being written, under a temporary name until it is closed."""

    def __init__(self, kind: str, path: Path, first: Frame, size: tuple[int, int]) -> None:
        assert first.clip is not None
        self.kind, self.size, self._path = kind, size, path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
            os.close(handle)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        self._temporary = Path(name)
        try:
            self.writer: Writer = create_video(self._temporary, size, first.clip)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        try:
            self.writer.close()
            self._temporary.chmod(0o666 & ~_umask())
            self._temporary.replace(self._path)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        finally:
            self._temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
