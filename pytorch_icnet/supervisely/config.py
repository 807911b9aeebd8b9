"""The configurations of Supervisely's ICNet plugin: what to train, and how to apply a network to a project.

Defaults are the plugin's. What a file leaves out has its default; a key that does not exist is an error.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icnet_common.config import (
    boolean,
    checked,
    choice,
    distinct_integers,
    fraction,
    integer,
    length,
    names,
    number,
    read_json,
    text,
)
from icnet_common.errors import InputError

MODEL_SUFFIX = "_icnet"
"""Added to the names of the model's classes where a configuration says nothing else."""

_MAX_SIDE = 1 << 14


@dataclass(frozen=True)
class Tags:
    """Images with these tags are learnt from, and validated with."""

    train: str = text("train")
    val: str = text("val")


@dataclass(frozen=True)
class Batches:
    train: int = integer(1, least=1, most=1 << 12)
    """Images per device in a step."""
    val: int = integer(1, least=1, most=1 << 12)
    """Taken and not needed: images are validated one after another, and the figures are the same."""


@dataclass(frozen=True)
class Workers:
    train: int = integer(2, most=256)
    val: int = integer(2, most=256)
    """Taken and not needed, as ``batch_size.val``."""


@dataclass(frozen=True)
class InputSize:
    width: int = integer(2049, least=1, most=_MAX_SIDE)
    height: int = integer(1025, least=1, most=_MAX_SIDE)


@dataclass(frozen=True)
class CorruptedLimits:
    """So many different samples may fail to load; others take their place."""

    train: int = integer(0)
    val: int = integer(0)


@dataclass(frozen=True)
class SpecialClasses:
    neutral: str | None = text("neutral", null=True)
    """Pixels of this class are neither learnt from nor measured."""


@dataclass(frozen=True)
class Decreasing:
    patience: int = integer(1000)
    """Validations without a smaller loss before the rate falls."""
    lr_divisor: float = number(5.0, above=1)


@dataclass(frozen=True)
class TrainConfig:
    """A train configuration."""

    dataset_tags: Tags = Tags()
    batch_size: Batches = Batches()
    data_workers: Workers = Workers()
    input_size: InputSize = InputSize()
    allow_corrupted_samples: CorruptedLimits = CorruptedLimits()
    special_classes: SpecialClasses = SpecialClasses()
    epochs: int = integer(2, least=1, most=1_000_000)
    val_every: float = number(1.0, above=0)
    """Epochs between validations; may be a fraction."""
    lr: float = number(1e-4, above=0)
    lr_decreasing: Decreasing = Decreasing()
    weights_init_type: str = choice("transfer_learning", "transfer_learning", "continue_training")
    use_batchnorm: bool = boolean(True)
    gpu_devices: tuple[int, ...] = distinct_integers((0,), least=0, most=255)


@dataclass(frozen=True)
class Renamed:
    """Which of the model's classes are written, and what is added to their names."""

    save_classes: tuple[str, ...] | None = names()
    """None: all."""
    add_suffix: str = text(MODEL_SUFFIX, empty=True)


@dataclass(frozen=True)
class RenamedTags:
    """Taken and without effect: a segmentation has no tags."""

    save_names: tuple[str, ...] | None = names()
    add_suffix: str = text(MODEL_SUFFIX, empty=True)


@dataclass(frozen=True)
class Sides:
    """Lengths in pixels, or in percent of the height or width."""

    left: str = length("0px")
    top: str = length("0px")
    right: str = length("0px")
    bottom: str = length("0px")


@dataclass(frozen=True)
class WindowSize:
    width: int = integer(128, least=1, most=_MAX_SIDE)
    height: int = integer(128, least=1, most=_MAX_SIDE)


@dataclass(frozen=True)
class Overlap:
    x: int = integer(0, most=_MAX_SIDE)
    y: int = integer(0, most=_MAX_SIDE)


@dataclass(frozen=True)
class Mode:
    """Where in an image the network looks; this one: at the whole image."""

    name: str = choice("full_image", "full_image", "roi", "bboxes", "sliding_window")
    model_classes: Renamed = Renamed()
    model_tags: RenamedTags = RenamedTags()
    save_probabilities: bool = boolean(False)


@dataclass(frozen=True)
class Roi(Mode):
    """At a part of the image."""

    name: str = choice("roi", "roi")
    bounds: Sides = Sides()
    """What is left away at each side."""
    save: bool = boolean(False)
    """Write the part as a rectangle of the class ``class_name``."""
    class_name: str = text("inference_roi")


@dataclass(frozen=True)
class Boxes(Mode):
    """At the boxes around objects that are annotated already."""

    name: str = choice("bboxes", "bboxes")
    from_classes: tuple[str, ...] | None = names()
    padding: Sides = Sides()
    """What is added to the box at each side; percents are of the box."""
    save: bool = boolean(False)
    """Write the boxes as rectangles; their class is the object's with ``add_suffix``."""
    add_suffix: str = text("_input_bbox", empty=True)


@dataclass(frozen=True)
class Windows(Mode):
    """At windows that cover the image; the mean of their probabilities decides."""

    name: str = choice("sliding_window", "sliding_window")
    window: WindowSize = WindowSize()
    min_overlap: Overlap = Overlap()
    save: bool = boolean(False)
    """Write the windows as rectangles of the class ``class_name``."""
    class_name: str = text("sliding_window")


MODES: dict[str, type[Mode]] = {"full_image": Mode, "roi": Roi, "bboxes": Boxes, "sliding_window": Windows}


@dataclass(frozen=True)
class ModelOptions:
    gpu_device: int = integer(0, most=255)
    min_score_threshold: float | None = fraction(None, null=True)
    """Taken and without effect, as in the plugin."""


@dataclass(frozen=True)
class InferenceConfig:
    """An inference configuration."""

    mode: Mode = Mode()
    model: ModelOptions = ModelOptions()


def read_train_config(path: str | os.PathLike[str]) -> TrainConfig:
    """Read a train configuration. Raises InputError: no such file, or anything wrong in it; begins with its name."""
    return train_config_of(read_json(path), os.fspath(path))


def train_config_of(data: Any, origin: str) -> TrainConfig:
    """A train configuration from parsed JSON; ``origin`` is for messages. See :func:`read_train_config`."""
    return checked(TrainConfig, _unwrapped(data, origin), origin)


def read_inference_config(path: str | os.PathLike[str]) -> InferenceConfig:
    """Read an inference configuration, in its present or first form. Raises as :func:`read_train_config`."""
    return inference_config_of(read_json(path), os.fspath(path))


def inference_config_of(data: Any, origin: str) -> InferenceConfig:
    """An inference configuration from parsed JSON; ``origin`` is for messages."""
    data = _unwrapped(data, origin)
    if "model" not in data:
        data = _of_first_form(data, origin)
    others = checked(InferenceConfig, {key: value for key, value in data.items() if key != "mode"}, origin)
    return dataclasses.replace(others, mode=mode_of(data.get("mode", {}), origin, "mode."))


def mode_of(data: Any, origin: str, prefix: str = "") -> Mode:
    """The ``mode`` of a configuration; without a name ``full_image``. Raises as :func:`read_train_config`."""
    if not isinstance(data, Mapping):
        return checked(Mode, data, origin, prefix)
    name = data.get("name", "full_image")
    if not isinstance(name, str) or name not in MODES:
        return checked(Mode, {"name": name}, origin, prefix)
    mode = checked(MODES[name], _with_either_word(data), origin, prefix)
    if isinstance(mode, Windows):
        pairs = ((mode.min_overlap.x, mode.window.width, "x"), (mode.min_overlap.y, mode.window.height, "y"))
        for overlap, side, axis in pairs:
            if overlap >= side:
                key = f"{prefix}min_overlap.{axis}"
                raise InputError(f"{origin}: {key} is {overlap}; expected less than the window's {side}")
    return mode


def _with_either_word(mode: Mapping[str, Any]) -> dict[str, Any]:
    """The plugin takes ``save_classes`` and ``save_names`` for each other."""
    words = {"model_classes": ("save_names", "save_classes"), "model_tags": ("save_classes", "save_names")}
    found = dict(mode)
    for key, (other, own) in words.items():
        value = mode.get(key)
        if isinstance(value, Mapping) and own not in value:
            found[key] = {own if name == other else name: each for name, each in value.items()}
    return found


def _of_first_form(data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The plugin's first configurations had ``mode.source``, and the model's keys and ``model_classes`` beside it."""
    mode = data.get("mode", {})
    if not isinstance(mode, Mapping):
        return dict(data)
    mode = {"name" if key == "source" else key: value for key, value in mode.items()}
    if "model_classes" in data:
        mode.setdefault("model_classes", data["model_classes"])
    model = {key: value for key, value in data.items() if key not in ("mode", "model_classes")}
    return {"mode": mode, "model": model}


def _unwrapped(data: Any, origin: str) -> Mapping[str, Any]:
    if isinstance(data, list):
        raise InputError(f"{origin}: a list, perhaps of presets; expected one configuration, the `config` of a preset")
    if not isinstance(data, Mapping):
        raise InputError(f"{origin}: not a configuration: expected an object with keys")
    return data
