"""Memory does not grow with the list by anything of an image's size."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.data.lists import Entry
from evaluation.run.execute import Run
from icnet_common import console
from icnet_common.progress import LogFile
from pytorch_icnet.imaging.images import write_label_map

from .test_pipeline import Quarter, outputs_of, predictor_of, scoring_of

SIZE = (32, 64)
"""A label map of this size is 2 KB, an image 6 KB, a blob 25 KB, quarter scores 11 KB."""


def test_nothing_of_an_image_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    entries = []
    for number in range(240):
        cv2.imwrite(str(tmp_path / f"{number}.png"), random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        write_label_map(tmp_path / f"{number}_label.png", random.integers(0, 19, SIZE, dtype=np.uint8))
        entries.append(Entry(f"{number}.png", f"{number}_label.png", number + 1))
    taken: list[int] = []

    def echo(line: str) -> None:
        place = len(taken)
        gc.collect() if place in (80, 239) else None
        taken.append(tracemalloc.get_traced_memory()[0])

    run = Run(predictor_of(Quarter()), scoring_of(tmp_path), outputs_of(tmp_path / "out"), workers=1)
    run.execute(entries[:8], LogFile(), resume=False)  # compiles what is compiled once
    monkeypatch.setattr(console, "echo", echo)
    gc.collect()
    tracemalloc.start()
    try:
        run.execute(entries, LogFile(), resume=False)
    finally:
        tracemalloc.stop()
    grown = (taken[239] - taken[80]) / (239 - 80)
    assert grown < 2000, "bytes per image: less than a label map; an image's own numbers are about 800"
