"""mmsegmentation's evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy.typing as npt
import torch

from pytorch_icnet.imaging.pixels import IMAGENET

from .areas import areas, nanmean, ratio
from .base import Floats, Logits, Prediction, Protocol, Result, Size, Tally, View, to_image
from .result import Figure, Table

LONG_SIDE, SHORT_SIDE = 2048, 1024
"""Into which the test pipeline of the Cityscapes configurations fits every image, enlarging small ones too."""

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""``--scales`` of the published multi-scale figures, which also flip."""


class MMSeg(Protocol):
    """The whole image, logits resized to it; classes that are absent everywhere leave the mean.

    With several scales or flipping it is the test-time augmentation: the mean of the softmax over all views. Those
    scales are relative to the image's own size, as in 1.x; in 0.x to 2048x1024, which is the same for Cityscapes.
    """

    name = "mmseg"
    source = "mmsegmentation 0.30.0 (mmseg/core/evaluation/metrics.py) and 1.2.2 (mmseg/evaluation/metrics)"

    def views(self, size: Size) -> tuple[View, ...]:
        flips = (False, True) if self.settings.flip else (False,)
        if self._augmented:
            sizes = [_fitted(size, _scaled(size, scale)) for scale in self.settings.scales]
        else:
            sizes = [_fitted(size, (SHORT_SIDE, LONG_SIDE))]
        pixels = self.settings.pixels or IMAGENET
        return tuple(
            View(self.settings.fit(scaled), "opencv", pixels, flip) for scaled in dict.fromkeys(sizes) for flip in flips
        )

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        total: torch.Tensor | None = None
        count = 0
        for planes in self._at_image(logits, size):
            softmax = planes.softmax(0)
            total = softmax if total is None else total.add_(softmax)
            count += 1
        assert total is not None
        result: Floats = (total / count).permute(1, 2, 0).contiguous().numpy()
        return result

    def finish(self, logits: Iterable[Logits], size: Size) -> Prediction:
        if self._augmented:
            return super().finish(logits, size)
        (planes,) = self._at_image(logits, size)
        return Prediction.of(planes)

    def result(self, tally: Tally) -> Result:
        total = areas(tally.confusion, self.num_classes)
        precision, recall = ratio(total.intersection, total.predicted), ratio(total.intersection, total.labelled)
        columns: dict[str, npt.NDArray[Any]] = {
            "iou": ratio(total.intersection, total.union),
            "accuracy": recall,
            "dice": ratio(2 * total.intersection, total.predicted + total.labelled),
            "fscore": ratio(2 * (precision * recall), precision + recall),
            "precision": precision,
            "recall": recall,
            "intersection": total.intersection,
            "union": total.union,
        }
        figures = [
            Figure("mean_iou", "mIoU", nanmean(columns["iou"])),
            Figure("pixel_accuracy", "aAcc", float(ratio(total.intersection.sum(), total.labelled.sum()))),
            *(
                Figure(f"mean_{key}", name, nanmean(columns[key]))
                for key, name in (
                    ("accuracy", "mAcc"),
                    ("dice", "mDice"),
                    ("fscore", "mFscore"),
                    ("precision", "mPrecision"),
                    ("recall", "mRecall"),
                )
            ),
        ]
        return self.report(tally, figures, Table(self.settings.table.names, columns))

    @property
    def _augmented(self) -> bool:
        return bool(self.settings.flip) or self.settings.scales != (1.0,)

    def _at_image(self, logits: Iterable[Logits], size: Size) -> Iterator[torch.Tensor]:
        """Logits at the image's size, mirrored ones turned back first."""
        for view, scores in zip(self.views(size), logits, strict=True):
            planes = scores.full()
            yield to_image(planes.flip(-1) if view.flip else planes, size, align_corners=False)


def _scaled(size: Size, scale: float) -> Size:
    """mmcv's rounding of a size times a factor."""
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _fitted(size: Size, box: Size) -> Size:
    """The largest size of the same shape in a box of either orientation (``mmcv.imrescale``)."""
    return _scaled(size, min(max(box) / max(size), min(box) / min(size)))
