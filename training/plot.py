"""``python -m training.plot LOG.csv``: a training's log as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from icnet_common import console
from icnet_common.console import FILE
from icnet_common.errors import InputError
from icnet_common.files import atomic_write

from .log import read_log

Curve = tuple[list[int], list[float]]
"""Iterations, and the values at them."""


def read_curves(path: Path) -> dict[str, Curve]:
    """The columns of a ``log.csv`` with numbers in them, by name.

    Raises:
        InputError: the file cannot be read, or is no log of a training.
    """
    table = read_log(path).set_index("iteration")
    columns = [table[name].dropna() for name in table]
    curves = {str(each.name): (each.index.astype(int).tolist(), each.tolist()) for each in columns if len(each)}
    if "loss" not in curves:
        raise InputError(f"{path}: not the log.csv of a training: no losses in it")
    return curves


def draw(curves: dict[str, Curve]) -> Any:
    """Losses above, the validations' scores below, if any. Raises InputError where matplotlib is not installed."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"curves need matplotlib ({error}): pip install 'pytorch-icnet[plot]'") from error
    rcParams["svg.hashsalt"] = "icnet"  # the same bytes each time
    validated = "mean_iou" in curves
    figure = Figure(figsize=(8, 5 if validated else 3), layout="constrained")
    axes = figure.subplots(2 if validated else 1, sharex=True, squeeze=False)[:, 0]
    axes[0].plot(*curves["loss"], linewidth=0.6, label="cascade loss, training")
    if validated:
        axes[0].plot(*curves["validation_loss"], marker=".", label="loss at 1/4, validation")
        for key, label in (("mean_iou", "mean IoU"), ("pixel_accuracy", "pixel accuracy")):
            iterations, shares = curves[key]
            axes[1].plot(iterations, [100 * share for share in shares], marker=".", label=label)
        axes[1].set(ylabel="%", ylim=(0, 100))
    axes[0].set(ylabel="loss", yscale="log")
    axes[-1].set_xlabel("iteration")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


@console.command("training.plot")
@click.argument("log", type=FILE)
@click.option("--output", type=FILE, help="SVG, PNG or PDF.  [default: LOG.svg]")
def main(log: Path, output: Path | None) -> None:
    """Draw the losses and the validations' scores of LOG, a training's log.csv."""
    output = output or log.with_suffix(".svg")
    figure = draw(read_curves(log))
    known = figure.canvas.get_supported_filetypes()
    kind = output.suffix.removeprefix(".").lower()
    if kind not in known:
        raise InputError(f"{output}: no kind of image; expected {', '.join(sorted(known))}")
    with atomic_write(output) as temporary:
        figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)
    click.echo(output)


if __name__ == "__main__":
    main()
