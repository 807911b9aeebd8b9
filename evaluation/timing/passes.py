"""Benchmarks: forward pass, per layer, and end to end, from an image file to its label map."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from icnet_common import console
from pytorch_icnet.arrays import Size
from pytorch_icnet.imaging import postprocess, preprocess
from pytorch_icnet.imaging.images import decode_image
from pytorch_icnet.runtime import Engine
from pytorch_icnet.runtime.devices import device_name
from pytorch_icnet.runtime.work import synchronize

STAGES = ("decode", "prepare", "forward", "label map")
"""End to end: PNG to RGB; resizing and mean; the net to its quarter scores; these to the label map."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of each pass, in order."""

    passes: tuple[float, ...]

    def statistics(self) -> dict[str, float]:
        """Median, mean, minimum, 95th percentile (nearest rank) and maximum, in milliseconds."""
        ordered = sorted(self.passes)
        rank = max(0, -(-95 * len(ordered) // 100) - 1)
        return {
            "median": statistics.median(ordered),
            "mean": statistics.fmean(ordered),
            "min": ordered[0],
            "p95": ordered[rank],
            "max": ordered[-1],
        }


def setting_of(device: torch.device, size: Size, batch: int, iterations: int, warmup: int) -> dict[str, Any]:
    """What every report says of a benchmark: sizes, passes, machine and versions."""
    return {
        "batch": batch,
        "height": size[0],
        "width": size[1],
        "iterations": iterations,
        "warmup": warmup,
        "device": str(device),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": console.versions(),
    }


def time_forward(forward: Callable[[torch.Tensor], object], x: torch.Tensor, iterations: int, warmup: int) -> Times:
    """Time ``iterations`` passes after ``warmup`` untimed ones, each finished on the device before the clock stops."""
    passes = []
    with torch.inference_mode():
        for number in range(warmup + iterations):
            synchronize(x.device)
            start = time.perf_counter()
            forward(x)
            synchronize(x.device)
            if number >= warmup:
                passes.append(1000 * (time.perf_counter() - start))
    return Times(tuple(passes))


def time_layers(model: nn.Module, x: torch.Tensor, iterations: int) -> dict[str, float]:
    """Mean milliseconds of each of ``model``'s children, in the order in which they run.

    The device is waited for around every layer, so their sum is more than an undisturbed pass takes.
    """
    totals: dict[str, float] = {}
    starts: dict[str, float] = {}

    def before(name: str, *_: object) -> None:
        synchronize(x.device)
        starts[name] = time.perf_counter()

    def after(name: str, *_: object) -> None:
        synchronize(x.device)
        totals[name] = totals.get(name, 0.0) + 1000 * (time.perf_counter() - starts[name])

    handles = []
    for name, child in model.named_children():
        handles.append(child.register_forward_pre_hook(partial(before, name)))
        handles.append(child.register_forward_hook(partial(after, name)))
    try:
        with torch.inference_mode():
            model(x)  # once untimed
            totals.clear()
            for _ in range(iterations):
                model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / iterations for name, total in totals.items()}


def time_end_to_end(run: Engine, png: bytes, iterations: int, warmup: int) -> dict[str, Times]:
    """Time each of :data:`STAGES`, and all together as ``"total"``, one image after the other.

    Args:
        run: gives quarter scores.
        png: an image file.
        iterations: passes that count, after ``warmup`` that do not.
    """
    request = run.request
    marks: list[list[float]] = []
    for number in range(warmup + iterations):
        synchronize(request.device)
        clock = [time.perf_counter()]

        def mark(clock: list[float] = clock) -> None:
            synchronize(request.device)
            clock.append(time.perf_counter())

        rgb = decode_image(png, "the image")
        mark()
        blob = preprocess(torch.from_numpy(rgb).to(request.device), request.size)
        mark()
        scores = run(blob)
        mark()
        postprocess(scores, (rgb.shape[0], rgb.shape[1]), full_size=request.size)
        mark()
        if number >= warmup:
            marks.append(clock)
    clocks = 1000 * np.array(marks)
    stages = dict(zip(STAGES, np.diff(clocks).T, strict=True))
    stages["total"] = clocks[:, -1] - clocks[:, 0]
    return {name: Times(tuple(map(float, times))) for name, times in stages.items()}


def street_like_png(size: Size) -> bytes:
    """A seeded image of (height, width) ``size`` that is about as hard to decode as a photograph: 3 MB at 1024x2048."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (max(size[0] // 32, 1), max(size[1] // 32, 1), 3), np.uint8)
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    noise = generator.integers(-1, 2, (*size, 3), np.int16)
    image = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", image)[1])
