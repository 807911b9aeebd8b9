"""From a list of images to label maps on disk: read, preprocess, forward, postprocess, write.

One thread reads ahead and others finish the label maps while the net runs, so that neither the disk nor MATLAB's
arithmetic keeps the net waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from scipy.io import savemat
from torch import nn

from prototxt.errors import InputError
from prototxt.files import whole_file
from pytorch_icnet.imaging import postprocess, preprocess, probabilities
from pytorch_icnet.imaging.images import (
    ImageError,
    image_size,
    read_image,
    read_label_map,
    write_coloured,
    write_label_map,
)
from pytorch_icnet.imaging.postprocess import ZOOM, first_maximum

from .lists import Entry, locate
from .ordered import ordered_map

T = TypeVar("T")

STAGES = ("read", "preprocess", "forward", "postprocess", "write")


@dataclass(frozen=True)
class Outputs:
    """The files of a run, called after the image: ``gray/``, ``color/`` and, when asked for, ``feat/``."""

    root: Path
    feat: bool = False

    def gray(self, stem: str) -> Path:
        """8-bit gray PNG of trainIds."""
        return self.root / "gray" / f"{stem}.png"

    def color(self, stem: str) -> Path:
        """8-bit indexed PNG with the palette."""
        return self.root / "color" / f"{stem}.png"

    def features(self, stem: str) -> Path:
        """MATLAB file with the probabilities: ``data``, single, HxWxC."""
        return self.root / "feat" / f"{stem}.mat"

    def complete(self, stem: str, image: Path) -> bool:
        """Whether all files of an image are there, and its label maps can be read and have the image's size."""
        try:
            size = image_size(image)
            maps = [read_label_map(path).shape == size for path in (self.gray(stem), self.color(stem))]
        except (ImageError, OSError):
            return False
        return all(maps) and (not self.feat or self.features(stem).is_file())


@dataclass
class Work:
    """An image on its way; ``seconds`` per stage."""

    entry: Entry
    size: tuple[int, int] = (0, 0)
    tensor: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    """The blob, then the scores, then nothing."""
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, function: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = function()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        return result


def predict(
    model: nn.Module,
    entries: Sequence[Entry],
    data_root: str | os.PathLike[str],
    outputs: Outputs,
    *,
    input_size: tuple[int, int],
    num_classes: int,
) -> Generator[Work, None, None]:
    """Write the label maps of ``entries``; yields each, in order, once its files are written.

    Args:
        model: takes a blob 1x3xHxW and returns scores 1xCxhxw; where it has ``quarter_scores``, those are used.
        entries: lines of a list; labels are not looked at.
        data_root: the folder that the list's paths start from.
        outputs: where the files go.
        input_size: height and width of the blob.
        num_classes: C, which the model must have.

    Raises:
        InputError: an image cannot be used, the model takes no such size or has other classes, or the disk is full.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    # Beside a GPU the processor's work is the slower part; beside a net on the processor it is a small one.
    threads = max(1, min(8, (os.cpu_count() or 1) // 2)) if device.type == "cuda" else 1

    def read(entry: Entry) -> Work:
        work = Work(entry)
        image = work.timed("read", lambda: read_image(locate(data_root, entry.image)))
        work.size = (image.shape[0], image.shape[1])
        work.tensor = work.timed("preprocess", lambda: preprocess(image, input_size))
        return work

    def run(work: Work) -> Work:
        work.tensor = work.timed("forward", lambda: forward(model, work.tensor, device))
        if work.tensor.shape[1] != num_classes:
            raise InputError(f"the model scores {work.tensor.shape[1]} classes, expected {num_classes}")
        return work

    quarter = hasattr(model, "quarter_scores")
    with closing(ordered_map(read, entries, threads=1, in_flight=2)) as blobs:
        scored = map(run, blobs)
        finished = ordered_map(
            lambda work: _finish(work, outputs, quarter=quarter), scored, threads=threads, in_flight=threads
        )
        with closing(finished):
            yield from finished


def forward(model: nn.Module, blob: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The scores of one blob, float32 1xCxhxw on the processor: the quarter scores where the model has them."""
    function = getattr(model, "quarter_scores", model)
    with torch.inference_mode():
        scores: torch.Tensor = function(blob.to(device))
        return scores.float().cpu()


def _finish(work: Work, outputs: Outputs, *, quarter: bool) -> Work:
    """Postprocess and write."""
    scores, size, stem = work.tensor, work.size, work.entry.stem
    height, width = scores.shape[-2:]
    full_size = (ZOOM * (height - 1) + 1, ZOOM * (width - 1) + 1) if quarter else (height, width)
    if outputs.feat:
        features = work.timed("postprocess", lambda: probabilities(scores, size, full_size=full_size))
        labels = work.timed("postprocess", lambda: first_maximum(features))

        def write_features() -> None:
            with whole_file(outputs.features(stem)) as temporary:
                savemat(temporary, {"data": features})

        work.timed("write", write_features)
    else:
        labels = work.timed("postprocess", lambda: postprocess(scores, size, full_size=full_size))
    work.timed("write", lambda: write_coloured(outputs.color(stem), labels))
    work.timed("write", lambda: write_label_map(outputs.gray(stem), labels))
    work.tensor = torch.empty(0)
    return work
