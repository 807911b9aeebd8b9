"""What came of a training, for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnet_common import console

from .log import read_log

_SCORES = ("mean_iou", "pixel_accuracy", "validation_loss")


def summary(out: Path) -> dict[str, Any]:
    """A training's folder in short: its last iteration and loss, its best validation, and its files by name."""
    table = read_log(out / "log.csv")
    losses, validations = table["loss"].dropna(), table.dropna(subset=["mean_iou"])
    best = None
    if len(validations):
        row = validations.iloc[int(validations["mean_iou"].argmax())]
        scores = {str(key): float(value) for key, value in row.dropna().items() if key in _SCORES}
        best = {"iteration": int(row["iteration"]), **scores}
    return {
        "iterations": int(table["iteration"].max()) if len(table) else 0,
        "loss": None if losses.empty else float(losses.iloc[-1]),
        "best": best,
        "folder": str(out),
        "files": sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")),
        "versions": console.versions(),
    }
