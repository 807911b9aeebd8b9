"""Trainings that a configuration of Supervisely's ICNet plugin describes, on a Supervisely project.

What it maps to stands in :func:`recipe_for`. Where the plugin cannot do what its configuration says, this does: pixels
of the neutral class are left out of loss and figures, and inputs may be smaller than 1025x2049.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluation.distributed import Group
from evaluation.lists import Entry
from prototxt.errors import InputError
from prototxt.files import whole_file
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.checkpoints import read_checkpoint
from pytorch_icnet.icnet import INPUT_SIZE, check_size
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.imaging.palette import IGNORED
from pytorch_icnet.relatives import semseg
from pytorch_icnet.relatives.semseg import SemSegICNet
from pytorch_icnet.supervisely.annotation import read_annotation, read_summary
from pytorch_icnet.supervisely.config import TrainConfig
from pytorch_icnet.supervisely.meta import Meta, ObjectClass
from pytorch_icnet.supervisely.project import Project
from pytorch_icnet.supervisely.results import (
    Checkpoint,
    is_checkpoint,
    read_checkpoint_folder,
    write_checkpoint_folder,
)

from .build import HEADS, Start, initialize, start
from .data import Source
from .job import check_free
from .log import Log
from .loop import LAST, Trainer
from .recipes import Recipe, read_recipe
from .signals import Stop
from .validate import Validation

CHECKPOINTS = "checkpoints.json"
"""In the folder of a training: which checkpoint is of which validation, and which is the best."""

FIRST = 1
"""The index of the first class; 0 is for pixels without one."""


@dataclass(frozen=True)
class ProjectSource(Source):
    """Images of a project with certain tags, their annotations drawn as label maps."""

    meta: Meta = field(default_factory=Meta)
    indices: dict[str, int] = field(default_factory=dict)
    """What the pixels of each class become; the neutral one is :data:`IGNORED`."""
    allow_corrupted: int = 0
    """So many different images may fail to load; the next ones take their place. Otherwise the error is raised."""
    failed: dict[int, str] = field(default_factory=dict, compare=False)

    def read(self, index: int) -> tuple[Any, Any]:
        """See :meth:`training.data.Source.read`."""
        while True:
            try:
                return self._read(index)
            except InputError as error:
                if not self.allow_corrupted:
                    raise
                self.failed[index] = str(error)
                if len(self.failed) > min(self.allow_corrupted, len(self.entries) - 1):
                    raise InputError(
                        f"{len(self.failed)} samples cannot be read, more than allow_corrupted_samples: "
                        + "; ".join(self.failed.values())
                    ) from error
                index = (index + 1) % len(self.entries)

    def _read(self, index: int) -> tuple[Any, Any]:
        entry = self.entries[index]
        path = self.root / entry.image
        annotation = read_annotation(self.root / str(entry.label), self.meta)
        try:
            rgb = read_image(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if annotation.size != rgb.shape[:2]:
            raise InputError(f"{path}: {rgb.shape[0]}x{rgb.shape[1]}, but its annotation says {annotation.size}")
        return rgb, annotation.label_map(self.indices, str(entry.label))


def class_indices(config: TrainConfig, meta: Meta, old: Checkpoint | None) -> dict[str, int]:
    """The index of each class that is learnt: of the checkpoint that is continued, otherwise in alphabetic order.

    Raises:
        InputError: no classes, too many, or others than those of the checkpoint.
    """
    titles = sorted(each.title for each in meta.classes if each.title != config.special_classes.neutral)
    if not titles:
        raise InputError("the project has no classes to learn")
    if old is None:
        if len(titles) + FIRST > IGNORED - 1:
            raise InputError(f"the project has {len(titles)} classes; 8-bit label maps hold {IGNORED - 1 - FIRST}")
        return {title: index for index, title in enumerate(titles, start=FIRST)}
    missing, added = sorted(set(old.indices) - set(titles)), sorted(set(titles) - set(old.indices))
    if missing or added:
        parts = [
            f"{what} {', '.join(names[:5])}" for what, names in (("without", missing), ("and with", added)) if names
        ]
        raise InputError(
            f"continue_training: the project's classes are not those of {old.folder}: {' '.join(parts)}; "
            "transfer_learning begins with other classes"
        )
    return dict(old.indices)


def sources(config: TrainConfig, project: Project, indices: dict[str, int], table: Any) -> tuple[Source, Source]:
    """The images to learn from and to validate with, by their tags.

    Raises:
        InputError: there are none with a tag, none of them has objects, or an annotation is damaged.
    """
    drawn = {**indices, **({config.special_classes.neutral: IGNORED} if config.special_classes.neutral else {})}
    wanted = (config.dataset_tags.train, config.dataset_tags.val)
    found: dict[str, list[Entry]] = {tag: [] for tag in wanted}
    objects = dict.fromkeys(wanted, 0)
    for item in project.items:
        if item.annotation is None:
            continue
        summary = read_summary(item.annotation)
        for tag in set(wanted) & set(summary.tags):
            image, label = (path.relative_to(project.root).as_posix() for path in (item.image, item.annotation))
            found[tag].append(Entry(image, label, len(found[tag]) + 1))
            objects[tag] += summary.objects
    for tag in wanted:
        if not found[tag] or not objects[tag]:
            known = ", ".join(project.meta.tag_names()) or "none"
            what = "images" if not found[tag] else "objects in the images"
            raise InputError(
                f"{project.root}: no {what} with the tag {tag!r} (dataset_tags); the project's tags: {known}"
            )
    borne = (0, config.allow_corrupted_samples.val)  # while learning, training.data bears them
    train, val = (
        ProjectSource(tuple(found[tag]), project.root, table, None, project.meta, drawn, allowed)
        for tag, allowed in zip(wanted, borne, strict=True)
    )
    return train, val


def recipe_for(config: TrainConfig, images: int, processes: int = 1, changes: Sequence[str] = ()) -> Recipe:
    """The recipe ``supervisely`` with a configuration's values.

    Args:
        config: the configuration.
        images: to learn from; epochs are counted in them.
        processes: that share a training; ``batch_size`` is of each.
        changes: as for :func:`training.recipes.read_recipe`; they win.

    Raises:
        InputError: a change, or an input size, that cannot be.
    """
    size = (config.input_size.height, config.input_size.width)
    batch = config.batch_size.train * processes
    network = "supervisely" if _published_size(size) else "icnet"
    mapped = {
        "model.network": network,
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
    if recipe.model.network == "icnet":
        check_size(*size)
    elif recipe.model.network != "supervisely":
        raise InputError(f"model.network={recipe.model.network}: expected supervisely or icnet")
    return recipe


def _published_size(size: tuple[int, int]) -> bool:
    return all(n % 32 == 1 and n >= least for n, least in zip(size, INPUT_SIZE, strict=True))


def planned(config: TrainConfig, recipe: Recipe, images: int) -> frozenset[int]:
    """The iterations after which is validated: every ``val_every`` epochs, which may be a fraction."""
    steps = config.val_every * images / recipe.train.batch
    count = int(recipe.train.iterations / steps + 1e-9)
    return frozenset(max(1, math.ceil(number * steps - 1e-9)) for number in range(1, count + 1))


def begin(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None) -> Start:
    """The net that a training starts from.

    With ``transfer_learning`` its heads are new, whatever the file has; with ``continue_training`` all is the file's.

    Raises:
        InputError: the file is not for this net.
    """
    continued = config.weights_init_type == "continue_training"
    if continued and weights is None:
        raise InputError("weights_init_type is continue_training: give the checkpoint folder with --weights")
    size = (config.input_size.height, config.input_size.width)
    if recipe.model.network == "supervisely":
        begun = _plugin_net(config, recipe, num_classes, weights, continued)
    else:
        begun = _caffe_net(config, recipe, num_classes, weights, continued)
    vars(begun.model).update(input_size=size, protocol="supervisely")  # what the checkpoint folder will predict with
    return begun


def _caffe_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    if weights is None and not config.use_batchnorm:
        torch.manual_seed(recipe.train.seed)
        net = ICNet(num_classes, width=recipe.model.width, aux=True)
        initialize(net)
        return Start(net.train(), tuple(name for name, _ in net.named_children()), ())
    begun = start(recipe, num_classes, weights)
    assert isinstance(begun.model, ICNet)
    if begun.model.merged == config.use_batchnorm:
        kind = "without" if begun.model.merged else "with"
        raise InputError(
            f"{weights}: {kind} batch normalisation, but use_batchnorm is {str(config.use_batchnorm).lower()}"
        )
    if continued and begun.new:
        raise InputError(f"{weights}: lacks {', '.join(begun.new)} for {num_classes} scores; it cannot be continued")
    if not continued and weights is not None:
        for name in HEADS:
            _renew(begun.model.get_submodule(name))
        return Start(begun.model, HEADS, tuple(name for name in begun.loaded if name not in HEADS))
    return begun


def _plugin_net(config: TrainConfig, recipe: Recipe, num_classes: int, weights: Path | None, continued: bool) -> Start:
    torch.manual_seed(recipe.train.seed)
    net = SemSegICNet(num_classes, config.use_batchnorm)
    initialize(net)
    heads = [name for name, _ in net.named_modules() if "classif" in name]
    for name in heads:
        _renew(net.get_submodule(name))
    fresh = net.state_dict()
    loaded: dict[str, torch.Tensor] = {}
    if weights is not None:
        given = _plugin_state(weights, config.use_batchnorm)
        loaded = {key: value for key, value in given.items() if continued or "classif" not in key}
        wrong = [key for key, value in loaded.items() if key not in fresh or fresh[key].shape != value.shape]
        optional = ("num_batches_tracked",)
        missing = [key for key in fresh if continued and key not in loaded and not key.endswith(optional)]
        if wrong or missing or not loaded:
            listed = ", ".join([*wrong, *missing][:5]) or "nothing fits"
            raise InputError(f"{weights}: not for a net with {num_classes} scores, or of another kind: {listed}")
    net.load_state_dict({**fresh, **loaded})
    layers = [name for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    new = tuple(name for name in layers if f"{name}.weight" not in loaded)
    return Start(net.train(), new, tuple(name for name in layers if name not in new))


def _plugin_state(weights: Path, batch_norm: bool) -> dict[str, torch.Tensor]:
    """Weights under the plugin's keys; Caffe's are renamed."""
    state = read_checkpoint(weights).state
    if semseg.matches(state):
        return state
    caffe = icnet(weights, merged=not batch_norm, aux=True)
    return dict(semseg.from_icnet(caffe).state_dict())


def _renew(head: nn.Module) -> None:
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    nn.init.normal_(head.weight, 0, 0.01)
    nn.init.zeros_(head.bias)


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


class ProjectTrainer(Trainer):
    """A training that validates at planned iterations, leaves a checkpoint folder after each validation, and forgets
    Adam's moments when the rate falls, as the plugin does.

    Args:
        checkpoint: what all checkpoints say; their folders are numbered.
        at: the iterations.
        others: as for :class:`training.loop.Trainer`.
    """

    def __init__(self, checkpoint: Checkpoint, at: frozenset[int], *others: Any, **options: Any) -> None:
        super().__init__(*others, **options)
        self._checkpoint, self._at = checkpoint, at

    def _due(self, last: int) -> bool:
        return self.iteration in self._at or self.iteration == last

    def _validate(self, log: Log) -> Validation | None:
        before = self.schedule.factor(self.iteration)
        found = super()._validate(log)
        if self.schedule.factor(self.iteration) != before:
            self.optimizer.state.clear()
        if found is not None and self.group.leads:
            self._write(found)
        return found

    def _write(self, found: Validation) -> None:
        path = self.out / CHECKPOINTS
        rows = json.loads(path.read_text("utf-8")) if path.exists() else []
        rows = [row for row in rows if row["iteration"] < self.iteration]
        folder = f"{len(rows):08}"
        checkpoint = Checkpoint(
            self.out / folder, self._checkpoint.settings, self._checkpoint.classes, self._checkpoint.indices
        )
        write_checkpoint_folder(checkpoint, self.kept.state_dict())
        epoch = self.iteration * self.recipe.train.batch / len(self.samples)
        row = {"folder": folder, "iteration": self.iteration, "epoch": epoch, "loss": found.loss}
        rows.append({**row, "mean_iou": found.mean_iou, "pixel_accuracy": found.pixel_accuracy})
        best = min(range(len(rows)), key=lambda number: rows[number]["loss"])
        rows = [{**row, "best": number == best} for number, row in enumerate(rows)]
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(rows, indent=1), "utf-8")


def train(
    config: TrainConfig,
    project: Project,
    out: Path,
    *,
    weights: Path | None = None,
    device: torch.device | None = None,
    group: Group | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
    until: int | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Train as a configuration says. ``out`` then holds ``00000000``, ``00000001``, ..., a checkpoint folder for each
    validation, :data:`CHECKPOINTS`, and what every training leaves.

    Args:
        config: the configuration.
        project: the images.
        out: the folder.
        weights: a checkpoint folder, or a file, to begin with.
        device: where to compute.
        group: the processes of the training.
        changes: of the recipe, see :func:`recipe_for`.
        resume: go on with the training in ``out``.
        until: stop after this iteration.
        show: is given lines for the user.

    Raises:
        InputError: see the functions of this module, and :meth:`training.loop.Trainer.run`.
    """
    group, device = group or Group(), device or torch.device("cpu")
    check_free(out, resume)
    old = read_checkpoint_folder(weights) if weights is not None and is_checkpoint(weights) else None
    continued = config.weights_init_type == "continue_training"
    if continued and old is None:
        raise InputError("weights_init_type is continue_training: give the checkpoint folder with --weights")
    indices = class_indices(config, project.meta, old if continued else None)
    classes = tuple(
        ObjectClass(each.title, "bitmap", each.colour) for each in project.meta.classes if each.title in indices
    )
    checkpoint = Checkpoint(out, config.as_data(), classes, indices)
    if group.leads and not (out / LAST).exists():
        (out / CHECKPOINTS).unlink(missing_ok=True)
    source, held_out = sources(config, project, indices, checkpoint.table())
    images = len(source.entries)
    recipe = recipe_for(config, images, group.size, changes)
    begun = begin(config, recipe, source.table.num_classes, old.weights if old is not None else weights)
    trainer = ProjectTrainer(
        checkpoint,
        planned(config, recipe, images),
        recipe,
        begun,
        source,
        out,
        held_out=held_out,
        device=device,
        group=group,
    )
    if (out / LAST).exists():
        trainer.resume(out / LAST)
    if group.leads:
        show(f"{images} images to learn from, {len(held_out.entries)} to validate with, {len(indices)} classes")
        if recipe.model.network == "icnet":
            show("the network is Caffe's ICNet: the plugin's takes inputs from 1025x2049 on, of 32k+1")
    stop_at = min(until or recipe.train.iterations, recipe.train.iterations)
    log = Log(out if group.leads else None, stop_at, trainer.iteration, recipe.train.log_every)
    with Stop() as stop:
        try:
            trainer.run(stop, log, stop_at)
        finally:
            log.close()
    if stop.wanted and trainer.iteration < stop_at:
        raise InputError(f"ended from outside at iteration {trainer.iteration}; go on with --resume")
    if group.leads:
        rows = json.loads((out / CHECKPOINTS).read_text("utf-8"))
        best = next(row for row in rows if row["best"])
        show(f"{out}: {trainer.iteration} iterations, {len(rows)} checkpoints, the best is {best['folder']}")
