"""Video files, read and written, and the exact times of their frames.

PyAV does it, the extra ``video``, or OpenCV where that is missing.
OpenCV knows neither time stamps nor exact frame rates, and writes MPEG-4 instead of H.264.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from icnet_common.errors import InputError

from ..arrays import Bytes, Size

MAX_PIXELS = 1 << 26
"""Of a frame; videos with larger ones are refused. 8K has 33 million."""

FORMATS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf"),
    *("h264", "hevc", "mjpeg", "yuv4mpegpipe", "ivf", "nut", "gif", "apng", "mxf", "wtv"),
)
"""What FFmpeg may open. Left out are playlists, which name files and addresses of their author's choice."""

QUALITY = "18"
"""x264's constant rate factor: hardly to be told from the original."""

HD = 720
"""Rows from which on videos that do not say how they code colours mean ITU-R BT.709, otherwise BT.601."""

COARSE = Fraction(1, 1000)
"""Containers such as Matroska keep whole milliseconds, which most frame rates do not fall on."""

_FINEST = 1 << 31
"""Ticks per second that files can say."""

WITHOUT_PYAV = (
    "PyAV is not installed, so videos are written by OpenCV, at a constant frame rate; "
    "pip install 'pytorch-icnet[video]' keeps their times"
)


@dataclass(frozen=True)
class ClipTiming:
    """What a video says of its times."""

    rate: Fraction
    """Frames per second; of one with a variable rate the nominal or mean rate."""
    tick: Fraction
    """Seconds, of which all of its times are multiples."""

    @property
    def grid(self) -> Fraction:
        """Seconds, of which the times of the frames and the period of the rate are multiples."""
        if self.tick < COARSE:
            return self.tick
        ticks = math.lcm(self.tick.denominator, (1 / self.rate).denominator)
        return Fraction(1, ticks) if ticks < _FINEST else self.tick

    def exact(self, time: Fraction) -> Fraction:
        """The time that a coarsely rounded one stands for: a multiple of the period if one is within half a tick."""
        nearest = round(time * self.rate) / self.rate
        if self.tick >= COARSE and abs(nearest - time) <= self.tick / 2 and (nearest / self.grid).denominator == 1:
            return nearest
        return time


class Clock:
    """Gives each frame its time, from zero and strictly rising, whatever the file says."""

    def __init__(self, clip: ClipTiming) -> None:
        self._clip = clip
        self._start: Fraction | None = None
        self._last: Fraction | None = None

    def time(self, stamp: Fraction | None) -> Fraction:
        """The time in seconds of the next frame, whose time stamp, in seconds, is ``stamp``, or is missing."""
        following = Fraction(0) if self._last is None else self._last + 1 / self._clip.rate
        if self._start is None:
            self._start = stamp
        time = following if stamp is None or self._start is None else self._clip.exact(stamp - self._start)
        if self._last is not None and time <= self._last:
            time = following
        self._last = time
        return time


class VideoPicture(NamedTuple):
    """A frame of a video."""

    image: Bytes
    """uint8 HxWx3: red, green, blue."""
    time: Fraction
    """Seconds from the first frame."""
    duration: Fraction
    """Seconds; 0 where the file does not say."""


class VideoReader(NamedTuple):
    """A video that is being read."""

    clip: ClipTiming
    frames: int | None
    """How many, as the file says."""
    pictures: Generator[VideoPicture, None, None]
    """To be closed."""


class VideoError(InputError):
    """A video that is damaged, too large or of an unknown kind; the message begins with the file's name."""


@cache
def pyav() -> Any:
    """PyAV, or None where it is not installed.

    Its log stays off, as it is by default: written by Python, it can block FFmpeg's threads for ever.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        return None


def open_video(path: Path) -> VideoReader:
    """A video file's frames, in the order in which they are shown.

    Raises:
        VideoError: not a video, or frames above MAX_PIXELS. While the pictures are taken: damaged.
        OSError: the file cannot be read.
    """
    path.open("rb").close()
    return _open_pyav(path) if pyav() else capture(str(path), path.name)


def _open_pyav(path: Path) -> VideoReader:
    av = pyav()
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", options=options)
    except (av.error.FFmpegError, ValueError, UnicodeError) as error:
        raise VideoError(f"{path}: cannot be opened as a video: {_reason(error)}") from error
    try:
        if not container.streams.video:
            raise VideoError(f"{path}: holds no video")
        stream = container.streams.video[0]
        _check_size(path, stream.codec_context.height, stream.codec_context.width)
        rate = Fraction(stream.guessed_rate or stream.average_rate or 25)
        clip = ClipTiming(rate, Fraction(stream.time_base))
    except BaseException:
        container.close()
        raise
    stream.thread_type = "AUTO"
    return VideoReader(clip, stream.frames or None, _pyav_pictures(path, container, stream, clip))


def _pyav_pictures(path: Path, container: Any, stream: Any, clip: ClipTiming) -> Generator[VideoPicture, None, None]:
    clock, size = Clock(clip), None
    with container:
        try:
            for frame in container.decode(stream):
                _check_size(path, frame.height, frame.width)
                image = _rgb(frame)
                if size not in (None, image.shape):
                    raise VideoError(f"{path}: the frames change their size, from {size} to {image.shape}")
                size = image.shape
                stamp = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
                yield VideoPicture(image, clock.time(stamp), (frame.duration or 0) * Fraction(frame.time_base))
        except pyav().error.FFmpegError as error:
            raise VideoError(f"{path}: the video is damaged: {_reason(error)}") from error
    if size is None:
        raise VideoError(f"{path}: the video has no frames")


def _rgb(frame: Any) -> Bytes:
    """A frame as it is to be shown: turned upright, as telephones ask for."""
    unspecified = int(frame.colorspace) not in (1, 5, 6, 7)
    source = ("ITU709" if frame.height >= HD else "ITU601") if unspecified else None
    image = frame.reformat(format="rgb24", src_colorspace=source).to_ndarray()
    turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else np.asarray(image, np.uint8)


def capture(source: str | int, name: str) -> VideoReader:
    """A video file or a camera through OpenCV; times are counted.

    Raises:
        VideoError: it cannot be opened, or frames are above MAX_PIXELS.
    """
    device = cv2.VideoCapture(source)
    if not device.isOpened():
        device.release()
        raise VideoError(f"{name}: cannot be opened {'as a video' if isinstance(source, str) else '(no such camera?)'}")
    _check_size(name, device.get(cv2.CAP_PROP_FRAME_HEIGHT), device.get(cv2.CAP_PROP_FRAME_WIDTH))
    said = device.get(cv2.CAP_PROP_FPS)
    rate = _rational(said) if 0 < said < 1000 else Fraction(25)
    count = int(device.get(cv2.CAP_PROP_FRAME_COUNT))
    return VideoReader(ClipTiming(rate, 1 / rate), count if count > 0 else None, _captured(device, name, rate))


def _captured(device: Any, name: str, rate: Fraction) -> Generator[VideoPicture, None, None]:
    number = 0
    try:
        while True:
            read, bgr = device.read()
            if not read:
                break
            yield VideoPicture(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), number / rate, 1 / rate)
            number += 1
    finally:
        device.release()
    if number == 0:
        raise VideoError(f"{name}: the video has no frames")


def _rational(rate: float) -> Fraction:
    """The frame rate that a rounded one stands for: a whole one, one of NTSC's, or nearly it."""
    for denominator in (1, 1001):
        guess = Fraction(round(rate * denominator / 1000) * 1000 if denominator == 1001 else round(rate), denominator)
        if guess and abs(guess - Fraction(rate)) < Fraction(1, 1000):
            return guess
    return Fraction(rate).limit_denominator(1001)


class VideoWriter(ABC):
    """Writes a video; what is there when it is closed can be played."""

    @abstractmethod
    def write(self, picture: VideoPicture) -> None:
        """Add a frame, all of one size."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""


def create_video(path: Path, size: Size, clip: ClipTiming) -> VideoWriter:
    """A writer for an MP4 file.

    Args:
        path: of the file, which is there at once and whole when the writer is closed.
        size: height and width of the frames.
        clip: their rate and the resolution of their times.

    Raises:
        InputError: the file cannot be written.
    """
    kind: Callable[[Path, Size, ClipTiming], VideoWriter] = _PyAVWriter if pyav() else _OpenCVWriter
    return kind(path, size, clip)


class _PyAVWriter(VideoWriter):
    def __init__(self, path: Path, size: Size, clip: ClipTiming) -> None:
        av = pyav()
        self._path, self._grid, self._period = path, clip.grid, 1 / clip.rate
        self._even = size[0] % 2 == 0 == size[1] % 2
        self._last: VideoPicture | None = None
        self._container = self._guarded(lambda: av.open(f"file:{path}", "w", format="mp4"))
        name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": QUALITY, "preset": "fast", "bf": "0"} if name == "libx264" else {"qscale": "2"}
        stream = self._container.add_stream(name, rate=clip.rate, options=options)
        stream.height, stream.width = size
        # Halved colour planes need even sizes.
        stream.pix_fmt = "yuv420p" if self._even or name != "libx264" else "yuv444p"
        stream.time_base = stream.codec_context.time_base = self._grid
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        stream.codec_context.color_range = 1
        self._stream = stream

    def write(self, picture: VideoPicture) -> None:
        frame = pyav().VideoFrame.from_ndarray(picture.image, format="rgb24")
        frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace="ITU709")
        frame.pts, frame.time_base = round(picture.time / self._grid), self._grid
        frame.duration = round((picture.duration or self._period) / self._grid)
        self._guarded(lambda: self._container.mux(self._stream.encode(frame)))

    def close(self) -> None:
        def finish() -> None:
            self._container.mux(self._stream.encode())
            self._container.close()

        self._guarded(finish)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (pyav().error.FFmpegError, ValueError) as error:
            raise InputError(f"{self._path}: cannot be written: {_reason(error)}") from error


class _OpenCVWriter(VideoWriter):
    def __init__(self, path: Path, size: Size, clip: ClipTiming) -> None:
        self._path = path
        path.write_bytes(b"")  # a clear error where that is impossible
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(clip.rate), size[::-1])
        if not self._writer.isOpened():
            raise InputError(f"{path}: OpenCV cannot write this video")

    def write(self, picture: VideoPicture) -> None:
        self._writer.write(cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


def _check_size(name: object, height: float, width: float) -> None:
    if height * width > MAX_PIXELS:
        raise VideoError(f"{name}: frames of {width:.0f}x{height:.0f} pixels are more than the {MAX_PIXELS} allowed")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
