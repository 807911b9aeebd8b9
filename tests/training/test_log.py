"""The log: rows of CSV, and the same values for TensorBoard."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path

import pytest

from training.log import Row, TrainingLog
from training.validate import Validation


def written(folder: Path, first: int, last: int) -> None:
    log = TrainingLog(folder, total=last, first=first, every=2)
    for iteration in range(first + 1, last + 1):
        log.step(Row(iteration, 1 / iteration, 0.01 * iteration, 0.2, 0.01 * iteration))
    log.validation(last, Validation(0.25 + last / 100, 0.875, 1.5))
    log.close()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_are_means_of_their_iterations(tmp_path: Path) -> None:
    written(tmp_path, 0, 4)
    found = rows(tmp_path)
    assert [row["iteration"] for row in found] == ["2", "4", "4"]
    assert float(found[0]["loss"]) == pytest.approx((1 + 1 / 2) / 2) and float(found[0]["lr"]) == pytest.approx(0.02)
    assert float(found[1]["waiting"]) == pytest.approx(0.035)
    assert (found[2]["loss"], found[2]["mean_iou"], found[2]["validation_loss"]) == ("", "0.29", "1.5")


def test_rows_after_the_state_that_is_gone_on_with_are_dropped(tmp_path: Path) -> None:
    written(tmp_path, 0, 6)
    written(tmp_path, 4, 8)
    assert [row["iteration"] for row in rows(tmp_path)] == ["2", "4", "6", "8", "8"]


def test_tensorboard_shows_the_values_of_the_rows(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written(tmp_path, 0, 6)
    written(tmp_path, 4, 8)
    events = accumulator.EventAccumulator(str(tmp_path), purge_orphaned_data=True).Reload()
    expected: dict[str, dict[int, float]] = {}
    for row in rows(tmp_path):
        for key, value in row.items():
            if key != "iteration" and value:
                expected.setdefault(key, {})[int(row["iteration"])] = float(value)
    assert sorted(events.Tags()["scalars"]) == sorted(expected) and len(expected) == 7
    for key, values in expected.items():
        shown = {event.step: event.value for event in events.Scalars(key)}
        assert shown == pytest.approx(values, rel=1e-5), key


def test_without_tensorboard_there_are_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("training.log.import_module", absent)
    written(tmp_path, 0, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    assert tuple(rows(tmp_path)[0]) == importlib.import_module("training.log").FIELDS
