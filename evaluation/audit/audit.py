"""What a strange figure may come from: a few images, evaluated once rightly and once with each well-known mistake."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from icnet_common.errors import InputError
from icnet_common.progress import track
from pytorch_icnet.card import QUARTER
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.predictor import Predictor, Prepared
from pytorch_icnet.runtime.request import scores_of

from ..data.labels import read_truth
from ..data.lists import Entry, locate
from ..protocols import GroundTruth, ImageScore, Logits, Prediction, ProtocolSettings
from ..protocols.base import Labels
from ..protocols.official import Official, Scores
from .common_errors import MISTAKES, Change, DoesNotApply, Feed, Finish, Mistake


@dataclass(frozen=True)
class Finding:
    """What an evaluation with one mistake would have said."""

    name: str
    what: str
    mean_iou: float | None
    """0 to 1; None where the mistake could not be made."""
    pixel_accuracy: float | None
    changed: float | None
    """Share of the pixels that get another label, 0 to 1; None where the label maps are of another size."""
    note: str = ""
    """Why the mistake could not be made."""


@dataclass(frozen=True)
class Audit:
    """The right figures, and what each mistake makes of them."""

    right: Finding
    mistakes: tuple[Finding, ...]
    """In the order of the steps from image to figure."""
    images: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON: fractions of 1."""
        return {
            "images": list(self.images),
            "right": vars(self.right),
            "mistakes": [vars(finding) for finding in self.mistakes],
        }

    def as_text(self) -> str:
        """A line for each mistake: figures in percent, and how much they differ from the right ones."""
        lines = [f"{'':13} {'mean IoU':>9} {'':8} {'accuracy':>9} {'':8} {'changed':>8}"]
        for finding in (self.right, *self.mistakes):
            if finding.mean_iou is None:
                lines.append(f"{finding.name:13} {finding.what}: {finding.note}")
                continue
            iou = _with_difference(finding.mean_iou, self.right.mean_iou, finding is self.right)
            accuracy = _with_difference(finding.pixel_accuracy, self.right.pixel_accuracy, finding is self.right)
            changed = "" if finding.changed is None or finding is self.right else f"{100 * finding.changed:.2f}%"
            lines.append(f"{finding.name:13} {iou} {accuracy} {changed:>8}  {finding.what}".rstrip())
        return "\n".join(lines)


def audit(
    predictor: Predictor,
    settings: ProtocolSettings,
    entries: Sequence[Entry],
    data_root: str | os.PathLike[str],
    *,
    mistakes: Sequence[Mistake] = MISTAKES,
    label_kind: str | None = None,
) -> Audit:
    """Evaluate a few images by the official protocol, and again with each mistake; shows the progress.

    Args:
        predictor: what is evaluated.
        settings: as for the official protocol.
        entries: lines of a list with labels; a few of them say enough.
        data_root: the folder that the list's paths start from.
        mistakes: which to make.
        label_kind: see :func:`evaluation.data.labels.read_truth`.

    Raises:
        InputError: there is nothing to score, or a file cannot be used.
    """
    if not entries or any(entry.label is None for entry in entries):
        raise InputError("an audit needs images with labels")
    truths = [
        read_truth(locate(data_root, entry.label or ""), settings.table, kind=label_kind).train_ids for entry in entries
    ]
    official = Official(settings)
    attempts = [_Attempt(mistake) for mistake in (Mistake("official", "as it should be"), *mistakes)]
    for index, entry in enumerate(track(entries, len(entries), "audit")):
        image = _Image(predictor, official, read_image(locate(data_root, entry.image)))
        right = image.labels(attempts[0].mistake)
        for attempt in attempts:
            train_ids = truths[(index + 1) % len(truths) if attempt.mistake.next_image else index]
            attempt.add(official, image, train_ids, right, entry.image)
    findings = [attempt.finding() for attempt in attempts]
    return Audit(findings[0], tuple(findings[1:]), tuple(entry.image for entry in entries))


class _Image:
    """One image: its scores, however it is fed, and its label maps, however they are made, computed once each."""

    def __init__(self, predictor: Predictor, official: Official, image: Labels) -> None:
        self._predictor, self._official, self._image = predictor, official, image
        self._logits: dict[tuple[Feed, Change | None], Logits] = {}
        self._labels: dict[tuple[Feed, Change | None, Finish], Labels] = {}

    def labels(self, mistake: Mistake) -> Labels:
        """The label map of a mistake."""
        fed, size = (mistake.feed, mistake.network), (self._image.shape[0], self._image.shape[1])
        if fed not in self._logits:
            self._logits[fed] = self._forward(*fed)
        made = (*fed, mistake.finish)
        if made not in self._labels:
            self._labels[made] = mistake.finish(self._official, self._logits[fed], size)
        return self._labels[made]

    def _forward(self, feed: Feed, change: Change | None) -> Logits:
        (view,), predictor = self._official.inputs(self._official.settings.input_size), self._predictor
        blob = feed(self._official, view, self._image)
        view = dataclasses.replace(view, size=(blob.shape[-2], blob.shape[-1]))
        if change is None:
            return predictor.forward(Prepared(view.size, {view: blob})).logits[view]
        quarter = predictor.card.stride == QUARTER
        with change(predictor.module), torch.inference_mode():
            planes = scores_of(predictor.module, blob.to(predictor.device), quarter=quarter)[0]
        return Logits(planes.cpu(), view.size, quarter=quarter)


@dataclass
class _Attempt:
    """One way of evaluating, over the images so far."""

    mistake: Mistake
    images: list[ImageScore] = field(default_factory=list)
    pixels: int = 0
    changed: int | None = 0
    note: str = ""

    def add(self, official: Official, image: _Image, train_ids: Labels, right: Labels, name: str) -> None:
        """Score an image, whose label map ``right`` is as it should be."""
        try:
            prediction = image.labels(self.mistake)
        except DoesNotApply as reason:
            self.note = str(reason)
            return
        truth = GroundTruth(self.mistake.truth(official, train_ids, prediction))
        self.images.append(official.image_score(official.measure(Prediction(prediction), truth, name)))
        if prediction.shape != right.shape or self.changed is None:
            self.changed = None
        else:
            self.changed += int(np.count_nonzero(prediction != right))
        self.pixels += right.size

    def finding(self) -> Finding:
        mistake = self.mistake
        if self.note:
            return Finding(mistake.name, mistake.what, None, None, None, self.note)
        mean_iou, accuracy = mistake.figures(Scores(tuple(self.images)))
        changed = None if self.changed is None else self.changed / self.pixels
        return Finding(mistake.name, mistake.what, mean_iou, accuracy, changed)


def _with_difference(value: float | None, right: float | None, itself: bool) -> str:
    """Percent, and the difference from the right value."""
    assert value is not None and right is not None
    difference = "" if itself else f"({100 * (value - right):+.2f})"
    return f"{100 * value:8.2f}% {difference:>8}"
