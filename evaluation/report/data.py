"""Everything as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from prototxt.files import whole_file
from pytorch_icnet.known_weights import by_md5

from ..protocols import Result


def scores(result: Result) -> dict[str, Any]:
    """A protocol's scores: fractions of 1, and pixels."""
    images = result.images
    return {
        "num_classes": len(result.classes.rows),
        **result.as_data(),
        **{figure.key: figure.value for figure in result.figures},
        "correct": sum(image.correct for image in images),
        "labelled": sum(image.labelled for image in images),
        "per_image": [
            {
                "image": image.name,
                "pixel_accuracy": image.accuracy,
                "correct": image.correct,
                "labelled": image.labelled,
            }
            for image in images
        ],
    }


def comparison(provenance: Mapping[str, Any], result: Result) -> dict[str, Any] | None:
    """Measured against published, percent, where the weights are known by their md5; None where they are not.

    The published figures belong to a split of Cityscapes and to all of its images, which this cannot verify.
    """
    known = by_md5(str(provenance.get("md5", "")))
    if known is None:
        return None
    compared: dict[str, Any] = {"weights": known.file, "split": known.split, "source": known.source}
    for key, published in (("mean_iou", known.mean_iou), ("pixel_accuracy", known.pixel_accuracy)):
        measured = 100 * result[key]
        difference = None if published is None else measured - published
        compared[key] = {"measured": measured, "published": published, "difference": difference}
    return compared


def write_json(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """A JSON file; numbers that are not finite become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(_finite(report), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
