"""Generated data in Cityscapes' layout, with everything that its scripts treat specially."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE

SIZE = (96, 160)
"""Height and width."""


def annotation(seed: int, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """A polygon annotation: every label, groups, deleted objects, licence plates, points outside of the image."""
    random = np.random.default_rng(seed)
    names = [entry.name for entry in CITYSCAPES_TABLE.entries if entry.label_id]
    groups = [f"{entry.name}group" for entry in CITYSCAPES_TABLE.entries if entry.has_instances]
    labels = [*names, *groups, "license plate", "skygroup"] * 2
    random.shuffle(labels)
    objects = []
    for number, label in enumerate(labels):
        polygon = _polygon(random, size)
        item: dict[str, Any] = {"label": label, "polygon": polygon.tolist()}
        if number % 9 == 4:
            item["deleted"] = 1
        objects.append(item)
    return {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}


def _polygon(random: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    count = int(random.integers(2, 25))
    angle = np.sort(random.uniform(0, 2 * np.pi, count))
    radius = random.uniform(2, 0.3 * size[1]) * random.uniform(0.3, 1, count)
    centre = random.uniform(0, size[::-1])
    points = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)
    rounded: npt.NDArray[np.int64] = np.rint(points).astype(np.int64)
    return rounded


def write_annotation(path: Path, seed: int) -> None:
    path.write_text(json.dumps(annotation(seed)) + "\n")
