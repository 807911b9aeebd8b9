"""Whether an evaluation's memory grows with its list: ``python benchmarks/evaluation_memory.py [--images 5000]``.

Generates small images and labels and the weights of a narrow ICNet, evaluates them with icnet-eval in a process of its
own, and prints that process's peak of resident memory while it runs (Linux' VmHWM).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import pytorch_icnet
from pytorch_icnet.datasets.classes import PALETTE
from pytorch_icnet.imaging.images import write_label_map

SIZE = (64, 128)
ROOT = Path(__file__).resolve().parent.parent


def generate(folder: Path, count: int) -> None:
    """``count`` images of noise with labels, a list of them, and seeded weights."""
    random = np.random.default_rng(0)
    lines = []
    for number in range(count):
        coarse = random.integers(0, 19, (8, 16), dtype=np.uint8)
        labels = coarse.repeat(SIZE[0] // 8, axis=0).repeat(SIZE[1] // 16, axis=1)
        write_label_map(folder / "images" / f"{number:05d}.png", labels, PALETTE)
        write_label_map(folder / "labels" / f"{number:05d}.png", labels)
        lines.append(f"images/{number:05d}.png labels/{number:05d}.png\n")
    (folder / "list.txt").write_text("".join(lines))
    torch.manual_seed(0)
    torch.save(pytorch_icnet.icnet(width=0.125).state_dict(), folder / "narrow.pt")


def evaluate(folder: Path, every: int) -> list[tuple[int, int]]:
    """Evaluate the list; returns the peak so far, in KiB, each time that another ``every`` images were finished."""
    command = [sys.executable, "-m", "evaluation", "--list", "list.txt", "--weights", "narrow.pt", "--device", "cpu"]
    command += ["--input-size", "97", "161"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = folder / "results" / "journal.0.jsonl"
    peaks: list[tuple[int, int]] = []
    finished = position = peak = 0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.05)
            peak = peak_of(process.pid) or peak
            if journal.exists():
                with journal.open("rb") as stream:
                    stream.seek(position)
                    new = stream.read()
                finished, position = finished + new.count(b"\n"), position + len(new)
            if finished // every > len(peaks):
                peaks.append((finished, peak))
        if process.returncode:
            raise SystemExit(f"icnet-eval ended with exit code {process.returncode}")
    return [*peaks, (finished, peak)]


def peak_of(pid: int) -> int | None:
    """The peak of a process's resident memory, KiB; None once it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--every", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, options.images)
        start = time.perf_counter()
        peaks = evaluate(folder, options.every)
        seconds = time.perf_counter() - start
    first = peaks[0][1]
    for finished, peak in peaks:
        print(f"{finished:6d} images: peak {peak / 1024:7.1f} MiB ({100 * (peak / first - 1):+.2f} %)")
    print(f"{options.images} images in {seconds:.1f} s, reports included")


if __name__ == "__main__":
    main()
