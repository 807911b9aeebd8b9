"""What requests ask of the network: label maps in several forms, and Supervisely's annotations."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from icnet_common.config import parse_json
from icnet_common.errors import InputError

from ..arrays import Bytes
from ..imaging.images import decode_image
from ..outputs import Drawing
from ..pipeline import ImageTask
from ..predictor import Prepared, Scored
from ..supervisely.annotation import Annotation, AnnotationFigure, annotation_of, size_of
from ..supervisely.meta import Meta
from ..supervisely.modes import DeployedModel, Inference
from ..supervisely.shapes import Bitmap

NAME = "the image"
"""For messages."""

MAX_PASSES = 64
"""Parts of one image that a request may have the network look at."""

PNG, JSON = "image/png", "application/json"

FORMS = {"labels": PNG, "colour": PNG, "overlay": PNG, "annotation": JSON}
"""The forms of a label map by their name in requests, and their media types. The first three are those of
:data:`pytorch_icnet.outputs.KINDS`; the last is a Supervisely annotation, a bitmap per class."""


def as_json(data: Any) -> bytes:
    """Data as the body of an answer."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class Answer(ImageTask):
    """A task that makes the body of an answer.

    Attributes:
        data: a PNG or JPEG file's content.
        max_pixels: of the image.
        body: the answer, once the task is finished.
    """

    data: bytes
    max_pixels: int
    body: bytes = field(default=b"", init=False)

    def decode(self) -> Bytes:
        """The image, RGB, uint8 HxWx3.

        Raises:
            InputError: it is damaged, or too large.
        """
        return decode_image(self.data, NAME, max_pixels=self.max_pixels)


@dataclass
class LabelMapAnswer(Answer):
    """A label map of an image.

    Attributes:
        model: the network.
        form: of :data:`FORMS`.
    """

    model: DeployedModel
    form: str
    _rgb: Bytes | None = field(default=None, init=False)
    _prepared: Prepared | None = field(default=None, init=False)
    _scored: Scored | None = field(default=None, init=False)

    def prepare(self) -> None:
        self._rgb = self.decode()
        self._prepared = self.model.predictor.prepare(self._rgb)

    def forward(self) -> None:
        assert self._prepared is not None
        self._scored, self._prepared = self.model.predictor.forward(self._prepared), None

    def finish(self) -> None:
        assert self._rgb is not None and self._scored is not None
        labels = self.model.predictor.finish(self._scored)
        if self.form == "annotation":
            self.body = as_json(self._annotation(labels).as_data())
        else:
            self.body = Drawing(self.model.predictor.classes).encode(self.form, self._rgb, labels)

    def _annotation(self, labels: Bytes) -> Annotation:
        masks = ((written.title, labels == index) for index, written in sorted(self.model.classes.items()))
        figures = tuple(AnnotationFigure(title, Bitmap.of(mask)) for title, mask in masks if mask.any())
        return Annotation((labels.shape[0], labels.shape[1]), figures)


@dataclass
class AnnotationAnswer(Answer):
    """An annotation with what the network sees added.

    Attributes:
        inference: how.
        annotation: of the image, as JSON with the classes of ``meta``; empty: none.
        meta: the project's classes.
    """

    inference: Inference
    annotation: bytes
    meta: Meta
    _rgb: Bytes | None = field(default=None, init=False)
    _found: Annotation | None = field(default=None, init=False)

    def prepare(self) -> None:
        self._rgb = self.decode()
        size = (self._rgb.shape[0], self._rgb.shape[1])
        if not self.annotation:
            self._found = Annotation(size)
            return
        data = parse_json(self.annotation, "annotation", len(self.annotation))
        if size_of(data, "annotation") != size:  # before bitmaps are unpacked, whose limit is the annotation's size
            raise InputError(f"the image is {size[0]}x{size[1]}, but its annotation is for another size")
        self._found = annotation_of(data, self.meta, "annotation")

    def forward(self) -> None:
        assert self._rgb is not None and self._found is not None
        passes = self.inference.passes(self._found)
        if passes > MAX_PASSES:
            raise InputError(f"the mode looks at {passes} parts of the image, more than the {MAX_PASSES} allowed here")
        self._found, _ = self.inference.annotate(self._rgb, self._found)

    def finish(self) -> None:
        assert self._found is not None
        self.body = as_json(self._found.as_data())
