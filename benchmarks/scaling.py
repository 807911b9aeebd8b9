"""How the time of ICNet grows with threads, batch, image size and the number of images.

``python -m benchmarks.scaling [--precision fp32] [--backend auto] [--rounds 5] [--device cpu]``

Medians of the engine's forward pass, and of the road from RGB images to label maps; all points take turns. A line of
slope 1 in the plots is a cost that grows in proportion.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pytorch_icnet.imaging import postprocess, preprocess
from pytorch_icnet.runtime import BACKENDS, Engine, engine
from pytorch_icnet.runtime.devices import device_name
from pytorch_icnet.runtime.work import synchronize

from .rivals import network

Size = tuple[int, int]

SIZE: Size = (1025, 2049)
SIZES: tuple[Size, ...] = ((257, 513), (513, 1025), (769, 1537), SIZE, (1537, 3073), (2049, 4097))
BATCHES = (1, 2, 4, 8)
IMAGES = (1, 2, 4, 8, 16)


@dataclass
class Point:
    """One measurement: what varies, how often the smallest amount of work it is, and its seconds."""

    series: str
    amount: float
    call: Callable[[], object]
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(max(options.threads))

    points = made(options, device)
    for number in range(options.rounds + 1):
        for point in points:
            synchronize(device)
            start = time.perf_counter()
            point.call()
            synchronize(device)
            if number:
                point.seconds.append(time.perf_counter() - start)
    text = f"{options.precision}, {device_name(device)}, medians of {options.rounds} rounds\n\n{table(points)}\n"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scaling.md").write_text(text)
    plot(points, options.output / "scaling.png")


def made(options: argparse.Namespace, device: torch.device) -> list[Point]:
    """Everything that is to be measured."""
    net, threads = network(), max(options.threads)

    def prepared(size: Size = SIZE, batch: int = 1, threads: int = threads) -> Engine:
        return engine(net, device, options.precision, size, batch, options.backend, threads=threads)

    def forward(size: Size = SIZE, batch: int = 1, threads: int = threads) -> Callable[[], object]:
        run, x = prepared(size, batch, threads), torch.rand(batch, 3, *size, device=device) * 255 - 110
        return lambda: run(x)

    points = [Point("pixels", size[0] * size[1] / (SIZES[0][0] * SIZES[0][1]), forward(size)) for size in SIZES]
    points += [Point("batch", batch, forward(batch=batch)) for batch in BATCHES]
    points += [Point("threads", number, forward(threads=number)) for number in options.threads]
    rgb = np.random.default_rng(0).integers(0, 256, (SIZE[0] - 1, SIZE[1] - 1, 3), np.uint8)
    run = prepared()

    def road(images: int) -> Callable[[], object]:
        def call() -> None:
            for _ in range(images):
                blob = preprocess(torch.from_numpy(rgb).to(device), SIZE)
                postprocess(run(blob), (rgb.shape[0], rgb.shape[1]), full_size=SIZE)

        return call

    return points + [Point("images, to label maps", count, road(count)) for count in IMAGES]


def table(points: list[Point]) -> str:
    """Markdown; the last column is constant where the cost is proportional."""
    lines = ["| varied | amount | median s | s per amount |", "|---|---|---|---|"]
    for point in points:
        middle = median(point.seconds)
        lines.append(f"| {point.series} | {point.amount:.4g} | {middle:.4f} | {middle / point.amount:.4f} |")
    return "\n".join(lines)


def plot(points: list[Point], path: Path) -> None:
    """A panel for each of what varies, both axes logarithmic, with the line of proportion through the middle point."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(point.series for point in points))
    figure, all_axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.6), constrained_layout=True)
    for axes, name in zip(all_axes, names, strict=True):
        shown = [point for point in points if point.series == name]
        amounts = np.array([point.amount for point in shown])
        medians = np.array([median(point.seconds) for point in shown])
        middle = len(shown) // 2
        slope = -1 if name == "threads" else 1
        axes.loglog(amounts, medians, "o-")
        axes.loglog(amounts, medians[middle] * (amounts / amounts[middle]) ** slope, ":", color="gray")
        axes.set_xticks(amounts, [f"{amount:.3g}" for amount in amounts])
        axes.set_xticks([], minor=True)
        axes.set_yticks(medians, [f"{seconds:.2g}" for seconds in medians])
        axes.set_yticks([], minor=True)
        axes.set_xlabel(name)
        axes.set_ylabel("seconds")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
