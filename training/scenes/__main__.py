"""``python -m training.scenes``: write generated street scenes in Cityscapes' layout."""

from __future__ import annotations

from pathlib import Path

import click

from icnet_common import console
from icnet_common.console import FILE, FOLDER

from .scene import SIZE, write_list, write_scenes


@console.command("training.scenes")
@click.option("--root", type=FOLDER, required=True, help="Folder of the data.")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of scenes.")
@click.option("--split", default="train", show_default=True)
@click.option("--city", default="scenes", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the series of scenes.")
@click.option("--size", type=click.IntRange(32), nargs=2, default=SIZE, show_default=True, help="Height and width.")
@click.option("--list", "list_file", type=FILE, help="Write the list file too.")
def main(
    root: Path, count: int, split: str, city: str, seed: int, size: tuple[int, int], list_file: Path | None
) -> None:
    """Write generated street scenes with all 19 classes of Cityscapes, in its layout, with label maps of trainIds.

    They are for trying the tools without Cityscapes; scores on them say nothing about real images.
    """
    lines = write_scenes(root, count, split, city, seed, size)
    if list_file:
        write_list(list_file, lines)
    click.echo(f"{count} scenes in {root}" + (f", listed in {list_file}" if list_file else ""))


if __name__ == "__main__":
    main()
