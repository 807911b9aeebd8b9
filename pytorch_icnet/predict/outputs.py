"""What prediction makes of its sources: an image's files, and a video's videos and folders of files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from icnet_common.errors import InputError
from icnet_common.files import atomic_write

from ..arrays import Bytes, Size
from ..outputs import Drawing, Outputs
from .sources import FrameSource, SourceFrame
from .video_files import VideoPicture, VideoWriter, create_video

PICTURES = ("colour", "overlay", "side-by-side")
"""Of videos these are videos; the other kinds are a folder of files, a file per frame."""


@dataclass(frozen=True)
class SourceOutputs:
    """Which files, and where.

    Attributes:
        root: the folder of everything.
        kinds: of :data:`pytorch_icnet.outputs.KINDS`; None: labels, colour and overlay of images, colour and overlay of
            videos.
        drawing: colours and ids.
        probability_file: one of :data:`pytorch_icnet.outputs.PROBABILITY_FILES`; None: no probabilities.
        float16: see :class:`pytorch_icnet.outputs.Outputs`.
    """

    root: Path
    kinds: tuple[str, ...] | None = None
    drawing: Drawing = field(default_factory=Drawing)
    probability_file: str | None = None
    float16: bool = False

    def of(self, source: FrameSource) -> Outputs:
        """The files of an image, or of each frame of a video."""
        kinds = tuple(kind for kind in self._kinds(source) if not (source.is_video and kind in PICTURES))
        return Outputs(self.root, kinds, self.drawing, (self.probability_file or "npz",), self.float16)

    def pictures(self, source: FrameSource) -> tuple[str, ...]:
        """The kinds of pictures that are made into videos; none of an image."""
        return tuple(kind for kind in self._kinds(source) if source.is_video and kind in PICTURES)

    def name(self, frame: SourceFrame) -> PurePath:
        """What the files of an image, or of a frame of a video, are called."""
        name = frame.source.name
        return name / f"{frame.number:06d}" if frame.source.is_video else name

    def video(self, kind: str, source: FrameSource) -> Path:
        """The video of a kind of pictures."""
        return self.root / kind / f"{source.name}.mp4"

    def files(self, source: FrameSource) -> list[Path]:
        """Everything that is made of a source: files, and folders of a video's frames."""
        if not source.is_video:
            return self.of(source).files(source.name)
        kinds = self._kinds(source)
        return [self.video(kind, source) if kind in PICTURES else self.root / kind / source.name for kind in kinds]

    def refuse_overwriting(self, sources: Sequence[FrameSource]) -> None:
        """Raise InputError where a result would replace a source."""
        given = {Path(source.label).resolve(): source for source in sources}
        for path in (path.resolve() for source in sources for path in self.files(source)):
            if path in given and path.is_file():
                raise InputError(f"{given[path].label}: would be replaced by a result; give another --output")

    def _kinds(self, source: FrameSource) -> tuple[str, ...]:
        chosen = self.kinds or (("colour", "overlay") if source.is_video else ("labels", "colour", "overlay"))
        wanted = [kind for kind in chosen if kind != "probabilities"]
        return (*wanted, "probabilities") if self.probability_file else tuple(wanted)


class Videos:
    """Writes the pictures of one video after the other, frame by frame in order.

    A video has a temporary name until it is closed.
    """

    def __init__(self, outputs: SourceOutputs) -> None:
        self._outputs = outputs
        self._source: FrameSource | None = None
        self._open: dict[str, tuple[Size, VideoWriter]] = {}
        self._files = contextlib.ExitStack()

    def write(self, frame: SourceFrame, pictures: Mapping[str, Bytes]) -> None:
        """Add the pictures of a frame, by kind. Those of another source begin its videos, and end the last one's."""
        if frame.source is not self._source:
            self.close()
            self._source = frame.source
        if not self._open:
            for kind, picture in pictures.items():
                self._begin(kind, frame, (picture.shape[0], picture.shape[1]))
        for kind, ((height, width), writer) in self._open.items():
            image = pictures[kind]
            if image.shape[:2] != (height, width):
                raise InputError(
                    f"{frame.source.label}: frame {frame.number} is {image.shape[1]}x{image.shape[0]}, those before it "
                    f"{width}x{height}; a video has one size"
                )
            writer.write(VideoPicture(image, frame.time, frame.duration))

    def close(self) -> None:
        """Finish what is open: it can then be played, though the source may have gone on."""
        self._source, self._open = None, {}
        self._files.close()

    def _begin(self, kind: str, frame: SourceFrame, size: Size) -> None:
        assert frame.clip is not None
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_write(self._outputs.video(kind, frame.source)))
            writer = create_video(temporary, size, frame.clip)
            stack.callback(writer.close)
            self._open[kind] = (size, writer)
            self._files.callback(stack.pop_all().close)  # each alone: one that fails does not spoil the others
