"""``test_time``: the time of a forward pass, as the original's ``test_time.sh`` measures it with ``caffe time``.

The original times the merged net at 1025x2049 with batch 1, without the copies between host and device, and reports the
average over 100 passes and of each layer. So does this, with the weights given or, as the original, with random ones,
and by the fastest backend that there is. Then it times the whole road from a PNG file in memory to the label map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch

from icnet_common import console
from icnet_common.console import FILE
from icnet_common.errors import InputError
from icnet_common.files import atomic_write, write_json
from pytorch_icnet import icnet
from pytorch_icnet import options as shared
from pytorch_icnet.icnet import INPUT_SIZE as ICNET_SIZE
from pytorch_icnet.icnet import ICNet, folded
from pytorch_icnet.imaging.images import decode_image
from pytorch_icnet.runtime import PRECISIONS, engine
from pytorch_icnet.runtime.devices import device_name, find_device
from pytorch_icnet.runtime.precision import arithmetic, check
from pytorch_icnet.runtime.work import Ceilings, PassCost, ceilings, work
from pytorch_icnet.variants import NAMES
from pytorch_icnet.variants.mmseg import FAMILY, INPUT_SIZE
from pytorch_icnet.weights.checkpoints import ICNET, read_checkpoint
from pytorch_icnet.weights.known import PUBLISHED_TIME_MS

from . import mmseg
from .passes import Times, street_like_png, time_forward, time_layers, time_road

CAFFE_ITERATIONS = 100
"""Of the original's ``test_time.sh``."""


def speed(done: PassCost, milliseconds: float, limits: Ceilings) -> dict[str, float]:
    """What a pass reaches, per second, beside what the machine does."""
    seconds = milliseconds / 1000
    return {
        "flop": done.flop,
        "bytes": done.bytes,
        "flop_per_second": done.flop / seconds,
        "bytes_per_second": done.bytes / seconds,
        "ceiling_flop_per_second": limits.flop,
        "ceiling_bytes_per_second": limits.bytes,
    }


def report(
    times: Times,
    layers: Mapping[str, float] | None,
    reached: Mapping[str, float],
    road: Mapping[str, Times] | None,
    setting: Mapping[str, Any],
) -> str:
    """The text that is printed and logged, in the words of ``caffe time``."""
    lines = [
        f"{setting['net']}: batch {setting['batch']}, {setting['height']}x{setting['width']}, {setting['precision']}, "
        f"{setting['device_name']}, {setting['threads']} threads, torch {setting['versions']['torch']}, "
        f"backend {setting['backend']}{'' if setting['rewritten'] else ', not rewritten'}",
        *(f"Note: {note}." for note in setting["notes"]),
        "*** Benchmark begins ***",
        f"Testing for {len(times.passes)} iterations.",
    ]
    if layers is not None:
        lines.append("Average time per layer, as PyTorch runs the layers one by one:")
        lines += [f"{name:>28} forward: {milliseconds:.4g} ms." for name, milliseconds in layers.items()]
    found = times.statistics()
    low, high = PUBLISHED_TIME_MS
    giga = {name: value / 1e9 for name, value in reached.items()}
    lines += [
        f"Average Forward pass: {found['mean']:.4g} ms.",
        f"Median {found['median']:.4g} ms, minimum {found['min']:.4g} ms, 95th percentile {found['p95']:.4g} ms.",
        f"Total Time: {sum(times.passes):.5g} ms.",
        f"Convolutions: {giga['flop']:.4g} GFLOP at {giga['flop_per_second']:.4g} GFLOP/s, where torch's product of "
        f"matrices reaches {giga['ceiling_flop_per_second']:.4g}; {giga['bytes']:.3g} GB at "
        f"{giga['bytes_per_second']:.3g} GB/s, where a copy reaches {giga['ceiling_bytes_per_second']:.3g}.",
        "*** Benchmark ends ***",
        f"Published for the original: {low:.0f}~{high:.0f} ms on a TitanX (caffe time, merged net, "
        "1025x2049, batch 1), which is another machine.",
    ]
    if road is not None:
        medians = {name: stage.statistics()["median"] for name, stage in road.items()}
        stages = ", ".join(f"{name} {median:.4g}" for name, median in medians.items() if name != "total")
        lines += [
            f"From a PNG file to its label map, medians in ms: {stages}; together {medians['total']:.4g}. "
            "The forward pass ends at the quarter scores here.",
        ]
    return "\n".join(lines) + "\n"


@console.command("test_time", help=(__doc__ or "").partition("\n\n")[2])
@click.option("--weights", type=FILE, help="Default: random weights.")
@shared.device
@click.option("--iterations", type=click.IntRange(1), help="[default: 100; 195 with --protocol mmseg]")
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Passes before the timed ones.")
@click.option("--height", type=click.IntRange(1), help="Of the input; default: the weights' own, 1025.")
@click.option("--width", type=click.IntRange(1), help="Of the input; default: the weights' own, 2049.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@shared.threads
@shared.precision
@click.option(
    "--protocol",
    type=click.Choice(["caffe", "mmseg"]),
    default="caffe",
    show_default=True,
    help="mmseg: as mmsegmentation's benchmark, its networks at 1024x2048 from image to label map.",
)
@shared.backend
@click.option("--no-rewrite", is_flag=True, help="Run the net as it is, without the exact rewrites.")
@click.option("--per-layer", is_flag=True, help="Also time each layer.")
@click.option("--forward-only", is_flag=True, help="Leave out the road from PNG to label map.")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PNG or JPEG; default: a made-up PNG."
)
@click.option("--log", type=FILE, default=Path("time.log"), show_default=True)
@console.json_file
def main(
    weights: Path | None,
    device: str,
    iterations: int | None,
    warmup: int,
    height: int | None,
    width: int | None,
    batch: int,
    threads: int | None,
    precision: str,
    protocol: str,
    backend: str,
    no_rewrite: bool,
    per_layer: bool,
    forward_only: bool,
    image: Path | None,
    log: Path,
    json_file: Path | None,
) -> None:
    target = find_device(device)
    check(precision, target)
    if threads:
        torch.set_num_threads(threads)
    if protocol == FAMILY:
        if per_layer or batch != 1 or image is not None or no_rewrite or backend != "auto":
            raise click.UsageError("--protocol mmseg times networks as they are, on single made-up images, not layers")
        with arithmetic(precision):
            text, results = mmseg.benchmark(
                weights,
                target,
                size=(height or INPUT_SIZE[0], width or INPUT_SIZE[1]),
                iterations=iterations or mmseg.TIMED,
                warmup=warmup,
                dtype=PRECISIONS[precision],
                training_gb=_training_gb if target.type == "cuda" else None,
            )
        _publish(text, results, log, json_file)
        return

    model = _model(weights)
    own = model.card.input_size or ICNET_SIZE
    size = (height or own[0], width or own[1])
    run = engine(model, target, precision, size, batch, backend, rewrite=not no_rewrite, full=True, threads=threads)
    png = None if forward_only or batch > 1 else _image_file(image, size)
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(batch, 3, *size, generator=generator) * 255 - 110).to(target)

    iterations = iterations or CAFFE_ITERATIONS
    times = time_forward(run, x, iterations, warmup)
    dtype = run.request.dtype
    with arithmetic(precision):
        layers = time_layers(model.to(target, dtype), x.to(dtype), iterations) if per_layer else None
    road = None if png is None else time_road(dataclasses.replace(run, quarter=True), png, iterations, warmup)
    done = work(run.request.module, x.shape, precision)
    reached = speed(done, times.statistics()["median"], ceilings(target, precision))
    setting = {
        "net": "ICNet, merged" + ("" if weights else ", random weights"),
        "weights": model.card.weights_data() or None,
        "batch": batch,
        "height": size[0],
        "width": size[1],
        "device": str(target),
        "device_name": device_name(target),
        "versions": console.versions(),
        **run.as_data(),
    }
    results = {
        **setting,
        "iterations": iterations,
        "warmup": warmup,
        "forward_ms": {**times.statistics(), "passes": times.passes},
        "layers_ms": layers,
        "road_ms": road and {name: stage.statistics() for name, stage in road.items()},
        "speed": reached,
        "published_ms": {"device": "TitanX", "range": PUBLISHED_TIME_MS},
    }
    _publish(report(times, layers, reached, road, setting), results, log, json_file)


def _model(weights: Path | None) -> ICNet:
    if weights is None:
        return icnet().eval()
    checkpoint = read_checkpoint(weights)
    family = checkpoint.architecture
    if family != ICNET:
        advice = f"--protocol {FAMILY} times it" if family == FAMILY else "only Caffe's and mmsegmentation's are timed"
        raise InputError(f"{weights}: {NAMES[family]}; {advice}")
    return folded(checkpoint.model()).eval()


def _publish(text: str, results: Mapping[str, Any], log: Path, json_file: Path | None) -> None:
    click.echo(text, nl=False)
    with atomic_write(log) as temporary:
        temporary.write_text(text)
    if json_file:
        write_json(json_file, results)


def _training_gb(network: str) -> float:
    """Of training one of mmsegmentation's networks as it was measured for publication, on a GPU."""
    from training import memory
    from training.recipes.recipe import read_recipe

    recipe = read_recipe(f"{network}-80k")
    cost = memory.measure(recipe, memory.PUBLISHED_SIZE, memory.PUBLISHED_BATCH, torch.device("cuda"))
    return cost.peak / 2**30


def _image_file(image: Path | None, size: tuple[int, int]) -> bytes:
    """The user's, whole and readable, or one that is made up, for blobs of ``size``."""
    if image is None:
        return street_like_png((size[0] - 1, size[1] - 1))
    content = image.read_bytes()
    decode_image(content, image)
    return content
