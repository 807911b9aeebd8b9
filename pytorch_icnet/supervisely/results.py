"""Checkpoint folders, as the plugin's trainings leave them: ``config.json`` with the classes, and ``model.pt``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from icnet_common.config import checked, is_name, read_json, shown
from icnet_common.errors import InputError
from icnet_common.files import atomic_folder, write_json

from ..card import card_of
from ..datasets.classes import ClassEntry, ClassTable, default_colour
from ..predictor import Predictor
from ..weights.checkpoints import load
from .config import InputSize
from .meta import MAX_META_BYTES, ObjectClass, classes_of
from .modes import DeployedModel

CONFIG, WEIGHTS = "config.json", "model.pt"
BACKGROUND = "background"
"""What index 0 is called, which the plugin keeps for pixels without a class; it is never written."""


@dataclass(frozen=True)
class PluginCheckpoint:
    """What ``config.json`` says of a checkpoint."""

    folder: Path
    settings: Mapping[str, Any]
    """The train configuration."""
    classes: tuple[ObjectClass, ...]
    indices: Mapping[str, int]
    """``class_title_to_idx``: the score of each class."""

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width; None where the settings do not say."""
        if "input_size" not in self.settings:
            return None
        origin = str(self.folder / CONFIG)
        size = checked(InputSize, self.settings["input_size"], origin, "settings.input_size.")
        return size.height, size.width

    def table(self) -> ClassTable:
        """The classes by their indices; indices without a class have names of their own."""
        by_index = {self.indices[each.title]: each for each in self.classes}
        entries = []
        for index in range(max(self.indices.values()) + 1):
            known = by_index.get(index)
            name = known.title if known else BACKGROUND if index == 0 else f"class {index}"
            plain = (0, 0, 0) if name == BACKGROUND else default_colour(index)
            entries.append(ClassEntry(index, name, known.colour if known else plain, index))
        return ClassTable(str(self.folder), tuple(entries))

    def model(self, **options: Any) -> DeployedModel:
        """The network, which predicts by the plugin's rules, and its classes; ``options`` are a :class:`Predictor`'s.

        Raises:
            InputError: the weights cannot be used, or are for fewer classes.
        """
        module, table = load(self.weights), self.table()
        scores = card_of(module).num_classes or 0
        if scores < table.num_classes:
            raise InputError(f"{self.weights}: scores {scores} classes, but {CONFIG} has {table.num_classes}")
        if scores == table.num_classes:
            options["classes"] = table
        predictor = Predictor(module, protocol="supervisely", **{"input_size": self.input_size, **options})
        return DeployedModel(predictor, {self.indices[each.title]: each for each in self.classes})


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path is such a folder."""
    return (Path(path) / CONFIG).is_file()


def read_checkpoint_folder(folder: str | os.PathLike[str]) -> PluginCheckpoint:
    """The checkpoint in a folder, its weights unread. Raises InputError where ``config.json`` is missing or damaged."""
    path = Path(folder) / CONFIG
    data = read_json(path, MAX_META_BYTES)
    if not isinstance(data, Mapping) or not isinstance(data.get("classes"), list):
        raise InputError(f"{path}: not of a checkpoint: expected `classes` and `class_title_to_idx`")
    indices = data.get("class_title_to_idx")
    if not isinstance(indices, Mapping) or not indices:
        raise InputError(f"{path}: class_title_to_idx is {shown(indices)}; expected an index for each class")
    for title, index in indices.items():
        if not is_name(title) or type(index) is not int or not 0 <= index < 256:
            raise InputError(f"{path}: class_title_to_idx of {str(title)[:60]!r} is {shown(index)}; expected 0 to 255")
    if len(set(indices.values())) != len(indices):
        raise InputError(f"{path}: class_title_to_idx gives one index to two classes")
    classes = tuple(each for each in classes_of(data["classes"], str(path)) if each.title in indices)
    settings = data.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise InputError(f"{path}: settings are {shown(settings)}; expected an object with keys")
    return PluginCheckpoint(Path(folder), settings, classes, dict(indices))


def write_checkpoint_folder(checkpoint: PluginCheckpoint, state: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint and its weights; the folder appears whole or not at all, in place of an older one."""
    data = {
        "settings": checkpoint.settings,
        "classes": [each.as_data() for each in checkpoint.classes],
        "class_title_to_idx": dict(checkpoint.indices),
    }
    with atomic_folder(checkpoint.folder, is_checkpoint) as folder:
        write_json(folder / CONFIG, data)
        torch.save({key: value.detach().cpu().contiguous() for key, value in state.items()}, folder / WEIGHTS)


def open_model(weights: str | os.PathLike[str], **options: Any) -> DeployedModel:
    """A model from a checkpoint folder, or from any file that :func:`pytorch_icnet.load` takes.

    ``options`` are for :class:`pytorch_icnet.Predictor`.

    Raises:
        InputError: neither can be read.
    """
    if Path(weights).is_dir():
        return read_checkpoint_folder(weights).model(**options)
    return DeployedModel.of(Predictor(weights, **options))
