"""What requests ask of the network: label maps in several forms, and Supervisely's annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from icnet_common.config import parse_json
from icnet_common.errors import InputError

from ..imaging import png
from ..imaging.images import decode_image
from ..predict import Predictor, Prepared, Scored
from ..supervisely.annotation import Annotation, AnnotationFigure, annotation_of, size_of
from ..supervisely.meta import Meta
from ..supervisely.modes import DeployedModel, Inference
from ..supervisely.shapes import Bitmap

Bytes = npt.NDArray[np.uint8]

NAME = "the image"
"""For messages."""

OPACITY = 0.5
MAX_PASSES = 64
"""Parts of one image that a request may have the network look at."""

PNG, JSON = "image/png", "application/json"


@dataclass(frozen=True)
class Form:
    """How a label map is given back."""

    media_type: str
    encode: Callable[[Bytes, Bytes, DeployedModel], bytes]
    """Of the image and its label map."""
    summary: str


def _labels(rgb: Bytes, labels: Bytes, model: DeployedModel) -> bytes:
    return png.encode(labels)


def _colour(rgb: Bytes, labels: Bytes, model: DeployedModel) -> bytes:
    return png.encode(labels, model.predictor.classes.palette)


def _overlay(rgb: Bytes, labels: Bytes, model: DeployedModel) -> bytes:
    colours = model.predictor.classes.palette[labels]
    blended = cv2.addWeighted(rgb, 1 - OPACITY, colours, OPACITY, 0)
    written, data = cv2.imencode(".png", cv2.cvtColor(blended, cv2.COLOR_RGB2BGR))
    if not written:
        raise InputError("the overlay cannot be encoded")
    return data.tobytes()


def _annotation(rgb: Bytes, labels: Bytes, model: DeployedModel) -> bytes:
    masks = ((written.title, labels == index) for index, written in sorted(model.classes.items()))
    figures = tuple(AnnotationFigure(title, Bitmap.of(mask)) for title, mask in masks if mask.any())
    return as_json(Annotation((labels.shape[0], labels.shape[1]), figures).as_data())


FORMS: Mapping[str, Form] = {
    "labels": Form(PNG, _labels, "gray: trainIds"),
    "colour": Form(PNG, _colour, "indexed: trainIds with the classes' colours"),
    "overlay": Form(PNG, _overlay, "the colours, blended with the image"),
    "annotation": Form(JSON, _annotation, "a Supervisely annotation, a bitmap per class"),
}
"""By the name in requests."""


def as_json(data: Any) -> bytes:
    """Data as the body of an answer."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Prediction:
    """A label map of an image, as :class:`.worker.Work`.

    Attributes:
        model: the network.
        data: a PNG or JPEG file's content.
        form: of the answer.
        max_pixels: of the image.
    """

    model: DeployedModel
    data: bytes
    form: Form
    max_pixels: int

    @property
    def _predictor(self) -> Predictor:
        return self.model.predictor

    def prepare(self) -> tuple[Bytes, Prepared]:
        rgb = decode_image(self.data, NAME, max_pixels=self.max_pixels)
        return rgb, self._predictor.prepare(rgb)

    def compute(self, prepared: tuple[Bytes, Prepared]) -> tuple[Bytes, Scored]:
        rgb, blobs = prepared
        return rgb, self._predictor.forward(blobs)

    def finish(self, computed: tuple[Bytes, Scored]) -> bytes:
        rgb, scored = computed
        return self.form.encode(rgb, self._predictor.labels_of(scored), self.model)


@dataclass(frozen=True)
class Annotating:
    """An annotation with what the network sees added, as :class:`.worker.Work`.

    Attributes:
        inference: how.
        data: a PNG or JPEG file's content.
        annotation: of the image, as JSON with the classes of ``meta``; empty: none.
        meta: the project's classes.
        max_pixels: of the image.
    """

    inference: Inference
    data: bytes
    annotation: bytes
    meta: Meta
    max_pixels: int

    def prepare(self) -> tuple[Bytes, Annotation]:
        rgb = decode_image(self.data, NAME, max_pixels=self.max_pixels)
        size = (rgb.shape[0], rgb.shape[1])
        if not self.annotation:
            return rgb, Annotation(size)
        data = parse_json(self.annotation, "annotation", len(self.annotation))
        if size_of(data, "annotation") != size:  # before bitmaps are unpacked, whose limit is the annotation's size
            raise InputError(f"the image is {size[0]}x{size[1]}, but its annotation is for another size")
        return rgb, annotation_of(data, self.meta, "annotation")

    def compute(self, prepared: tuple[Bytes, Annotation]) -> Annotation:
        rgb, annotation = prepared
        passes = self.inference.passes(annotation)
        if passes > MAX_PASSES:
            raise InputError(f"the mode looks at {passes} parts of the image, more than the {MAX_PASSES} allowed here")
        return self.inference.annotate(rgb, annotation)[0]

    def finish(self, computed: Annotation) -> bytes:
        return as_json(computed.as_data())
