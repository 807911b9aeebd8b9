"""What a training tells: rows of CSV, TensorBoard's files where it is installed, a bar with the time left."""

from __future__ import annotations

import csv
import dataclasses
import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from icnet_common import console
from icnet_common.errors import InputError
from icnet_common.progress import ProgressBar

from .validate import Validation

logger = logging.getLogger(__name__)

SCORES = ("mean_iou", "pixel_accuracy", "validation_loss")
FIELDS = ("iteration", "loss", "lr", "seconds", "waiting", *SCORES)


@dataclass(frozen=True)
class Row:
    """One iteration."""

    iteration: int
    loss: float
    lr: float
    seconds: float
    waiting: float
    """Seconds of them in which the next batch was not yet there."""


class TrainingLog:
    """Writes ``log.csv``, and TensorBoard's files beside it.

    Args:
        folder: None: nothing is written or shown, as in the processes that do not lead.
        total: iterations, for the bar.
        first: iterations already done: rows of an earlier run after them are dropped.
        every: iterations per row; their loss, seconds and waiting are the mean over them.
        tensorboard: whether to write TensorBoard's files where it is installed.
    """

    def __init__(
        self, folder: Path | None, total: int = 0, first: int = 0, every: int = 10, *, tensorboard: bool = True
    ) -> None:
        self.every = every
        self._rows: list[Row] = []
        self._bar: ProgressBar | None = None
        self._writer: Any = None
        self._path = None if folder is None else folder / "log.csv"
        if folder is None or self._path is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        rows = pd.DataFrame(columns=FIELDS)
        if first and self._path.exists() and self._path.stat().st_size:
            rows = pd.read_csv(self._path, dtype=str, keep_default_na=False, on_bad_lines="skip")
            rows = rows.reindex(columns=FIELDS)
        kept = rows[pd.to_numeric(rows["iteration"], errors="coerce") <= first]
        kept.to_csv(self._path, index=False, lineterminator="\r\n")
        self._bar = ProgressBar(total, "training", unit="iterations", done=first)
        if tensorboard:
            with suppress(ImportError):
                tensorboard_writer = import_module("torch.utils.tensorboard").SummaryWriter
                self._writer = tensorboard_writer(str(folder), purge_step=first + 1)

    def step(self, row: Row) -> None:
        """Note an iteration."""
        if self._bar is None:
            return
        self._rows.append(row)
        self._bar.advance()
        if row.iteration % self.every:
            return
        columns = ("loss", "seconds", "waiting")
        means = {key: sum(getattr(each, key) for each in self._rows) / len(self._rows) for key in columns}
        self._bar.show(loss=f"{means['loss']:.3f}")
        self._write(row.iteration, {"lr": row.lr, **means})
        self._rows = []

    def validation(self, iteration: int, found: Validation) -> None:
        """Note a validation."""
        if self._path is None:
            return
        values = dataclasses.asdict(found)
        self._write(iteration, {"validation_loss": values.pop("loss"), **values})
        iou, accuracy = 100 * found.mean_iou, 100 * found.pixel_accuracy
        logger.info("iteration %d: mean IoU %.2f, pixel accuracy %.2f, loss %.4f", iteration, iou, accuracy, found.loss)

    def close(self) -> None:
        """Show no more."""
        if self._bar is not None:
            self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def _write(self, iteration: int, values: dict[str, float]) -> None:
        assert self._path is not None
        with self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, FIELDS).writerow(
                {"iteration": iteration, **{key: f"{value:.6g}" for key, value in values.items()}}
            )
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(key, value, iteration)


def read_log(path: Path) -> pd.DataFrame:
    """The rows of a ``log.csv``, numbers by :data:`FIELDS`; NaN where a row has none.

    Raises:
        InputError: the file cannot be read, or is no log of a training.
    """
    try:
        return pd.read_csv(path, dtype=str)[list(FIELDS)].astype(float)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not the log.csv of a training: {error}") from error


def summary(out: Path) -> dict[str, Any]:
    """A training's folder in short: its last iteration and loss, its best validation, and its files by name."""
    table = read_log(out / "log.csv")
    losses, validations = table["loss"].dropna(), table.dropna(subset=["mean_iou"])
    best = None
    if len(validations):
        row = validations.iloc[int(validations["mean_iou"].argmax())]
        scores = {str(key): float(value) for key, value in row.dropna().items() if key in SCORES}
        best = {"iteration": int(row["iteration"]), **scores}
    return {
        "iterations": int(table["iteration"].max()) if len(table) else 0,
        "loss": None if losses.empty else float(losses.iloc[-1]),
        "best": best,
        "folder": str(out),
        "files": sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")),
        "versions": console.versions(),
    }
