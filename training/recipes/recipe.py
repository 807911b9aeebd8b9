"""Recipes: everything that decides what a training does, in a YAML file; ``training/recipes`` holds the known ones.

A recipe is sections of keys. What a file leaves out has the default written here; a key that is not here is an error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from icnet_common import config
from icnet_common.config import boolean, fraction, integer, number, sequence, text
from icnet_common.errors import InputError
from pytorch_icnet.imaging.normalization import NORMALIZATIONS

from ..losses import CASCADE_WEIGHTS

NETWORKS = ("icnet", "liminn", "mmseg-r18", "mmseg-r50", "mmseg-r101", "supervisely")

_MAX_SIDE = 1 << 14


def _choice(default: str, *known: str) -> Any:
    return config.choice(default, *known, between=", ")


def _size(default: tuple[int, int] | None) -> Any:
    return sequence(default, integer(least=1, most=_MAX_SIDE), 2, null=True)


@dataclass(frozen=True)
class ModelSection:
    network: str = _choice("icnet", *NETWORKS)
    width: float = number(1.0, above=0, most=4)
    """Factor on the channels of a net that starts without weights."""
    batch_norm: str = _choice("train", "train", "frozen", "sync", "none")
    """"train"; "sync": with statistics over all processes; "frozen": the statistics stay, slopes and biases learn;
    "none": Supervisely's net with biases in its place."""
    freeze: tuple[str, ...] = sequence((), text())
    """Layers whose names begin with one of these do not learn, and keep their statistics."""
    published_mistakes: bool = boolean(False)
    """Of liminn's and pytorch-semseg's nets: update some statistics twice in each iteration, as their code does."""


@dataclass(frozen=True)
class DataSection:
    pixels: str = _choice("caffe", *NORMALIZATIONS)
    """See :data:`pytorch_icnet.imaging.normalization.NORMALIZATIONS`; "caffe" is BGR minus the mean."""
    resize: tuple[int, int] | None = _size(None)
    """Height and width to which each image is brought first."""
    mirror: float = fraction(0.5)
    """Probability."""
    scale: tuple[float, float] = sequence((0.5, 2.0), number(above=0, most=16), 2)
    """Range of a random factor on height and width."""
    crop: tuple[int, int] | None = _size((705, 705))
    """Height and width; smaller images are padded with the mean, their labels with void. None: whole images."""
    max_class_share: float = fraction(1.0)
    """A crop of which one class takes more is drawn again, up to ten times."""
    photometric: float = fraction(0.0)
    """Probability of each of: brightness, contrast, saturation, hue."""
    blur: float = fraction(0.0)
    """Probability of a Gaussian blur, its radius drawn from 0 to 1 pixel."""
    workers: int = integer(2)
    """Processes that read images; 0: none besides the training itself."""
    allow_corrupted: int = integer(0)
    """So many different samples may fail to load; others take their place."""


@dataclass(frozen=True)
class LossSection:
    weights: tuple[float, ...] = sequence(CASCADE_WEIGHTS, number())
    """Of the branches, the finest first."""
    compare: str = _choice("labels", "labels", "logits")
    align_corners: bool = boolean(True)
    label_resize: str = _choice("nearest", "nearest", "bilinear")
    """"bilinear": liminn/ICNet-pytorch's mistake, see :class:`training.losses.CascadeLoss`."""
    average: str = _choice("labelled", "labelled", "all")
    class_weights: tuple[float, ...] | None = sequence(None, number(), null=True)
    ohem_threshold: float | None = number(None, above=0, below=1, null=True)
    ohem_keep: float = fraction(0.1)


@dataclass(frozen=True)
class OptimizerSection:
    name: str = _choice("sgd", "sgd", "adam", "adamw")
    lr: float = number(0.01, above=0)
    momentum: float = number(0.9)
    """Of SGD."""
    weight_decay: float = number(1e-4)
    decay_norms: bool = boolean(True)
    """Whether weight decay also holds for slopes and biases, as in Caffe."""
    new_lr_factor: float = number(1.0)
    """On the rate of the layers of :attr:`new_layers` and of layers that were loaded from no file."""
    new_layers: tuple[str, ...] = sequence((), text())
    """Beginnings of names."""
    clip: float | None = number(None, above=0, null=True)
    """The largest norm of all gradients together."""


@dataclass(frozen=True)
class ScheduleSection:
    name: str = _choice("poly", "poly", "constant", "plateau")
    power: float = number(0.9)
    min_lr: float = number(0.0)
    warmup: int = integer(0)
    """Iterations over which the rate rises from 0."""
    patience: int = integer(10)
    """Of plateau: validations without a better loss before the rate falls."""
    divisor: float = number(10.0, above=1)
    """Of plateau."""


@dataclass(frozen=True)
class TrainSection:
    iterations: int = integer(30_000, least=1)
    batch: int = integer(16)
    """Images per step, of all processes and accumulated passes together."""
    accumulate: int = integer(1, least=1)
    """Passes over which the gradients of a batch are collected."""
    precision: str = _choice("float32", "float32", "bf16", "fp16")
    ema: float | None = number(None, above=0, below=1, null=True)
    """Decay of the moving average of the weights, which is then what is validated and kept."""
    validate_every: int = integer(1000, least=1)
    log_every: int = integer(10, least=1)
    seed: int = integer(0, most=(1 << 63) - 1)
    deterministic: bool = boolean(False)


@dataclass(frozen=True)
class Recipe:
    source: str = text("", empty=True)
    """Where the values come from."""
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    loss: LossSection = LossSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()


def names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files(__package__)
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_recipe(name: str | os.PathLike[str], changes: Sequence[str] = ()) -> Recipe:
    """A recipe by its name, or from a file of one's own.

    Args:
        name: see :func:`names`; or a path.
        changes: ``section.key=value`` each, with the value written as in YAML; they win over the file.

    Raises:
        InputError: no such recipe; a section, key or value that cannot be (with the nearest that can).
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if os.fspath(name) not in names():
            near = config.nearest(os.fspath(name), names())
            raise InputError(f"no recipe {os.fspath(name)!r}{near}; or give a .yaml file")
        path = Path(str(resources.files(__package__).joinpath(f"{name}.yaml")))
    data = config.read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a recipe: expected sections such as `optimizer:`")
    for change in changes:
        config.override(data, change, f"--set {change}")
    return recipe_of(data, str(path))


def recipe_of(data: Any, origin: str) -> Recipe:
    """A recipe from the content of a file. ``origin`` is for messages. Raises InputError: see :func:`read_recipe`."""
    recipe = config.checked(Recipe, data, origin, write=repr)
    scale, weights, train = recipe.data.scale, recipe.loss.weights, recipe.train
    rules = {
        "model.batch_norm: none is for the network supervisely alone": recipe.model.batch_norm != "none"
        or recipe.model.network == "supervisely",
        "data.scale: expected two factors, ascending": scale[0] <= scale[1],
        "loss.weights: expected three, not negative": len(weights) == 3 and min(weights) >= 0,
        "train.batch: expected a multiple of train.accumulate, at least 1": train.batch
        in range(train.accumulate, train.batch + 1, train.accumulate),
    }
    for rule, kept in rules.items():
        if not kept:
            raise InputError(f"{origin}: {rule}")
    return recipe
