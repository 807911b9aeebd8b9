"""A small evaluation for processes of its own: generated images and labels, a list, and a narrow ICNet's weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pytorch_icnet.imaging.images import write_label_map

from ..nets import seeded

ROOT = Path(__file__).parents[2]


def make_small(root: Path, count: int, size: tuple[int, int] = (64, 128)) -> Path:
    """Images in i/, labels in l/, list.txt and small.pt below ``root``."""
    random = np.random.default_rng(0)
    (root / "i").mkdir(parents=True)
    lines = []
    for number in range(count):
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "i" / f"{number:05d}.png"), cv2.resize(coarse, size[::-1]))
        label = cv2.resize(random.integers(0, 19, (4, 6), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        write_label_map(root / "l" / f"{number:05d}.png", np.asarray(label, np.uint8))
        lines.append(f"i/{number:05d}.png l/{number:05d}.png\n")
    (root / "list.txt").write_text("".join(lines))
    torch.save(seeded().state_dict(), root / "small.pt")
    return root


def command(*arguments: str, processes: int | None = None) -> list[str]:
    """The command line of an evaluation in a folder that :func:`make_small` made; under torchrun with ``processes``."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    evaluation = ["-m", "evaluation", "--list", "list.txt", "--weights", "small.pt", "--input-size", "97", "161"]
    return [sys.executable, *torchrun, *evaluation, "--device", "cpu", *arguments]


def environment(**more: str) -> dict[str, str]:
    """For :func:`command`: the repository is importable, and the number of threads is the machine's."""
    found = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return {**found, "PYTHONPATH": str(ROOT), **more}


def evaluate(root: Path, *arguments: str, processes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run :func:`command` to its end."""
    return subprocess.run(
        command(*arguments, processes=processes),
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def report(root: Path, save_root: str) -> dict[str, Any]:
    """The JSON report, without the timing."""
    data: dict[str, Any] = json.loads((root / save_root / "report.json").read_text())
    assert data.pop("timing")["images"] >= 0
    return data


def contents(root: Path, save_root: str) -> dict[str, bytes]:
    """The files that two equal runs have in common, hidden ones included: all but the logs and what holds timing."""
    folder = root / save_root
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix not in (".txt", ".json", ".jsonl", ".html") and path.is_file()
    }
