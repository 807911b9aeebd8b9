"""Samples from a Supervisely project: images by their tags, annotations drawn as label maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evaluation.data.lists import Entry
from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import IGNORED, ClassTable
from pytorch_icnet.supervisely.annotation import read_annotation, read_summary
from pytorch_icnet.supervisely.config import TrainConfig
from pytorch_icnet.supervisely.meta import Meta
from pytorch_icnet.supervisely.project import Project
from pytorch_icnet.supervisely.results import PluginCheckpoint

from ..data import LabelledImages

FIRST = 1
"""The index of the first class; 0 is for pixels without one."""


@dataclass(frozen=True)
class ProjectSource(LabelledImages):
    """Images of a project with certain tags, their annotations drawn as label maps."""

    meta: Meta = field(default_factory=Meta)
    indices: dict[str, int] = field(default_factory=dict)
    """What the pixels of each class become; the neutral one is :data:`IGNORED`."""
    allow_corrupted: int = 0
    """So many different images may fail to load; the next ones take their place. Otherwise the error is raised."""
    failed: dict[int, str] = field(default_factory=dict, compare=False)

    def read(self, index: int) -> tuple[Any, Any]:
        """See :meth:`training.data.LabelledImages.read`."""
        while True:
            try:
                return super().read(index)
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

    def labels(self, entry: Entry) -> Any:
        """The annotation of an image, drawn."""
        annotation = read_annotation(self.root / str(entry.label), self.meta)
        return annotation.label_map(self.indices, str(entry.label))


def class_indices(config: TrainConfig, meta: Meta, old: PluginCheckpoint | None) -> dict[str, int]:
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


def sources(
    config: TrainConfig, project: Project, indices: dict[str, int], table: ClassTable
) -> tuple[LabelledImages, LabelledImages]:
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
        tags, count = read_summary(item.annotation)
        for tag in set(wanted) & set(tags):
            image, label = (path.relative_to(project.root).as_posix() for path in (item.image, item.annotation))
            found[tag].append(Entry(image, label, len(found[tag]) + 1))
            objects[tag] += count
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
