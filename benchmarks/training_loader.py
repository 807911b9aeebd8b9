"""How much of a training is spent waiting for images: ``python benchmarks/training_loader.py [--workers 0 1 2]``.

Draws scenes onto the disk, trains on them with the recipe demo (a quarter of the width) and different numbers of
processes that read, and prints the share of the time in which the next batch was not yet there; the first iterations,
in which these processes start, are left out.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from training.build import start
from training.data import source_of
from training.log import Row, TrainingLog
from training.loop import Trainer
from training.recipes.recipe import read_recipe
from training.scenes import write_scenes

SIZE = (257, 513)
SCENES = 32


class Rows(TrainingLog):
    """Keeps the iterations."""

    def __init__(self) -> None:
        super().__init__(None)
        self.rows: list[Row] = []

    def step(self, row: Row) -> None:
        self.rows.append(row)


def train(folder: Path, workers: int, iterations: int, device: torch.device) -> list[Row]:
    """The iterations of a training with so many reading processes."""
    recipe = read_recipe("demo", [f"data.workers={workers}"])
    begin = start(recipe, 19)
    begin.model.card = replace(begin.model.card, input_size=SIZE)
    log = Rows()
    Trainer(recipe, begin, source_of(folder), folder / "out", device=device).run(log=log, until=iterations)
    return log.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--first", type=int, default=10, help="iterations that are left out")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"{options.device}, {threads} threads; {options.iterations - options.first} iterations of the recipe demo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder, SCENES, size=SIZE)
        for workers in options.workers:
            rows = train(folder, workers, options.iterations, torch.device(options.device))[options.first :]
            seconds, waiting = sum(row.seconds for row in rows), sum(row.waiting for row in rows)
            print(
                f"{workers} workers: {seconds / len(rows):.3f} s per iteration, {waiting / len(rows):.4f} s of them "
                f"waiting ({waiting / seconds:.1%})"
            )


if __name__ == "__main__":
    main()
