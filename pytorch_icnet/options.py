"""The options that several commands share, as decorators: their types, defaults and help texts stand once."""

from __future__ import annotations

import click

from icnet_common.console import FILE

from .imaging.normalization import NORMALIZATIONS
from .runtime import BACKENDS, PRECISIONS

device = click.option("--device", default="auto", show_default=True, help="cuda, cpu, or auto.")
precision = click.option(
    "--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True, help="Of floating point."
)
backend = click.option(
    "--backend", type=click.Choice(BACKENDS), default="auto", show_default=True, help="What runs the network."
)
threads = click.option("--threads", type=click.IntRange(1), help="Of the processor.  [default: torch's choice]")
input_size = click.option(
    "--input-size", type=click.IntRange(1), nargs=2, metavar="H W", help="Default: the weights' own."
)
pixels = click.option(
    "--pixels",
    type=click.Choice(list(NORMALIZATIONS)),
    help="Colours that the network is fed.  [default: the network's own]",
)
alpha = click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the overlay's colours."
)
classes = click.option("--classes", type=FILE, help="A table of classes (CSV or JSON) of another data set.")
