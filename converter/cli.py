"""``icnet-convert``: Caffe weights to PyTorch, checked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from icnet_common import console
from icnet_common.console import FOLDER, PATH
from pytorch_icnet.weights.convert import conversion_of, net_of

from .catalogue import catalogue_text
from .convert import ConversionOptions, show_summary
from .export.formats import FORMATS


def _formats(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for value in values for name in value.split(",")] or ["safetensors"]
    for name in names:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


@console.command("icnet-convert")
@click.argument("weights", type=PATH, required=False)
@click.option("--prototxt", type=PATH, help="The net; default: the ICNet that fits the weights.")
@click.option(
    "--to",
    "formats",
    multiple=True,
    callback=_formats,
    help=f"Write as: {', '.join(FORMATS)}; several with commas, or the option again. Default: safetensors.",
)
@click.option(
    "--output",
    type=PATH,
    help="Default: WEIGHTS.safetensors (and the like) beside it. Of several formats, each gets its own suffix.",
)
@click.option("--fold-bn", is_flag=True, help="Fold normalisation and scales into the layers that they follow.")
@click.option("--verify/--no-verify", "verified", default=True, show_default=True, help="Compare layer by layer.")
@click.option(
    "--reference",
    type=PATH,
    help="Compare with activations of a real Caffe: an npz file, or a folder of npy files.",
)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), help="The largest relative error; default: each check's own."
)
@click.option(
    "--report",
    "report_folder",
    type=FOLDER,
    help="Write every comparison here, as a CSV and as a picture of error against depth.",
)
@click.option(
    "--caffe-faithful",
    is_flag=True,
    help="pytorch-semseg's or Supervisely's weights as Caffe's net, for --to safetensors.",
)
@click.option("--lenient", is_flag=True, help="Layers that the file lacks keep their fillers, as in Caffe.")
@click.option("--allow-md5-mismatch", is_flag=True, help="Convert a file that has a published name and other content.")
@click.option("--summary", "summarised", is_flag=True, help="Show the net of --prototxt (or WEIGHTS) and stop.")
@click.option("--layers", "list_layers", is_flag=True, help="List the supported layer types and stop.")
@console.json_file
def main(weights: Path | None, summarised: bool, list_layers: bool, **options: Any) -> None:
    """Convert WEIGHTS, a caffemodel or a checkpoint of ICNet's variants, to a safetensors file, or to other formats.

    The file is checked against the published md5 sums; its net is chosen by what it contains; every layer must get its
    weights; the converted graph is compared with the hand-written ICNet, and folded batch normalisation with unfolded.

    With --prototxt it converts any other net. Checkpoints of PyTorch are read as data: no code in them is run.
    """
    if list_layers:
        click.echo(catalogue_text(), nl=False)
    elif summarised and (weights or options["prototxt"]):
        show_summary(net_of(weights, options["prototxt"]), options["json_file"])
    elif weights is None:
        raise click.UsageError("give a weights file, or --summary with --prototxt")
    else:
        conversion_of(ConversionOptions(weights, **options)).convert()


if __name__ == "__main__":
    main()
