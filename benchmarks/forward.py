"""The forward pass of ICNet in this project, beside what one would use instead.

``python -m benchmarks.forward [--precision fp32 bf16] [--threads 2] [--rounds 9] [--device cpu]``

From a prepared image (1x3x1025x2049) to the scores at a quarter of the resolution. Each candidate runs in a process of
its own; they take turns, one pass each, so that whatever else the machine does meets all of them. Ratios are those of
medians. The error is the largest difference of a score from float64, over the largest score. Candidates that are not
installed are named and left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from icnet_common import console
from pytorch_icnet.runtime.devices import device_name

from .rivals import OURS, PEERS, REFERENCE, Setting
from .worker import Worker

ORIGINAL_SECONDS = 0.93
"""The original Caffe with OpenBLAS on two processor cores, measured on another machine."""

_PAUSE = 0.05
"""Seconds between passes, in which threads of the last candidate that still wait for work go to sleep."""


@dataclass(frozen=True)
class Row:
    """A candidate's seconds, and its error; or why there are none."""

    name: str
    seconds: Sequence[float] = ()
    error: float = 0.0
    failure: str | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, nargs=2, default=(1025, 2049), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*PEERS, *OURS], default=[*PEERS, *OURS], help="the candidates")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    height, width = options.size
    tables = {}
    for precision in options.precision:
        setting = Setting(precision, (height, width), options.batch, options.threads, options.device)
        tables[precision] = compared(options.only, setting, options.rounds)
    text = "\n\n".join([heading(options), *(table(rows, precision) for precision, rows in tables.items())]) + "\n"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "forward.md").write_text(text)
    plot(tables, options.output / "forward.png")


def compared(names: Sequence[str], setting: Setting, rounds: int) -> list[Row]:
    """All candidates in turn, ``rounds`` times."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{number}.pt" for number, name in enumerate([REFERENCE, *names])}
        Worker(REFERENCE, setting, files[REFERENCE]).close()
        exact = torch.load(files[REFERENCE])
        workers = {}
        for name in names:
            print(f"preparing {name}, {setting.precision}", file=sys.stderr, flush=True)
            workers[name] = Worker(name, setting, files[name])
        print(f"measuring {setting.precision}", file=sys.stderr, flush=True)
        seconds: dict[str, list[float]] = {name: [] for name, worker in workers.items() if worker.failure is None}
        for _ in range(rounds + 1):
            for name, times in seconds.items():
                time.sleep(_PAUSE)
                times.append(workers[name].seconds())
        rows = []
        for name, worker in workers.items():
            worker.close()
            if worker.failure is None:
                difference = (torch.load(files[name]).double() - exact).abs().max() / exact.abs().max()
                rows.append(Row(name, seconds[name][1:], float(difference)))
            else:
                rows.append(Row(name, failure=worker.failure))
    return rows


def fastest_peer(rows: Sequence[Row]) -> float:
    """The smallest median of those that are not this project's; NaN where none ran."""
    return min((median(row.seconds) for row in rows if row.name in PEERS and row.seconds), default=float("nan"))


def heading(options: argparse.Namespace) -> str:
    """Which machine, which versions, which setting."""
    versions = ", ".join(f"{name} {version}" for name, version in console.versions().items())
    height, width = options.size
    return (
        f"Forward pass, batch {options.batch}, {height}x{width}, {device_name(torch.device(options.device))}, "
        f"{options.threads} of {os.cpu_count()} threads, {options.rounds} rounds, {platform.system()}; {versions}"
    )


def table(rows: Sequence[Row], precision: str) -> str:
    """Markdown."""
    fastest = fastest_peer(rows)
    lines = [
        f"| {precision} | median s | minimum s | of the fastest peer | of Caffe's {ORIGINAL_SECONDS} s | error |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.failure is not None:
            lines.append(f"| {row.name} | not run: {row.failure[:80].replace('|', '/')} | | | | |")
            continue
        middle = median(row.seconds)
        lines.append(
            f"| {row.name} | {middle:.4f} | {min(row.seconds):.4f} | {middle / fastest:.3f} | "
            f"{middle / ORIGINAL_SECONDS:.3f} | {row.error:.1e} |"
        )
    return "\n".join(lines)


def plot(tables: dict[str, list[Row]], path: Path) -> None:
    """Bars: the medians, with all rounds as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(
        1, len(tables), figsize=(7 * len(tables), 4.5), squeeze=False, constrained_layout=True
    )
    for axes, (precision, rows) in zip(all_axes[0], tables.items(), strict=True):
        shown = sorted((row for row in rows if row.seconds), key=lambda row: -median(row.seconds))
        colours = ["tab:blue" if row.name in OURS else "tab:gray" for row in shown]
        axes.barh([row.name for row in shown], [median(row.seconds) for row in shown], color=colours, alpha=0.6)
        for place, row in enumerate(shown):
            axes.plot(row.seconds, [place] * len(row.seconds), ".", color="black", markersize=3)
        axes.set_title(precision)
        axes.set_xlabel("seconds")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
