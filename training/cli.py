"""``icnet-train``: train or fine-tune ICNet on Cityscapes, generated scenes or one's own images."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch

from evaluation.data.labels import KINDS
from evaluation.data.lists import data_root
from evaluation.run.distributed import Group, processes
from icnet_common import console
from icnet_common.console import FILE, FOLDER, PATH
from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from pytorch_icnet import ICNet
from pytorch_icnet import options as shared
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE
from pytorch_icnet.datasets.tables import read_table
from pytorch_icnet.icnet import check_size
from pytorch_icnet.runtime.devices import device_name, find_device

if TYPE_CHECKING:
    from .recipes.recipe import Recipe


@console.command("icnet-train")
@click.option("--recipe", "recipe_name", default="icnet", show_default=True, help="A recipe's name, or a .yaml file.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: optimizer.lr=0.005.")
@click.option("--data-root", "root", type=FOLDER, help="Where paths start.  [default: CITYSCAPES_DATASET, or here]")
@click.option("--list", "list_file", help="Images and labels to learn from.  [default: all of the split train]")
@click.option("--val-list", help="Images to validate with; none: do not.  [default: all of the split val, if there]")
@shared.classes
@click.option("--label-kind", type=click.Choice(KINDS), help="What labels hold.  [default: what they are called]")
@click.option("--supervisely", type=FILE, help="A train configuration of Supervisely; --data-root is a project then.")
@click.option("--weights", type=PATH, help="Begin with these: a caffemodel, a safetensors file or a checkpoint.")
@click.option("--out", type=FOLDER, default=Path("training-out"), show_default=True, help="For checkpoints and logs.")
@click.option("--resume", is_flag=True, help="Go on with the training in --out, where there is one.")
@shared.device
@click.option("--to-caffe", is_flag=True, help="At the end also write the kept weights as prototxt and caffemodel.")
@click.option("--max-iterations", type=click.IntRange(1), help="Stop there, with the rates of the whole training.")
@click.option("--input-size", type=click.IntRange(1), nargs=2, metavar="H W", help="Of the net, for validation.")
@click.option("--prune", type=click.FloatRange(0, 1, min_open=True), metavar="RATE", help="Keep this share of filters.")
@click.option("--prune-steps", type=click.IntRange(1), default=2, show_default=True, help="Each is trained whole.")
@click.option("--measure-memory", is_flag=True, help="Show what a training costs in memory and time; no data needed.")
@click.option(
    "--size", type=click.IntRange(1), nargs=2, metavar="H W", help="To measure.  [default: 832 832, then 1025 2049]"
)
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True, help="To measure: images per iteration.")
@click.option("--timeout", type=click.FloatRange(1), default=1800, show_default=True, help="Of other processes, s.")
@console.json_file
def main(
    device: str,
    timeout: float,
    json_file: Path | None,
    measure_memory: bool,
    size: tuple[int, int] | None,
    batch: int,
    supervisely: Path | None,
    **options: Any,
) -> None:
    """Train ICNet with cascade label guidance; under torchrun on several GPUs.

    With --prune the net of --weights loses the filters that weigh least, in steps, each followed by a training.

    The results are OUT/best.safetensors and OUT/last.safetensors, which every command takes, OUT/log.csv, and
    OUT/last.pt, with which --resume goes on.
    """
    chosen = find_device(device)
    if measure_memory:
        costs = _measure(chosen, options["recipe_name"], options["changes"], size, batch)
        _write_json(json_file, {"device": device_name(chosen), "costs": costs, "versions": console.versions()})
        return
    with processes(chosen.type, timeout) as group:
        if group.device != "cpu":
            chosen = torch.device(group.device)
        if supervisely is not None:
            _train_supervisely(chosen, group, supervisely, options)
        else:
            _train(chosen, group, **options)
        if group.is_main:
            from .summary import summary

            _write_json(json_file, summary(options["out"]))


def _write_json(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")


def _measure(
    device: torch.device, recipe_name: str, changes: tuple[str, ...], size: tuple[int, int] | None, batch: int
) -> list[dict[str, Any]]:
    recipe = _recipe(recipe_name, changes)
    from . import memory
    from .build import ON_GRID
    from .validate import input_size_for

    sizes = memory.SIZES if size is None else (size,)
    click.echo(f"{device_name(device)}: the peak while training, {memory.TIMED} iterations timed")
    click.echo(memory.HEADER)
    costs = []
    for wanted in sizes:
        cost = memory.measure(
            recipe, input_size_for(wanted) if recipe.model.network in ON_GRID else wanted, batch, device
        )
        click.echo(memory.line(recipe.model.network, cost))
        costs.append({"network": recipe.model.network, **dataclasses.asdict(cost)})
    return costs


def _train(
    device: torch.device,
    group: Group,
    *,
    recipe_name: str,
    changes: tuple[str, ...],
    root: Path | None,
    list_file: str | None,
    val_list: str | None,
    classes: Path | None,
    label_kind: str | None,
    weights: Path | None,
    out: Path,
    resume: bool,
    to_caffe: bool,
    max_iterations: int | None,
    input_size: tuple[int, int] | None,
    prune: float | None,
    prune_steps: int,
) -> None:
    recipe = _recipe(recipe_name, changes)
    from .build import ON_GRID, start
    from .data import source_of
    from .job import Job, check_free
    from .to_caffe import write_caffe_models
    from .validate import input_size_for

    if prune is not None and weights is None:
        raise click.UsageError("--prune takes filters out of trained weights: give them with --weights")
    if prune is not None and max_iterations is not None:
        raise click.UsageError("--prune trains each step whole: set train.iterations in place of --max-iterations")
    if to_caffe and recipe.model.network != "icnet":
        raise click.UsageError(f"--to-caffe: {recipe.model.network} is no net of Caffe's")
    on_grid = recipe.model.network in ON_GRID
    if on_grid and recipe.data.crop is not None:
        check_size(*recipe.data.crop)
    _repeatable(recipe.train.deterministic)
    where = data_root(root)
    table = CITYSCAPES_TABLE if classes is None else read_table(classes)
    source = source_of(where, list_file, table=table, label_kind=label_kind)
    val_source = None
    if val_list != "none" and (val_list is not None or list_file is None):
        val_source = source_of(where, val_list, split="val", table=table, label_kind=label_kind)
    check_free(out, resume)
    begin = start(recipe, table.num_classes, weights)
    if input_size is not None and on_grid:
        check_size(*input_size)
    if input_size is not None:
        begin.model.card = replace(begin.model.card, input_size=input_size)
    elif weights is None and on_grid:
        shape = (val_source or source).read(0)[1].shape
        size = input_size_for((shape[0], shape[1]))
        begin.model.card = replace(begin.model.card, input_size=size)
    if group.is_main:
        click.echo(f"{len(source.entries)} images, {table.num_classes} classes, {device_name(device)}")
        if weights is not None:
            click.echo(begin.table())
    job = Job(recipe, source, val_source, device, group, resume, max_iterations, click.echo)
    kept = job.train(begin, out) if prune is None else job.compress(begin, out, prune, prune_steps)
    if group.is_main and to_caffe and isinstance(kept, ICNet):
        for path in write_caffe_models(out, "icnet", kept):
            click.echo(path)


def _train_supervisely(device: torch.device, group: Group, config: Path, options: dict[str, Any]) -> None:
    """The options that a configuration speaks for are refused."""
    spoken_for = ("list_file", "val_list", "classes", "label_kind", "input_size", "prune", "to_caffe")
    if (given := next((name for name in spoken_for if options[name]), None)) is not None:
        flag = "--list" if given == "list_file" else f"--{given.replace('_', '-')}"
        raise click.UsageError(f"{flag} does not go with --supervisely, whose configuration and project decide")
    if options["root"] is None:
        raise click.UsageError("--supervisely: give the project with --data-root")
    _recipe("supervisely", options["changes"])
    from pytorch_icnet.supervisely import read_project, read_train_config

    from .supervisely.job import on_gpus, train

    settings = read_train_config(config)
    train(
        settings,
        read_project(options["root"]),
        options["out"],
        weights=options["weights"],
        device=on_gpus(settings, device, group),
        group=group,
        changes=options["changes"],
        resume=options["resume"],
        until=options["max_iterations"],
        show=click.echo,
    )


def _recipe(name: str, changes: tuple[str, ...]) -> Recipe:
    try:
        from .recipes.recipe import read_recipe
    except ImportError as error:
        raise InputError(f"recipes need PyYAML ({error}): pip install 'pytorch-icnet[train]'") from error
    return read_recipe(name, changes)


def _repeatable(deterministic: bool) -> None:
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
