"""``python -m pytorch_icnet.supervisely``: apply a network to a Supervisely project, as a configuration says."""

from __future__ import annotations

from pathlib import Path

import click

from icnet_common import console

from ..runtime import BACKENDS, PRECISIONS
from .apply import apply_config

_PATH = click.Path(path_type=Path)


@console.command("python -m pytorch_icnet.supervisely")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--weights", type=_PATH, required=True, help="A checkpoint folder of a training, or a file of weights.")
@click.option("--project", type=_PATH, required=True, help="The folder of the project.")
@click.option("--output", type=_PATH, required=True, help="The folder of the project that is made.")
@click.option("--device", default="auto", show_default=True, help="cuda, cpu, or auto.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True)
@click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True)
def main(config: Path, weights: Path, project: Path, output: Path, device: str, precision: str, backend: str) -> None:
    """Apply a network to the images of a Supervisely project, as the inference configuration CONFIG says.

    The new project has the images, their annotations, and in these a bitmap per class that was found.
    """
    count = apply_config(config, weights, project, output, device=device, precision=precision, backend=backend)
    click.echo(f"{output}: {count} images")
