"""Trainings that a configuration of Supervisely's ICNet plugin describes, on a Supervisely project.

What it maps to stands in :func:`recipe_for`. Where the plugin cannot do what its configuration says, this does: pixels
of the neutral class are left out of loss and figures, and inputs may be smaller than 1025x2049.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from converter.state_dict import mismatch
from evaluation.run.distributed import Group
from icnet_common.config import as_data
from icnet_common.errors import InputError
from icnet_common.files import write_json
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.icnet import INPUT_SIZE, check_size
from pytorch_icnet.supervisely.config import TrainConfig
from pytorch_icnet.supervisely.meta import ObjectClass
from pytorch_icnet.supervisely.project import Project
from pytorch_icnet.supervisely.results import (
    PluginCheckpoint,
    is_checkpoint,
    read_checkpoint_folder,
    write_checkpoint_folder,
)
from pytorch_icnet.variants import semseg
from pytorch_icnet.weights.checkpoints import read_checkpoint

from ..build import HEADS, Start, begun, new_net, start
from ..job import TrainingPlan, check_free
from ..log import TrainingLog
from ..loop import LAST, Trainer
from ..recipes.recipe import Recipe, read_recipe
from ..validate import Validation
from .data import class_indices, sources

CHECKPOINTS = "checkpoints.json"
"""In the folder of a training: which checkpoint is of which validation, and which is the best."""


def recipe_for(config: TrainConfig, images: int, processes: int = 1, changes: Sequence[str] = ()) -> Recipe:
    """The recipe ``supervisely`` with a configuration's values.

    Args:
        images: to learn from; epochs are counted in them.
        processes: that share a training; ``batch_size`` is of each.
        changes: as for :func:`training.recipes.recipe.read_recipe`; they win.

    Raises:
        InputError: a change, or an input size, that cannot be.
    """
    size = (config.input_size.height, config.input_size.width)
    batch = config.batch_size.train * processes
    published = all(n % 32 == 1 and n >= least for n, least in zip(size, INPUT_SIZE, strict=True))
    mapped = {
        "model.network": "supervisely" if published else "icnet",
        "data.resize": list(size),
        "data.workers": config.data_workers.train,
        "data.allow_corrupted": config.allow_corrupted_samples.train,
        "optimizer.lr": config.lr,
        "schedule.patience": config.lr_decreasing.patience,
        "schedule.divisor": config.lr_decreasing.lr_divisor,
        "train.batch": batch,
        "train.iterations": math.ceil(config.epochs * images / batch),
    }
    recipe = read_recipe("supervisely", [*(f"{key}={value}" for key, value in mapped.items()), *changes])
    if recipe.model.batch_norm == "none":
        raise InputError("model.batch_norm=none: use_batchnorm of the configuration says that")
    if recipe.model.network == "icnet":
        check_size(*size)
    elif recipe.model.network != "supervisely":
        raise InputError(f"model.network={recipe.model.network}: expected supervisely or icnet")
    elif not config.use_batchnorm:
        return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, batch_norm="none"))
    return recipe


def planned(config: TrainConfig, recipe: Recipe, images: int) -> frozenset[int]:
    """The iterations after which is validated: every ``val_every`` epochs, which may be a fraction."""
    steps = config.val_every * images / recipe.train.batch
    count = int(recipe.train.iterations / steps + 1e-9)
    return frozenset(max(1, math.ceil(number * steps - 1e-9)) for number in range(1, count + 1))


def on_gpus(config: TrainConfig, device: torch.device, group: Group) -> torch.device:
    """The device of a process as ``gpu_devices`` says; a processor, or a GPU that was named otherwise, stays.

    Raises:
        InputError: there is no such GPU, or several are named but one process was started.
    """
    if device.type != "cuda" or device.index is not None:
        return device
    wanted = len(config.gpu_devices)
    if group.size == 1 and wanted > 1:
        raise InputError(
            f"gpu_devices names {wanted} GPUs: start as many processes, torchrun --nproc-per-node {wanted} -m training"
        )
    if group.size > 1:
        return device
    if config.gpu_devices[0] >= torch.cuda.device_count():
        raise InputError(f"gpu_devices: there is no GPU {config.gpu_devices[0]}; there are {torch.cuda.device_count()}")
    return torch.device("cuda", config.gpu_devices[0])


def start_project(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None) -> Start:
    """The net that a training starts from.

    With ``transfer_learning`` its heads are new, whatever the file has; with ``continue_training`` all is the file's.

    Raises:
        InputError: the file is not for this net.
    """
    continued = config.weights_init_type == "continue_training"
    size = (config.input_size.height, config.input_size.width)
    begin_with = _plugin_net if recipe.model.network == "supervisely" else _caffe_net
    begin = begin_with(config, recipe, num_classes, weights, continued)
    card = dataclasses.replace(begin.model.card, input_size=size, protocol="supervisely")
    begin.model.card = card  # as the folder will predict
    return begin


def _caffe_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    begin = start(recipe, num_classes, weights, merged=not config.use_batchnorm)
    merged = cast(ICNet, begin.model).merged
    if merged == config.use_batchnorm:
        kind = "without" if merged else "with"
        raise InputError(
            f"{weights}: {kind} batch normalisation, but use_batchnorm is {str(config.use_batchnorm).lower()}"
        )
    if continued and begin.new:
        raise InputError(f"{weights}: lacks {', '.join(begin.new)} for {num_classes} scores; it cannot be continued")
    if continued or weights is None:
        return begin
    for name in HEADS:
        reset_head(begin.model.get_submodule(name))
    return begun(begin.model, {f"{name}.weight" for name in begin.loaded if name not in HEADS})


def _plugin_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    torch.manual_seed(recipe.train.seed)
    net = new_net(recipe, num_classes)
    for name, module in net.named_modules():
        if "classif" in name:
            reset_head(module)
    fresh = net.state_dict()
    given = {} if weights is None else _plugin_state(weights, recipe.model.batch_norm != "none")
    loaded = {key: value for key, value in given.items() if continued or "classif" not in key}
    found = mismatch(fresh if continued else {key: fresh[key] for key in fresh if key in loaded}, loaded)
    if weights is not None and (found or not loaded):
        reason = found or "nothing fits"
        raise InputError(f"{weights}: not for a net with {num_classes} scores, or of another kind: {reason}")
    net.load_state_dict({**fresh, **loaded})
    return begun(net, loaded)


def _plugin_state(weights: Path, batch_norm: bool) -> dict[str, torch.Tensor]:
    """Weights under the plugin's keys; Caffe's are renamed."""
    state = read_checkpoint(weights).state
    if semseg.matches(state):
        return state
    caffe = icnet(weights, merged=not batch_norm, aux=True)
    return dict(semseg.from_icnet(caffe).state_dict())


def reset_head(head: nn.Module) -> None:
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    nn.init.normal_(head.weight, 0, 0.01)
    nn.init.zeros_(head.bias)


class ProjectTrainer(Trainer):
    """A training that validates at planned iterations, leaves a checkpoint folder after each validation, and forgets
    Adam's moments when the rate falls, as the plugin does.

    ``checkpoint`` is what all checkpoints say; their folders are numbered. ``others`` are for :class:`Trainer`.
    """

    def __init__(self, checkpoint: PluginCheckpoint, at: frozenset[int], *others: Any, **options: Any) -> None:
        super().__init__(*others, **options)
        self._checkpoint, self._at = checkpoint, at

    def outcome(self) -> str:
        rows = json.loads((self.out / CHECKPOINTS).read_text("utf-8"))
        best = next(row["folder"] for row in rows if row["best"])
        return f"{super().outcome()}, {len(rows)} checkpoints, the best is {best}"

    def _due(self, last: int) -> bool:
        return self.iteration in self._at or self.iteration == last

    def _validate(self, log: TrainingLog) -> Validation | None:
        before = self.schedule.factor(self.iteration)
        found = super()._validate(log)
        if self.schedule.factor(self.iteration) != before:
            self.optimizer.state.clear()
        if found is not None and self.group.is_main:
            self._write(found)
        return found

    def _write(self, found: Validation) -> None:
        path = self.out / CHECKPOINTS
        rows = json.loads(path.read_text("utf-8")) if path.exists() else []
        rows = [row for row in rows if row["iteration"] < self.iteration]
        folder = f"{len(rows):08}"
        write_checkpoint_folder(dataclasses.replace(self._checkpoint, folder=self.out / folder), self.kept.state_dict())
        epoch = self.iteration * self.recipe.train.batch / len(self.samples)
        row = {"folder": folder, "iteration": self.iteration, "epoch": epoch, "loss": found.loss}
        rows.append({**row, "mean_iou": found.mean_iou, "pixel_accuracy": found.pixel_accuracy})
        best = min(range(len(rows)), key=lambda number: rows[number]["loss"])
        rows = [{**row, "best": number == best} for number, row in enumerate(rows)]
        write_json(path, rows)


def plan_project(
    config: TrainConfig,
    project: Project,
    out: Path,
    *,
    weights: Path | None = None,
    device: torch.device | None = None,
    group: Group | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
) -> TrainingPlan:
    """A training as a configuration says. ``out`` will hold ``00000000``, ``00000001``, ..., a checkpoint folder for
    each validation, :data:`CHECKPOINTS`, and what every training leaves.

    Args:
        weights: a checkpoint folder, or a file, to begin with.
        changes: of the recipe, see :func:`recipe_for`.
        resume: whether to go on with the training in ``out``.

    Raises:
        InputError: see the functions of this module.
    """
    group = group or Group()
    check_free(out, resume)
    old = read_checkpoint_folder(weights) if weights is not None and is_checkpoint(weights) else None
    continued = config.weights_init_type == "continue_training"
    if continued and old is None:
        raise InputError("weights_init_type is continue_training: give the checkpoint folder with --weights")
    indices = class_indices(config, project.meta, old if continued else None)
    classes = tuple(
        ObjectClass(each.title, "bitmap", each.colour) for each in project.meta.classes if each.title in indices
    )
    checkpoint = PluginCheckpoint(out, as_data(config), classes, indices)
    if group.is_main and not (out / LAST).exists():
        (out / CHECKPOINTS).unlink(missing_ok=True)
    source, val_source = sources(config, project, indices, checkpoint.table())
    images = len(source.entries)
    recipe = recipe_for(config, images, group.size, changes)
    begin = start_project(config, recipe, source.table.num_classes, old.weights if old is not None else weights)
    lines = [f"{images} images to learn from, {len(val_source.entries)} to validate with, {len(indices)} classes"]
    if recipe.model.network == "icnet":
        lines.append("the network is Caffe's ICNet: the plugin's takes inputs from 1025x2049 on, of 32k+1")

    def trainer(begin: Start, out: Path) -> Trainer:
        at = planned(config, recipe, images)
        return ProjectTrainer(
            checkpoint, at, recipe, begin, source, out, val_source=val_source, device=device, group=group
        )

    return TrainingPlan(begin, trainer, "\n".join(lines))
