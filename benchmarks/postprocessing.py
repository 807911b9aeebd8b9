"""Time from scores to label map, against the share of undecided cells, and from image to blob.

``python -m benchmarks.postprocessing [--threads 2] [--rounds 9] [--device cpu]``

A cell is the square between four neighbouring scores; it is decided where the four have the same best class by a
margin. Trained nets leave about 5 % undecided, seeded weights on real images 46 %, white noise all of them. The forms
take turns; tables go to the screen and to postprocessing.md, the plot to postprocessing.png. ``labels differ`` counts
the pixels of all maps that are not as in the plain form.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pytorch_icnet.imaging import implementations, imresize, postprocess, preprocess
from pytorch_icnet.imaging.fused.tiles import tiling
from pytorch_icnet.imaging.fused.torch_labels import _clear_tops, _tile_tops
from pytorch_icnet.imaging.imresize import Taps, plan
from pytorch_icnet.imaging.normalization import CAFFE
from pytorch_icnet.runtime.devices import device_name

CLASSES, CORNERS, FULL_SIZE, SIZE = 19, (257, 513), (1025, 2049), (1024, 2048)
SHARES = (0.05, 0.25, 0.46, 0.75, 1.0)

WHOLE = "whole"
"""The plain steps on whole tensors: what the other forms are measured against, and slow."""

Times = dict[str, list[float]]
"""Seconds of each round, by the name of the form."""
ByShare = dict[str, dict[float, list[float]]]
"""The same for several maps, by their undecided share."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    choices = (WHOLE, *implementations.IMPLEMENTATIONS)
    parser.add_argument("--forms", nargs="+", choices=choices, default=choices, help="which to compare")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of undecided cells, about")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)

    maps = {undecided(scores): scores.to(device) for scores in map(scores_with, options.shares)}
    labels: ByShare = {name: {} for name in label_forms(options.forms, device)}
    wrong = dict.fromkeys(labels, 0)
    for share, scores in maps.items():
        expected = postprocess(scores, SIZE, form="plain")
        calls = {name: partial(form, scores) for name, form in label_forms(options.forms, device).items()}
        for name, call in calls.items():
            wrong[name] += int((call() != expected).sum())
        for name, times in interleaved(calls, options.rounds, device).items():
            labels[name][share] = times

    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    blobs = interleaved(blob_forms(rgb, options.forms, device), options.rounds, device)
    text = "\n\n".join([heading(options, device), labels_table(labels, wrong), blobs_table(blobs)]) + "\n"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "postprocessing.md").write_text(text)
    plot(labels, options.output / "postprocessing.png")


def scores_with(share: float, seed: int = 0) -> torch.Tensor:
    """Seeded scores of which about ``share`` of the cells are undecided: noise, on a grid as coarse as it takes."""
    finest, coarsest = 1.0, 128.0
    scores = noise(finest, seed)
    while share < 1 and coarsest / finest > 1.01:
        grain = (coarsest * finest) ** 0.5
        scores = noise(grain, seed)
        finest, coarsest = (grain, coarsest) if undecided(scores) > share else (finest, grain)
    return scores


def noise(grain: float, seed: int) -> torch.Tensor:
    """Scores that vary over about ``grain`` of their own distances."""
    rng = np.random.default_rng(seed)
    height, width = (max(2, round(length / grain)) for length in CORNERS)
    coarse = torch.from_numpy(rng.normal(0, 3, (1, CLASSES, height, width)).astype(np.float32))
    return coarse[0] if grain == 1 else F.interpolate(coarse, CORNERS, mode="bicubic", align_corners=True)[0]


def undecided(scores: torch.Tensor) -> float:
    """The share of the cells that have to be evaluated."""
    geometry = tiling(FULL_SIZE, SIZE, 4)
    return float((_tile_tops(_clear_tops(scores), geometry.rows, geometry.columns) < 0).float().mean())


def label_forms(names: Sequence[str], device: torch.device) -> dict[str, Callable[[torch.Tensor], Any]]:
    """What is compared: the whole map in torch, and the forms that run here."""
    whole = {"whole map in torch": whole_map} if WHOLE in names else {}
    own = {name: partial(postprocess, size=SIZE, form=name) for name in names if name != WHOLE and usable(name, device)}
    return {**whole, **own}


def usable(form: str, device: torch.device) -> bool:
    try:
        implementations.choose(form, device)
    except ValueError:
        return False
    return True


def whole_map(scores: torch.Tensor) -> Any:
    """The plain steps, one after the other, on tensors of the full size."""
    planned = plan(FULL_SIZE, SIZE)
    full = F.interpolate(scores[None], FULL_SIZE, mode="bilinear", align_corners=True)
    probabilities = resized(resized(full.softmax(dim=1)[0], planned.rows, 1), planned.columns, 2)
    return probabilities.argmax(dim=0).to(torch.uint8).cpu().numpy()


def resized(planes: torch.Tensor, taps: Taps, axis: int) -> torch.Tensor:
    """One pass of imresize, in double."""
    used = [k for k in range(taps.weights.shape[1]) if taps.weights[:, k].any()]
    total = torch.zeros((), dtype=torch.float64, device=planes.device)
    for k in used:
        weight = torch.from_numpy(taps.weights[:, k].copy()).to(planes.device)
        index = torch.from_numpy(taps.indices[:, k].copy()).to(planes.device)
        total = total + planes.index_select(axis, index) * (weight[:, None] if axis == 1 else weight)
    return total.float()


def blob_forms(rgb: Any, names: Sequence[str], device: torch.device) -> dict[str, Callable[[], Any]]:
    image = torch.from_numpy(rgb).to(device)
    own = {name: partial(preprocess, image, form=name) for name in names if name != WHOLE and usable(name, device)}
    return {"imresize, then subtract": lambda: CAFFE.blob(imresize(rgb, FULL_SIZE)), **own}


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> Times:
    """Seconds of each call in each round, after one that does not count."""
    times: Times = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def heading(options: argparse.Namespace, device: torch.device) -> str:
    height, width = SIZE
    return (
        f"{device_name(device)}, {options.threads} threads, torch {torch.__version__}; {CLASSES} classes, "
        f"{FULL_SIZE[0]}x{FULL_SIZE[1]} to {height}x{width}; "
        f"milliseconds, median (minimum) of {options.rounds} interleaved rounds"
    )


def labels_table(labels: ByShare, wrong: dict[str, int]) -> str:
    shares = list(next(iter(labels.values())))
    rows = [[name, *map(milliseconds, times.values()), str(wrong[name])] for name, times in labels.items()]
    return markdown(["scores to label map; undecided:", *(f"{share:.0%}" for share in shares), "labels differ"], rows)


def blobs_table(blobs: Times) -> str:
    return markdown(["image to blob", "time"], [[name, milliseconds(times)] for name, times in blobs.items()])


def milliseconds(times: list[float]) -> str:
    return f"{1e3 * median(times):.1f} ({1e3 * min(times):.1f})"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(labels: ByShare, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No plot: that needs matplotlib (pip install 'pytorch-icnet[plot]').")
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, table in labels.items():
        shares = [100 * share for share in table]
        axes.plot(shares, [1e3 * median(times) for times in table.values()], marker="o", label=name)
    axes.set(xlabel="undecided cells, %", ylabel="scores to label map, ms", yscale="log", xlim=(0, 102))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
