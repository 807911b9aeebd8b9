"""``icnet-train``: train or fine-tune ICNet on Cityscapes, generated scenes or one's own images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import torch

from evaluation.data.labels import KINDS
from evaluation.data.lists import data_root
from evaluation.run.distributed import Group, processes
from icnet_common import console
from icnet_common.console import FILE, FOLDER, PATH
from icnet_common.files import write_json
from pytorch_icnet import ICNet
from pytorch_icnet import options as shared
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE
from pytorch_icnet.datasets.tables import read_table
from pytorch_icnet.icnet import SIZES
from pytorch_icnet.runtime.devices import device_name, find_device
from pytorch_icnet.supervisely import read_project, read_train_config

from . import memory
from .build import ON_GRID, start
from .data import source_of
from .job import TrainingPlan, TrainingStep, check_free, pruning_steps, train, trained_network
from .log import summary
from .loop import Trainer
from .recipes.recipe import read_recipe
from .supervisely.job import on_gpus, plan_project
from .to_caffe import write_caffe_models
from .validate import input_size_for


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
def main(**given: Any) -> None:
    """Train ICNet with cascade label guidance; under torchrun on several GPUs.

    With --prune the net of --weights loses the filters that weigh least, in steps, each followed by a training.

    The results are OUT/best.safetensors and OUT/last.safetensors, which every command takes, OUT/log.csv, and
    OUT/last.pt, with which --resume goes on.
    """
    options = SimpleNamespace(**given)
    device = find_device(options.device)
    if options.measure_memory:
        costs = _measure(options, device)
        if options.json_file is not None:
            report = {"device": device_name(device), "costs": costs, "versions": console.versions()}
            write_json(options.json_file, report)
        return
    with processes(device.type, options.timeout) as group:
        if group.device != "cpu":
            device = torch.device(group.device)
        make_plan = _plan_lists if options.supervisely is None else _plan_project
        plan = make_plan(options, device, group)
        if group.is_main:
            click.echo(plan.introduction)
        steps: Iterable[TrainingStep] = [TrainingStep(plan.begin, options.out)]
        if options.prune is not None:
            steps = pruning_steps(plan.begin, options.out, options.prune, options.prune_steps)
        for step in steps:
            if group.is_main and step.title:
                click.echo(step.title)
            trainer = plan.trainer(step.begin, step.folder)
            train(trainer, resume=options.resume, until=options.max_iterations)
            if group.is_main:
                click.echo(trainer.outcome())
        if group.is_main:
            if options.to_caffe:
                for path in write_caffe_models(options.out, "icnet", cast(ICNet, trained_network(options.out))):
                    click.echo(path)
            if options.json_file is not None:
                write_json(options.json_file, summary(options.out))


def _measure(options: SimpleNamespace, device: torch.device) -> list[dict[str, Any]]:
    recipe = read_recipe(options.recipe_name, options.changes)
    network = recipe.model.network
    click.echo(f"{device_name(device)}: the peak while training, {memory.TIMED} iterations timed")
    click.echo(memory.HEADER)
    costs = []
    for wanted in memory.SIZES if options.size is None else (options.size,):
        size = input_size_for(wanted) if network in ON_GRID else wanted
        cost = memory.measure(recipe, size, options.batch, device)
        click.echo(memory.line(network, cost))
        costs.append({"network": network, **dataclasses.asdict(cost)})
    return costs


def _plan_lists(options: SimpleNamespace, device: torch.device, group: Group) -> TrainingPlan:
    recipe = read_recipe(options.recipe_name, options.changes)
    on_grid = recipe.model.network in ON_GRID
    if options.prune is not None and options.weights is None:
        raise click.UsageError("--prune takes filters out of trained weights: give them with --weights")
    if options.prune is not None and options.max_iterations is not None:
        raise click.UsageError("--prune trains each step whole: set train.iterations in place of --max-iterations")
    if options.to_caffe and recipe.model.network != "icnet":
        raise click.UsageError(f"--to-caffe: {recipe.model.network} is no net of Caffe's")
    for size in (recipe.data.crop, options.input_size):
        if on_grid and size is not None:
            SIZES.check(*size)
    table = CITYSCAPES_TABLE if options.classes is None else read_table(options.classes)
    images = partial(source_of, data_root(options.root), table=table, label_kind=options.label_kind)
    source, val_source = images(options.list_file), None
    if options.val_list != "none" and (options.val_list is not None or options.list_file is None):
        val_source = images(options.val_list, split="val")
    check_free(options.out, options.resume)
    begin = start(recipe, table.num_classes, options.weights)
    size = options.input_size
    if size is None and options.weights is None and on_grid:
        size = input_size_for((val_source or source).read(0)[1].shape)
    if size is not None:
        begin.model.card = dataclasses.replace(begin.model.card, input_size=size)
    lines = [f"{len(source.entries)} images, {table.num_classes} classes, {device_name(device)}"]
    lines += [begin.table()] if options.weights is not None else []
    trainer = partial(Trainer, recipe, source=source, val_source=val_source, device=device, group=group)
    return TrainingPlan(begin, lambda begin, out: trainer(begin, out=out), "\n".join(lines))


def _plan_project(options: SimpleNamespace, device: torch.device, group: Group) -> TrainingPlan:
    """A training of a Supervisely configuration, on a project. The options that these speak for are refused."""
    spoken_for = ("list_file", "val_list", "classes", "label_kind", "input_size", "prune", "to_caffe")
    if (given := next((name for name in spoken_for if getattr(options, name)), None)) is not None:
        flag = "--list" if given == "list_file" else f"--{given.replace('_', '-')}"
        raise click.UsageError(f"{flag} does not go with --supervisely, whose configuration and project decide")
    if options.root is None:
        raise click.UsageError("--supervisely: give the project with --data-root")
    config = read_train_config(options.supervisely)
    return plan_project(
        config,
        read_project(options.root),
        options.out,
        weights=options.weights,
        device=on_gpus(config, device, group),
        group=group,
        changes=options.changes,
        resume=options.resume,
    )
