"""What came of a training, for machines."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from icnet_common import console

from .log import FIELDS

_SCORES = ("mean_iou", "pixel_accuracy", "validation_loss")


def summary(out: Path) -> dict[str, Any]:
    """A training's folder in short: its last iteration and loss, its best validation, and its files by name."""
    with (out / "log.csv").open(newline="") as stream:
        rows = [{key: float(row[key]) for key in FIELDS if row.get(key)} for row in csv.DictReader(stream)]
    losses = [row for row in rows if "loss" in row]
    validations = [row for row in rows if "mean_iou" in row]
    best = max(validations, key=lambda row: row["mean_iou"], default=None)
    return {
        "iterations": int(max((row["iteration"] for row in rows), default=0)),
        "loss": losses[-1]["loss"] if losses else None,
        "best": best and {"iteration": int(best["iteration"]), **{key: best[key] for key in _SCORES if key in best}},
        "folder": str(out),
        "files": sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")),
        "versions": console.versions(),
    }
