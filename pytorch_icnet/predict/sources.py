"""What is predicted: images, videos, folders of them, patterns, a camera."""

from __future__ import annotations

import glob
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePath
from typing import ClassVar

from icnet_common.errors import InputError

from ..arrays import Bytes
from ..imaging.images import read_image
from .video_files import ClipTiming, VideoPicture, capture, open_video

IMAGES = (".png", ".jpg", ".jpeg")
VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv"),
    *(".ogv", ".3gp", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".y4m", ".gif", ".apng", ".nut", ".mxf", ".ivf"),
)

CAMERA_TICK = Fraction(1, 90000)
"""Of the times that a camera's pictures get here."""


@dataclass(frozen=True)
class SourceFrame:
    """An image, or a frame of a video."""

    source: FrameSource
    number: int
    """In its source, from 0."""
    read: Callable[[], Bytes]
    """RGB, uint8 HxWx3."""
    time: Fraction = Fraction(0)
    """In a video: seconds from the first frame."""
    duration: Fraction = Fraction(0)
    """In a video: seconds, or 0 where nothing says how long it is shown."""
    clip: ClipTiming | None = None
    """A video's rate and resolution of times."""


class FrameSource(ABC):
    """Something that frames come from."""

    is_video: ClassVar[bool] = True
    """Whether it has many frames, which make a video again."""

    def __init__(self, label: str, name: PurePath) -> None:
        self.label = label
        """For the user: the path, or which camera."""
        self.name = name
        """What results are called, without suffix; with folders where a folder was given."""

    @abstractmethod
    def frames(self) -> Generator[SourceFrame, None, None]:
        """Its frames in order.

        Raises:
            InputError: it cannot be read.
            OSError: likewise.
        """

    def count(self) -> int | None:
        """How many frames there are, if that is known without reading them."""
        return None


class ImageFile(FrameSource):
    """A PNG or JPEG file; ``upright``: turned as its EXIF orientation says."""

    is_video = False

    def __init__(self, path: Path, name: PurePath, *, upright: bool = True) -> None:
        super().__init__(str(path), name)
        self.path, self.upright = path, upright

    def frames(self) -> Generator[SourceFrame, None, None]:
        yield SourceFrame(self, 0, lambda: read_image(self.path, upright=self.upright))

    def count(self) -> int | None:
        return 1


class Video(FrameSource):
    """A video file."""

    def __init__(self, path: Path, name: PurePath) -> None:
        super().__init__(str(path), name)
        self.path = path

    def frames(self) -> Generator[SourceFrame, None, None]:
        reader = open_video(self.path)
        with closing(reader.pictures) as pictures:
            for number, picture in enumerate(pictures):
                yield _frame(self, number, picture, reader.clip)

    def count(self) -> int | None:
        try:
            reader = open_video(self.path)
        except (InputError, OSError):  # reported in its turn
            return None
        reader.pictures.close()
        return reader.frames


class Sequence(FrameSource):
    """Images that are the frames of a video, in the order given; they are to have one size."""

    def __init__(self, label: str, name: PurePath, images: Collection[ImageFile], rate: Fraction) -> None:
        super().__init__(label, name)
        self.images, self.clip = images, ClipTiming(rate, 1 / rate)

    def frames(self) -> Generator[SourceFrame, None, None]:
        period = self.clip.tick
        for number, image in enumerate(self.images):
            for frame in image.frames():
                yield SourceFrame(self, number, frame.read, number * period, period, self.clip)

    def count(self) -> int | None:
        return len(self.images)


class CameraSource(FrameSource):
    """A camera, by its number; each picture's time is when it was taken."""

    def __init__(self, number: int) -> None:
        super().__init__(f"camera {number}", PurePath(f"camera{number}"))
        self.number = number

    def frames(self) -> Generator[SourceFrame, None, None]:
        reader = capture(self.number, self.label)
        clip = ClipTiming(reader.clip.rate, CAMERA_TICK)
        start: float | None = None
        with closing(reader.pictures) as pictures:
            for number, picture in enumerate(pictures):
                now = time.monotonic()
                start = now if start is None else start
                passed = round(Fraction(now - start) / CAMERA_TICK) * CAMERA_TICK
                yield _frame(self, number, picture._replace(time=passed, duration=Fraction(0)), clip)


def _frame(source: FrameSource, number: int, picture: VideoPicture, clip: ClipTiming) -> SourceFrame:
    return SourceFrame(source, number, lambda: picture.image, picture.time, picture.duration, clip)


def find_sources(
    inputs: Iterable[str], *, upright: bool = True, without: Path | None = None, rate: Fraction | None = None
) -> list[FrameSource]:
    """The images and videos that are meant.

    Args:
        inputs: files; folders, in which all images and videos are taken, those in folders below too, in the order of
            their names; patterns with ``*``, ``?`` and ``**``.
        upright: turn images as their EXIF orientation says.
        without: a folder whose files are left out where it lies in a folder: that of the results.
        rate: the images directly in each folder are the frames of a video, so many per second.

    Raises:
        InputError: something is not there, or is neither an image nor a video.
    """
    found: list[FrameSource] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            below = [each for each in sorted(path.rglob("*")) if _taken(each, path, without)]
            if not below:
                raise InputError(f"{given}: holds no images and no videos")
            files = [source_of(each, each.relative_to(path).with_suffix(""), upright) for each in below]
            found += files if rate is None else _sequences(path, files, rate)
        elif path.exists() or not glob.has_magic(given):
            found.append(source_of(path, PurePath(path.stem), upright))
        else:
            matches = [Path(match) for match in sorted(glob.glob(given, recursive=True))]  # noqa: PTH207
            matches = [match for match in matches if match.is_file()]
            if not matches:
                raise InputError(f"{given}: no file is called like this")
            found += [source_of(each, PurePath(each.stem), upright) for each in matches]
    return found


def source_of(path: Path, name: PurePath, upright: bool = True) -> ImageFile | Video:
    """An image or a video, by the suffix; by the content where there is another one.

    Raises:
        InputError: there is no such file, or it is of another kind.
    """
    if path.suffix.lower() in VIDEOS:
        return Video(path, name)
    if path.suffix.lower() not in IMAGES:
        try:
            with path.open("rb") as stream:
                head = stream.read(8)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        if not head.startswith((b"\x89PNG", b"\xff\xd8")):
            raise InputError(f"{path}: neither a PNG or JPEG image nor a video; known suffixes: {', '.join(VIDEOS)}")
    return ImageFile(path, name, upright=upright)


def refuse_equal_names(sources: Iterable[FrameSource]) -> None:
    """Raise InputError where two sources would write their results to the same files."""
    first: dict[tuple[str, bool], FrameSource] = {}
    for source in sources:
        other = first.setdefault((str(source.name), source.is_video), source)
        if other is not source:
            raise InputError(
                f"{source.label}: results are called {source.name}, like those of {other.label}; "
                "rename one, or give the folder that holds both"
            )


def numbered(
    sources: Iterable[FrameSource], limit: int | None, broken: Callable[[FrameSource, Exception], None]
) -> Generator[SourceFrame, None, None]:
    """The frames of all sources, at most ``limit``; ``broken`` is told of a source that cannot be read, or raises."""
    taken = count()
    for source in sources:
        with closing(source.frames()) as frames:
            try:
                for frame in frames:
                    if limit is not None and next(taken) >= limit:
                        return
                    yield frame
            except (InputError, OSError) as error:
                broken(source, error)


def _sequences(root: Path, files: Iterable[ImageFile | Video], rate: Fraction) -> list[FrameSource]:
    """The videos among the files of a folder, and a sequence for each folder of images."""
    found: list[FrameSource] = []
    folders: dict[Path, list[ImageFile]] = {}
    for each in files:
        if isinstance(each, Video):
            found.append(each)
        else:
            folders.setdefault(each.path.parent, []).append(each)
    for folder, images in folders.items():
        below = folder.relative_to(root)
        name = PurePath(root.resolve().name) if below == Path() else PurePath(below)
        found.append(Sequence(str(folder), name, images, rate))
    return found


def _taken(path: Path, root: Path, without: Path | None) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    ours = without is not None and without.resolve() in path.resolve().parents
    return path.suffix.lower() in IMAGES + VIDEOS and not hidden and not ours and path.is_file()
