"""The text that an evaluation prints; for the official protocol, the original's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..protocols import ImageScore, Result, Table

_PIXELS = np.integer
"""The kind of columns that the text leaves out."""


def image_line(number: int, total: int, image: ImageScore) -> str:
    """The line that the original prints for an image; ``number`` counts from 1."""
    return f"Evaluating {number}/{total}... Pixel-wise accuracy: {percent(image.accuracy)}"


def official_summary(result: Result) -> str:
    """The original's summary, without a line end."""
    lines = ["==== Summary IoU ===="]
    for number, (name, iou) in enumerate(zip(result.classes.rows, result.classes.columns["iou"], strict=True), start=1):
        lines.append(f"{number:3d} {name:>16}: {iou:.4f}")
    lines.append(f"Mean IoU over {len(result.classes.rows)} classes: {percent(result['mean_iou'])}")
    lines.append(f"Pixel-wise Accuracy: {percent(result['pixel_accuracy'])}")
    return "\n".join(lines)


def summary(result: Result) -> str:
    """Any protocol's summary: its tables, its figures under the names that its own programs use, and its notes."""
    if result.protocol == "official":
        return official_summary(result)
    lines = [f"==== {result.protocol} ({result.source}) ===="]
    for table in (result.classes, result.categories):
        if table is not None:
            lines += _table(table)
    lines += [f"{figure.name}: {percent(figure.value)}" for figure in result.figures]
    lines += [f"Note: {note}" for note in result.notes]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    """Lines of a table: a head and a row per name, percent; columns of pixels are left out."""
    shown = {key: values for key, values in table.columns.items() if not np.issubdtype(values.dtype, _PIXELS)}
    lines = [" " * 20 + "".join(f"{key:>12}" for key in shown)]
    for row, name in enumerate(table.rows):
        cells = "".join(f"{percent(float(values[row])):>12}" for values in shown.values())
        lines.append(f"{row + 1:3d} {name:>16}{cells}")
    return lines


def comparison(compared: dict[str, Any], images: int) -> str:
    """One line about each published figure."""
    hint = ", by the name of the file" if compared.get("by_name") else ""
    lines = [f"Published for {compared['weights']}{hint}, on {compared['split']} ({compared['source']}):"]
    for key, name in (("mean_iou", "mean IoU"), ("pixel_accuracy", "pixel accuracy")):
        figure = compared[key]
        if figure["published"] is not None:
            lines.append(f"  {name} {figure['published']:g}%, here {figure['measured']:.2f}% on {images} images")
    return "\n".join(lines)


def timing(timing: dict[str, Any]) -> str:
    """One line: how many images were predicted in what time, and what each stage took on average."""
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in timing["mean_ms"].items() if ms is not None)
    per_image = f" (ms per image: {stages})" if stages else ""
    return f"{timing['images']} images predicted in {timing['wall_s']:.1f} s{per_image}"


def percent(fraction: float) -> str:
    """As the original prints it."""
    return "NaN%" if math.isnan(fraction) else f"{100 * fraction:.2f}%"
