"""``python -m pytorch_icnet.supervisely``: apply a network to a Supervisely project, as a configuration says."""

from __future__ import annotations

from pathlib import Path

import click

from icnet_common import console
from icnet_common.console import FILE, PATH

from .. import options as shared
from .apply import apply_config


@console.command("python -m pytorch_icnet.supervisely")
@click.argument("config", type=FILE)
@click.option("--weights", type=PATH, required=True, help="A checkpoint folder of a training, or a file of weights.")
@click.option("--project", type=PATH, required=True, help="The folder of the project.")
@click.option("--output", type=PATH, required=True, help="The folder of the project that is made.")
@shared.device
@shared.precision
@shared.backend
def main(config: Path, weights: Path, project: Path, output: Path, device: str, precision: str, backend: str) -> None:
    """Apply a network to the images of a Supervisely project, as the inference configuration CONFIG says.

    The new project has the images, their annotations, and in these a bitmap per class that was found.
    """
    count = apply_config(config, weights, project, output, device=device, precision=precision, backend=backend)
    click.echo(f"{output}: {count} images")


if __name__ == "__main__":
    main(prog_name="python -m pytorch_icnet.supervisely")
