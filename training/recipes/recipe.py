"""Recipes: everything that decides what a training does, in a YAML file; ``training/recipes`` holds the known ones.

A recipe is sections of keys. What a file leaves out has the default written here; a key that is not here is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from icnet_common.errors import InputError
from pytorch_icnet.imaging.normalization import NORMALIZATIONS

from ..losses import CASCADE_WEIGHTS

T = TypeVar("T")

_MAX_BYTES = 1 << 20

CHOICES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "model.network": ("icnet", "liminn", "mmseg-r18", "mmseg-r50", "mmseg-r101", "supervisely"),
        "model.batch_norm": ("train", "frozen", "sync", "none"),
        "data.pixels": tuple(NORMALIZATIONS),
        "loss.compare": ("labels", "logits"),
        "loss.label_resize": ("nearest", "bilinear"),
        "loss.average": ("labelled", "all"),
        "optimizer.name": ("sgd", "adam", "adamw"),
        "schedule.name": ("poly", "constant", "plateau"),
        "train.precision": ("float32", "bf16", "fp16"),
    }
)
"""What the keys with names for values may be."""


@dataclass(frozen=True)
class ModelSection:
    network: str = "icnet"
    width: float = 1.0
    """Factor on the channels of a net that starts without weights."""
    batch_norm: str = "train"
    """"train"; "sync": with statistics over all processes; "frozen": the statistics stay, slopes and biases learn;
    "none": Supervisely's net with biases in its place."""
    freeze: tuple[str, ...] = ()
    """Layers whose names begin with one of these do not learn, and keep their statistics."""
    published_mistakes: bool = False
    """Of liminn's and pytorch-semseg's nets: update some statistics twice in each iteration, as their code does."""


@dataclass(frozen=True)
class DataSection:
    pixels: str = "caffe"
    """See :data:`pytorch_icnet.imaging.normalization.NORMALIZATIONS`; "caffe" is BGR minus the mean."""
    resize: tuple[int, int] | None = None
    """Height and width to which each image is brought first."""
    mirror: float = 0.5
    """Probability."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of a random factor on height and width."""
    crop: tuple[int, int] | None = (705, 705)
    """Height and width; smaller images are padded with the mean, their labels with void. None: whole images."""
    max_class_share: float = 1.0
    """A crop of which one class takes more is drawn again, up to ten times."""
    photometric: float = 0.0
    """Probability of each of: brightness, contrast, saturation, hue."""
    blur: float = 0.0
    """Probability of a Gaussian blur, its radius drawn from 0 to 1 pixel."""
    workers: int = 2
    """Processes that read images; 0: none besides the training itself."""
    allow_corrupted: int = 0
    """So many different samples may fail to load; others take their place."""


@dataclass(frozen=True)
class LossSection:
    weights: tuple[float, ...] = CASCADE_WEIGHTS
    """Of the branches, the finest first."""
    compare: str = "labels"
    align_corners: bool = True
    label_resize: str = "nearest"
    """"bilinear": liminn/ICNet-pytorch's mistake, see :class:`training.losses.CascadeLoss`."""
    average: str = "labelled"
    class_weights: tuple[float, ...] | None = None
    ohem_threshold: float | None = None
    ohem_keep: float = 0.1


@dataclass(frozen=True)
class OptimizerSection:
    name: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 1e-4
    decay_norms: bool = True
    """Whether weight decay also holds for slopes and biases, as in Caffe."""
    new_lr_factor: float = 1.0
    """On the rate of the layers of :attr:`new_layers` and of layers that were loaded from no file."""
    new_layers: tuple[str, ...] = ()
    """Beginnings of names."""
    clip: float | None = None
    """The largest norm of all gradients together."""


@dataclass(frozen=True)
class ScheduleSection:
    name: str = "poly"
    power: float = 0.9
    min_lr: float = 0.0
    warmup: int = 0
    """Iterations over which the rate rises from 0."""
    patience: int = 10
    """Of plateau: validations without a better loss before the rate falls."""
    divisor: float = 10.0
    """Of plateau."""


@dataclass(frozen=True)
class TrainSection:
    iterations: int = 30_000
    batch: int = 16
    """Images per step, of all processes and accumulated passes together."""
    accumulate: int = 1
    """Passes over which the gradients of a batch are collected."""
    precision: str = "float32"
    ema: float | None = None
    """Decay of the moving average of the weights, which is then what is validated and kept."""
    validate_every: int = 1000
    log_every: int = 10
    seed: int = 0
    deterministic: bool = False


@dataclass(frozen=True)
class Recipe:
    source: str = ""
    """Where the values come from."""
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    loss: LossSection = field(default_factory=LossSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    train: TrainSection = field(default_factory=TrainSection)

    def as_data(self) -> dict[str, Any]:
        """For files: what :func:`recipe_of` takes."""
        data = dataclasses.asdict(self)
        return {
            section: {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
            if isinstance(values, dict)
            else values
            for section, values in data.items()
        }


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
            near = _nearest(os.fspath(name), names())
            raise InputError(
                f"no recipe {os.fspath(name)!r}{near}; there are {', '.join(names())}, or give a .yaml file"
            )
        path = Path(str(resources.files(__package__).joinpath(f"{name}.yaml")))
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for a recipe")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    data = _parse(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a recipe: expected sections such as `optimizer:`")
    for change in changes:
        _override(data, change)
    return recipe_of(data, str(path))


def recipe_of(data: Mapping[str, Any], origin: str) -> Recipe:
    """A recipe from the content of a file. ``origin`` is for messages.

    Raises:
        InputError: see :func:`read_recipe`.
    """
    recipe = _section(Recipe, data, "", origin)
    _check(recipe, origin)
    return recipe


def _override(data: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise InputError(f"--set {change}: expected section.key=value, such as optimizer.lr=0.005")
    values = data.setdefault(section, {})
    if isinstance(values, dict):
        values[name] = _parse(value, f"--set {change}")


def _parse(text: str, origin: str) -> Any:
    try:
        if "&" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise InputError(f"{origin}: aliases (*name) are not taken in recipes")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{origin}: not YAML: {' '.join(str(error).split())}") from error


def _section(kind: type[T], data: Any, prefix: str, origin: str) -> T:
    if not isinstance(data, Mapping):
        raise InputError(f"{origin}: {prefix.rstrip('.') or 'the recipe'}: expected keys with values, not {data!r}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise InputError(f"{origin}: no key {prefix}{key}{_nearest(str(key), hints, prefix)}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            values[key] = _section(typing.cast(type, hint), value, f"{prefix}{key}.", origin)
        else:
            values[key] = _value(hint, value, f"{prefix}{key}", origin)
    return kind(**values)


def _value(hint: Any, value: Any, key: str, origin: str) -> Any:
    """``value`` as the type ``hint``: bool, int, float, str, a tuple of one of them, or any of these or None."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        length = None if inner[-1] is Ellipsis else len(inner)
        if isinstance(value, (list, tuple)) and length in (None, len(value)):
            return tuple(_value(inner[0], each, key, origin) for each in value)
        wanted = "a list" if length is None else f"a list of {length}"
    elif hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-4 for text
        except ValueError:
            wanted = "a number"
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        if key in CHOICES and value not in CHOICES[key]:
            raise InputError(f"{origin}: {key} is {value!r}; expected {', '.join(CHOICES[key])}")
        return value
    else:
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[hint]
    raise InputError(f"{origin}: {key} is {value!r}; expected {wanted}")


def _nearest(name: str, known: typing.Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _check(recipe: Recipe, origin: str) -> None:
    """Raise InputError where numbers are out of their range."""
    data, train, optimizer = recipe.data, recipe.train, recipe.optimizer
    rules = {
        "model.width: expected above 0, up to 4": 0 < recipe.model.width <= 4,
        "model.batch_norm: none is for the network supervisely alone": recipe.model.batch_norm != "none"
        or recipe.model.network == "supervisely",
        "data.scale: expected two factors above 0, ascending": 0 < data.scale[0] <= data.scale[1] <= 16,
        "data.crop: expected sizes of 1 to 16384": data.crop is None or all(1 <= n <= 1 << 14 for n in data.crop),
        "data.resize: expected sizes of 1 to 16384": data.resize is None or all(1 <= n <= 1 << 14 for n in data.resize),
        "data: probabilities and shares are 0 to 1": all(
            0 <= share <= 1 for share in (data.mirror, data.photometric, data.blur, data.max_class_share)
        ),
        "data: workers and allow_corrupted are not negative": min(data.workers, data.allow_corrupted) >= 0,
        "loss.weights: expected three, not negative": len(recipe.loss.weights) == 3 and min(recipe.loss.weights) >= 0,
        "loss.ohem_threshold: expected above 0, below 1": 0 < (recipe.loss.ohem_threshold or 0.5) < 1,
        "loss.ohem_keep: expected 0 to 1": 0 <= recipe.loss.ohem_keep <= 1,
        "optimizer.lr: expected above 0": 0 < optimizer.lr < float("inf"),
        "optimizer.clip: expected above 0": optimizer.clip is None or optimizer.clip > 0,
        "schedule.divisor: expected above 1": recipe.schedule.divisor > 1,
        "schedule.warmup: expected 0 or more": recipe.schedule.warmup >= 0,
        "train.ema: expected above 0, below 1": train.ema is None or 0 < train.ema < 1,
        "train: iterations, batch, accumulate, validate_every and log_every are at least 1": min(
            train.iterations, train.batch, train.accumulate, train.validate_every, train.log_every
        )
        >= 1,
        "train.batch: expected a multiple of train.accumulate": train.batch % train.accumulate == 0,
        "train.seed: expected 0 or more": train.seed >= 0,
    }
    for rule, kept in rules.items():
        if not kept:
            raise InputError(f"{origin}: {rule}")
