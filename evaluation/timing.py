"""``test_time``: the time of a forward pass, as the original's ``test_time.sh`` measures it with ``caffe time``.

The original times the merged net at 1025x2049 with batch 1, without the copies between host and device, and reports the
average over 100 passes and of each layer. So does this, with the weights given or, as the original, with random ones.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from prototxt.errors import InputError
from prototxt.files import whole_file
from pytorch_icnet import console, icnet
from pytorch_icnet.icnet import ICNet, check_size
from pytorch_icnet.known_weights import PUBLISHED_TIME_MS

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


def time_forward(model: nn.Module, x: torch.Tensor, iterations: int, warmup: int) -> Times:
    """Time ``iterations`` passes after ``warmup`` untimed ones, each finished on the device before the clock stops."""
    synchronize = _synchronizer(x.device)
    passes = []
    with torch.inference_mode():
        for number in range(warmup + iterations):
            synchronize()
            start = time.perf_counter()
            model(x)
            synchronize()
            if number >= warmup:
                passes.append(1000 * (time.perf_counter() - start))
    return Times(tuple(passes))


def time_layers(model: nn.Module, x: torch.Tensor, iterations: int) -> dict[str, float]:
    """Mean milliseconds of each of ``model``'s children, in the order in which they run.

    The device is waited for around every layer, so their sum is more than an undisturbed pass takes.
    """
    synchronize = _synchronizer(x.device)
    totals: dict[str, float] = {}
    starts: dict[str, float] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            synchronize()
            starts[name] = time.perf_counter()

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            synchronize()
            totals[name] = totals.get(name, 0.0) + 1000 * (time.perf_counter() - starts[name])

        return hook

    handles = []
    for name, child in model.named_children():
        handles += [child.register_forward_pre_hook(before(name)), child.register_forward_hook(after(name))]
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


def _synchronizer(device: torch.device) -> Callable[[], None]:
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def report(times: Times, layers: dict[str, float] | None, setting: dict[str, Any]) -> str:
    """The text that is printed and logged, in the words of ``caffe time``."""
    lines = [
        f"{setting['net']}: batch {setting['batch']}, {setting['height']}x{setting['width']}, {setting['precision']}, "
        f"{setting['device_name']}, {setting['threads']} threads, torch {setting['versions']['torch']}",
        "*** Benchmark begins ***",
        f"Testing for {len(times.passes)} iterations.",
    ]
    if layers is not None:
        lines.append("Average time per layer:")
        lines += [f"{name:>28} forward: {milliseconds:.4g} ms." for name, milliseconds in layers.items()]
    found = times.statistics()
    low, high = PUBLISHED_TIME_MS
    lines += [
        f"Average Forward pass: {found['mean']:.4g} ms.",
        f"Median {found['median']:.4g} ms, minimum {found['min']:.4g} ms, 95th percentile {found['p95']:.4g} ms.",
        f"Total Time: {sum(times.passes):.5g} ms.",
        "*** Benchmark ends ***",
        f"Published for the original: {low:.0f}~{high:.0f} ms on a TitanX (caffe time, merged net, "
        "1025x2049, batch 1), which is another machine.",
    ]
    return "\n".join(lines) + "\n"


@console.command("test_time", help=(__doc__ or "").partition("\n\n")[2])
@click.option("--weights", type=click.Path(dir_okay=False, path_type=Path), help="Default: random weights.")
@click.option("--device", default="auto", show_default=True, help="cuda, cpu, or auto.")
@click.option("--iterations", type=click.IntRange(1), default=100, show_default=True)
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Passes before the timed ones.")
@click.option("--height", type=click.IntRange(1), help="Of the input; default: the weights' own, 1025.")
@click.option("--width", type=click.IntRange(1), help="Of the input; default: the weights' own, 2049.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Processor threads; default: torch's choice.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True)
@click.option("--per-layer", is_flag=True, help="Also time each layer.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), default=Path("time.log"), show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as JSON.")
def main(
    weights: Path | None,
    device: str,
    iterations: int,
    warmup: int,
    height: int | None,
    width: int | None,
    batch: int,
    threads: int | None,
    precision: str,
    per_layer: bool,
    log: Path,
    json_file: Path | None,
) -> None:
    target = console.device(device)
    if precision == "tf32" and target.type != "cuda":
        raise InputError("--precision tf32 needs a GPU of NVIDIA")
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"

    model: ICNet = icnet(weights).eval()
    size = (height or model.input_size[0], width or model.input_size[1])
    check_size(*size)
    dtype = PRECISIONS[precision]
    model = model.to(target, dtype)
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(batch, 3, *size, generator=generator) * 255 - 110).to(target, dtype)

    times = time_forward(model, x, iterations, warmup)
    layers = time_layers(model, x, iterations) if per_layer else None
    setting = {
        "net": "ICNet, merged" + ("" if weights else ", random weights"),
        "weights": model.provenance or None,
        "batch": batch,
        "height": size[0],
        "width": size[1],
        "precision": precision,
        "device": str(target),
        "device_name": console.device_name(target),
        "threads": torch.get_num_threads(),
        "versions": console.versions(),
    }
    text = report(times, layers, setting)
    click.echo(text, nl=False)
    with whole_file(log) as temporary:
        temporary.write_text(text)
    if json_file:
        results = {
            **setting,
            "iterations": iterations,
            "warmup": warmup,
            "forward_ms": {**times.statistics(), "passes": times.passes},
            "layers_ms": layers,
            "published_ms": {"device": "TitanX", "range": PUBLISHED_TIME_MS},
        }
        with whole_file(json_file) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
