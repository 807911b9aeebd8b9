"""``test_time``: the time of a forward pass, as the original's ``test_time.sh`` measures it with ``caffe time``.

The original times the merged net at 1025x2049 with batch 1, without the copies between host and device, and reports the
average over 100 passes and of each layer. So does this, with the weights given or, as the original, with random ones,
and by the fastest backend that there is. Then it times the whole way from a PNG file in memory to the label map.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from icnet_common import console
from icnet_common.console import FILE
from icnet_common.files import atomic_write, write_json
from pytorch_icnet import options as shared
from pytorch_icnet.runtime import PRECISIONS
from pytorch_icnet.runtime.devices import arithmetic, check_precision, find_device

from . import caffe, mmseg


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
@click.option("--rewrite/--no-rewrite", default=True, help="Whether to apply the exact rewrites.  [default: yes]")
@click.option("--per-layer", is_flag=True, help="Also time each layer.")
@click.option("--forward-only", is_flag=True, help="Leave out the way from PNG to label map.")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PNG or JPEG; default: a made-up PNG."
)
@click.option("--log", type=FILE, default=Path("time.log"), show_default=True)
@console.json_file
def main(protocol: str, device: str, log: Path, json_file: Path | None, **given: Any) -> None:
    target = find_device(device)
    check_precision(given["precision"], target)
    if given["threads"]:
        torch.set_num_threads(given["threads"])
    if protocol == mmseg.FAMILY:
        text, results = _mmseg(target, given)
    else:
        given["iterations"] = given["iterations"] or caffe.TIMED
        text, results = caffe.CaffeTime(target, **given).run()
    click.echo(text, nl=False)
    with atomic_write(log) as temporary:
        temporary.write_text(text)
    if json_file:
        write_json(json_file, results)


_AS_THEY_ARE = {"batch": 1, "backend": "auto", "rewrite": True, "per_layer": False, "image": None}
"""Options that mean nothing to mmsegmentation's benchmark, and their defaults."""


def _mmseg(device: torch.device, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if any(given[name] != default for name, default in _AS_THEY_ARE.items()):
        raise click.UsageError("--protocol mmseg times networks as they are, on single made-up images, not layers")
    with arithmetic(given["precision"]):
        return mmseg.benchmark(
            given["weights"],
            device,
            size=(given["height"] or mmseg.INPUT_SIZE[0], given["width"] or mmseg.INPUT_SIZE[1]),
            iterations=given["iterations"] or mmseg.TIMED,
            warmup=given["warmup"],
            dtype=PRECISIONS[given["precision"]],
            training_gb=_training_gb if device.type == "cuda" else None,
        )


def _training_gb(network: str) -> float:
    """Of training one of mmsegmentation's networks as it was measured for publication, on a GPU."""
    from training import memory
    from training.recipes.recipe import read_recipe

    recipe = read_recipe(f"{network}-80k")
    cost = memory.measure(recipe, memory.PUBLISHED_SIZE, memory.PUBLISHED_BATCH, torch.device("cuda"))
    return cost.peak / 2**30
