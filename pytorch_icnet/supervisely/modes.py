"""Inference modes: from an image and its annotation to the annotation with what the network sees in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from icnet_common.errors import InputError

from ..arrays import Bytes, Floats
from ..imaging.postprocess import first_maximum
from ..imaging.windows import Grid
from ..predictor import Predictor
from .annotation import Annotation, AnnotationFigure
from .config import Boxes, Mode, Roi, Sides, Windows
from .meta import Meta, ObjectClass
from .shapes import Bitmap, Box, Rectangle


class RegionProbabilities(NamedTuple):
    """The probabilities of a part of an image."""

    box: Box
    probabilities: Floats
    """float32 CxHxW, of the classes that are written, in their order."""


_Seen = tuple[Box, Bytes, Floats | None]
"""A part of an image, its labels, and the probabilities of all classes, CxHxW, where they are wanted."""


@dataclass(frozen=True)
class DeployedModel:
    """A network and the classes that it writes."""

    predictor: Predictor
    classes: Mapping[int, ObjectClass]
    """By the index of their scores. Background, which has none, is never written."""

    @classmethod
    def of(cls, predictor: Predictor) -> DeployedModel:
        """With every class of the predictor's table."""
        entries = enumerate(predictor.classes.scored)
        return cls(predictor, {index: ObjectClass(each.name, "bitmap", each.colour) for index, each in entries})

    def meta(self) -> Meta:
        """Its classes."""
        return Meta(tuple(self.classes[index] for index in sorted(self.classes)))


class Inference:
    """A network, applied as a configuration says, to the images of one project.

    Args:
        mode: where in the images the network looks, and what is written.
        meta: of the project.
        origin: of the configuration, for messages.

    Attributes:
        meta: of the project that is made: with the classes that are added.

    Raises:
        InputError: the configuration names classes that the model, or the project, does not have, or gives new classes
            names that the project has for something else.
    """

    def __init__(self, mode: Mode, model: DeployedModel, meta: Meta, origin: str = "the mode") -> None:
        self.mode, self.model = mode, model
        renamed = mode.model_classes
        titles = {each.title: index for index, each in sorted(model.classes.items())}
        _check_known(renamed.save_classes, titles, f"{origin}: model_classes.save_classes", "the model")
        self._written = {
            index: replace(model.classes[index], title=title + renamed.add_suffix)
            for title, index in titles.items()
            if renamed.save_classes is None or title in renamed.save_classes
        }
        added = [*self._written.values()]
        if isinstance(mode, Boxes):
            known = [each.title for each in meta.classes]
            _check_known(mode.from_classes, known, f"{origin}: from_classes", "the project")
            self._sources = set(known if mode.from_classes is None else mode.from_classes)
            if mode.save:
                sources = (each for each in meta.classes if each.title in self._sources)
                added += [ObjectClass(each.title + mode.add_suffix, "rectangle", each.colour) for each in sources]
        elif isinstance(mode, (Roi, Windows)) and mode.save:
            added.append(ObjectClass(mode.class_name, "rectangle"))
        self.meta = meta.with_classes(added, origin)

    def annotate(self, rgb: Bytes, annotation: Annotation) -> tuple[Annotation, list[RegionProbabilities]]:
        """The annotation with a bitmap per class that was found, above what it had.

        ``rgb`` is uint8 HxWx3. With ``save_probabilities`` also the probabilities of each part that was looked at.

        Raises:
            InputError: the annotation is of another size, or ``bounds`` leave nothing of the image.
        """
        size = (rgb.shape[0], rgb.shape[1])
        if annotation.size != size:
            raise InputError(
                f"the image is {size[0]}x{size[1]}, its annotation {annotation.size[0]}x{annotation.size[1]}"
            )
        whole = Box(0, 0, size[1] - 1, size[0] - 1)
        mode = self.mode
        if isinstance(mode, Boxes):
            boxes = self._boxes(mode, annotation)
            seen = [self._look(rgb, box) for _, box in boxes]
            frames = [(source.title + mode.add_suffix, box) for source, box in boxes]
        elif isinstance(mode, Roi):
            box = inner(whole, mode.bounds)
            seen, frames = [self._look(rgb, box)], [(mode.class_name, box)]
        elif isinstance(mode, Windows):
            window, overlap = _windows(mode, size)
            grid = Grid.over(size, window, overlap)
            seen, frames = [self._slide(rgb, whole, grid, overlap)], [(mode.class_name, box) for box in _boxes(grid)]
        else:
            seen, frames = [self._look(rgb, whole)], []
        figures = [
            AnnotationFigure(written.title, Bitmap.of(mask, box.left, box.top))
            for box, labels, _ in seen
            for index, written in self._written.items()
            if (mask := labels == index).any()
        ]
        if getattr(mode, "save", False):
            figures += [AnnotationFigure(title, Rectangle(box)) for title, box in frames]
        chosen = list(self._written)
        regions = [RegionProbabilities(box, scores[chosen]) for box, _, scores in seen if scores is not None]
        return replace(annotation, figures=(*annotation.figures, *figures)), regions

    def passes(self, annotation: Annotation) -> int:
        """How many parts of an image the network looks at."""
        if isinstance(self.mode, Boxes):
            return len(self._boxes(self.mode, annotation))
        if isinstance(self.mode, Windows):
            grid = Grid.over(annotation.size, *_windows(self.mode, annotation.size))
            return len(grid.tops) * len(grid.lefts)
        return 1

    def titles(self) -> list[str]:
        """The classes of a region's probabilities."""
        return [each.title for each in self._written.values()]

    def _look(self, rgb: Bytes, box: Box) -> _Seen:
        part, predictor = np.ascontiguousarray(box.cut(rgb)), self.model.predictor
        if not self.mode.save_probabilities:
            return box, predictor.labels(part), None
        scored = predictor.forward(predictor.prepare(part))
        return box, predictor.finish(scored), predictor.probabilities_of(scored)

    def _slide(self, rgb: Bytes, box: Box, grid: Grid, overlap: tuple[int, int]) -> _Seen:
        if not self.mode.save_probabilities:
            return box, self.model.predictor.sliding_labels(rgb, grid.window, overlap), None
        scores = self.model.predictor.sliding(rgb, grid.window, overlap)
        return box, first_maximum(scores.transpose(1, 2, 0)), scores

    def _boxes(self, mode: Boxes, annotation: Annotation) -> list[tuple[AnnotationFigure, Box]]:
        """The figures that are looked at, with the boxes around them; those outside the image are left out."""
        chosen = []
        for figure in annotation.figures:
            if figure.shape is not None and figure.title in self._sources:
                box = outer(figure.shape.box, mode.padding).within(*annotation.size)
                if box is not None:
                    chosen.append((figure, box))
        return chosen


def inner(box: Box, sides: Sides) -> Box:
    """What is left of a box when each side is moved inwards. Raises InputError: nothing, or more than there was."""
    left, top, right, bottom = _pixels(box, sides)
    cut = Box(box.left + left, box.top + top, box.right - right, box.bottom - bottom)
    if cut.within(box.bottom + 1, box.right + 1) != cut:
        given = ", ".join(f"{key} {value}" for key, value in vars(sides).items())
        raise InputError(f"bounds ({given}) leave no part of an image of {box.height}x{box.width}")
    return cut


def outer(box: Box, sides: Sides) -> Box:
    """A box with each side moved outwards."""
    left, top, right, bottom = _pixels(box, sides)
    return Box(box.left - left, box.top - top, box.right + right, box.bottom + bottom)


def _pixels(box: Box, sides: Sides) -> tuple[int, int, int, int]:
    """In the order of :class:`Sides`."""
    lengths = zip(vars(sides).values(), 2 * (box.width, box.height), strict=True)
    left, top, right, bottom = (
        int(text[:-2]) if text.endswith("px") else int(whole * int(text[:-1]) / 100) for text, whole in lengths
    )
    return left, top, right, bottom


def _boxes(grid: Grid) -> list[Box]:
    height, width = grid.window
    return [Box(left, top, left + width - 1, top + height - 1) for top in grid.tops for left in grid.lefts]


def _windows(mode: Windows, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Windows and overlap, (rows, columns) each; where one window covers an axis it is the image's, without overlap."""
    axes = zip((mode.window.height, mode.window.width), (mode.min_overlap.y, mode.min_overlap.x), size, strict=True)
    rows, columns = ((side, shared) if side < whole else (whole, 0) for side, shared, whole in axes)
    return (rows[0], columns[0]), (rows[1], columns[1])


def _check_known(chosen: Iterable[str] | None, known: Iterable[str], what: str, owner: str) -> None:
    known = list(known)
    for title in chosen or ():
        if title not in known:
            listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise InputError(f"{what}: {owner} has no class {title!r}; it has {listed or 'none'}")
