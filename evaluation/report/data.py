"""Everything as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_icnet.weights.known import lookup

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


def comparison(
    provenance: Mapping[str, Any], result: Result, *, multi_scale: bool | None = False
) -> dict[str, Any] | None:
    """Measured against published, percent; None where nothing is known of the weights.

    The published figures belong to a split of Cityscapes, to all of its images and to the weights' own protocol, which
    this cannot verify.

    Args:
        provenance: md5 and name of the weights' file.
        result: what was measured.
        multi_scale: whether each image was averaged over, as published; None: averaged over otherwise.
    """
    known = lookup(str(provenance.get("md5", "")), str(provenance.get("file", "")))
    scores = {} if known is None or multi_scale is None else known.scores(multi_scale=multi_scale)
    if known is None or not scores:
        return None
    compared: dict[str, Any] = {
        "weights": known.file,
        "split": known.split,
        "source": known.source,
        "protocol": known.protocol,
        "by_name": not known.md5,
    }
    for key in ("mean_iou", "pixel_accuracy"):
        published, measured = scores.get(key), 100 * result[key]
        difference = None if published is None else measured - published
        compared[key] = {"measured": measured, "published": published, "difference": difference}
    return compared
