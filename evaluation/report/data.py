"""Everything as JSON."""

from __future__ import annotations

from typing import Any

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
        "per_image": result.image_frame().to_dict("records"),
    }
