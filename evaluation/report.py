"""What an evaluation prints and writes: the original's text, tables as CSV, and everything as JSON."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prototxt.files import whole_file
from pytorch_icnet.imaging.palette import class_names
from pytorch_icnet.known_weights import by_md5

from .score import ImageScore, Scores


def image_line(number: int, total: int, image: ImageScore) -> str:
    """The line that the original prints for an image; ``number`` counts from 1."""
    return f"Evaluating {number}/{total}... Pixel-wise accuracy: {_percent(image.accuracy)}"


def summary(scores: Scores) -> str:
    """The original's summary, without a line end."""
    lines = ["==== Summary IoU ===="]
    for number, (name, iou) in enumerate(zip(class_names(scores.num_classes), scores.iou, strict=True), start=1):
        lines.append(f"{number:3d} {name:>16}: {iou:.4f}")
    lines.append(f"Mean IoU over {scores.num_classes} classes: {_percent(scores.mean_iou)}")
    lines.append(f"Pixel-wise Accuracy: {_percent(scores.pixel_accuracy)}")
    return "\n".join(lines)


def write_class_table(path: str | os.PathLike[str], scores: Scores) -> None:
    """A CSV file with a row per class: trainId, name, IoU (0 to 1), intersection and union (pixels)."""
    names = class_names(scores.num_classes)
    rows = zip(range(scores.num_classes), names, scores.iou, scores.intersection, scores.union, strict=True)
    _write_csv(path, ("train_id", "name", "iou", "intersection", "union"), rows)


def write_image_table(path: str | os.PathLike[str], scores: Scores) -> None:
    """A CSV file with a row per image: path in the list, pixel accuracy (0 to 1), correct and labelled pixels."""
    rows = ((image.name, image.accuracy, image.correct, image.labelled) for image in scores.images)
    _write_csv(path, ("image", "pixel_accuracy", "correct", "labelled"), rows)


def write_json(path: str | os.PathLike[str], report: dict[str, Any]) -> None:
    """A JSON file; numbers that are not finite become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(_finite(report), indent=2, allow_nan=False) + "\n")


def scores_as_data(scores: Scores) -> dict[str, Any]:
    """The scores for JSON: fractions of 1, and pixels."""
    return {
        "num_classes": scores.num_classes,
        "images": len(scores.images),
        "mean_iou": scores.mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
        "correct": scores.correct,
        "labelled": scores.labelled,
        "classes": [
            {"train_id": index, "name": name, "iou": float(iou), "intersection": int(inter), "union": int(union)}
            for index, (name, iou, inter, union) in enumerate(
                zip(class_names(scores.num_classes), scores.iou, scores.intersection, scores.union, strict=True)
            )
        ],
        "per_image": [
            {
                "image": image.name,
                "pixel_accuracy": image.accuracy,
                "correct": image.correct,
                "labelled": image.labelled,
            }
            for image in scores.images
        ],
    }


def comparison(provenance: dict[str, Any], scores: Scores) -> dict[str, Any] | None:
    """Measured against published, percent, where the weights are known by their md5; None where they are not.

    The published figures belong to a split of Cityscapes and to all of its images, which this cannot verify.
    """
    known = by_md5(str(provenance.get("md5", "")))
    if known is None:
        return None
    compared: dict[str, Any] = {"weights": known.file, "split": known.split, "source": known.source}
    figures = {
        "mean_iou": (100 * scores.mean_iou, known.mean_iou),
        "pixel_accuracy": (100 * scores.pixel_accuracy, known.pixel_accuracy),
    }
    for name, (measured, published) in figures.items():
        difference = None if published is None else measured - published
        compared[name] = {"measured": measured, "published": published, "difference": difference}
    return compared


def comparison_text(compared: dict[str, Any], images: int) -> str:
    """One line about each published figure."""
    lines = [f"Published for {compared['weights']} on {compared['split']} ({compared['source']}):"]
    for key, name in (("mean_iou", "mean IoU"), ("pixel_accuracy", "pixel accuracy")):
        figure = compared[key]
        if figure["published"] is not None:
            lines.append(f"  {name} {figure['published']:.1f}%, here {figure['measured']:.2f}% on {images} images")
    return "\n".join(lines)


def timing_text(timing: dict[str, Any]) -> str:
    """One line: how many images were predicted in what time, and what each stage took on average."""
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in timing["mean_ms"].items() if ms is not None)
    per_image = f" (ms per image: {stages})" if stages else ""
    return f"{timing['images']} images predicted in {timing['wall_s']:.1f} s{per_image}"


def digest(path: Path) -> dict[str, str]:
    """A small file's name and SHA-256."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _percent(fraction: float) -> str:
    return "NaN%" if math.isnan(fraction) else f"{100 * fraction:.2f}%"


def _write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
