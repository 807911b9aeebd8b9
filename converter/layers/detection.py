"""SSD's layers: the boxes that a feature map stands for, and the detections among them.

Sources: ``prior_box_layer.cpp``, ``detection_output_layer.cpp`` and ``bbox_util.cpp`` of SSD's fork. Boxes are (left,
top, right, bottom) as fractions of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape

Pair = tuple[float, float]


class PriorBox(nn.Module):
    """Boxes of several sizes around the centre of each pixel of a feature map.

    Args:
        sizes: (width, height) of each box of a pixel, in pixels of the image.
        variances: four numbers that scale the predictions of a box.
        image: (height, width) of the image; None: those of the second bottom.
        step: pixels of the image from one pixel of the map to the next, down and across; None: by the sizes.
        offset: where in its cell a pixel's centre lies, 0 to 1.
        clip: cut the boxes at the image's border.
    """

    def __init__(
        self,
        sizes: Sequence[Pair],
        variances: Sequence[float],
        *,
        image: tuple[int, int] | None = None,
        step: Pair | None = None,
        offset: float = 0.5,
        clip: bool = False,
    ) -> None:
        super().__init__()
        self.sizes, self.variances = tuple(sizes), tuple(variances)
        self.image, self.step, self.offset, self.clip = image, step, offset, clip

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and (N, C, height, width) to (1, 2, 4 H W boxes): the boxes and, below, their variances."""
        rows, columns = features.shape[2:]
        height, width = self.image or image.shape[2:]
        down, across = self.step or (height / rows, width / columns)
        y = (torch.arange(rows, dtype=features.dtype, device=features.device) + self.offset) * down
        x = (torch.arange(columns, dtype=features.dtype, device=features.device) + self.offset) * across
        y, x = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack([x, y, x, y], -1).unsqueeze(2)
        halves = features.new_tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in self.sizes])
        boxes = (centres + halves) / features.new_tensor([width, height, width, height])
        boxes = boxes.clamp(0, 1) if self.clip else boxes
        variances = features.new_tensor(self.variances).expand_as(boxes)
        return torch.stack([boxes.flatten(), variances.flatten()]).unsqueeze(0)

    def extra_repr(self) -> str:
        return f"{len(self.sizes)} boxes, step={self.step}, offset={self.offset}, clip={self.clip}"


@register("PriorBox", bottoms=2, tops=1)
def prior_box(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """For each pixel of the first bottom boxes in the image, which is the second bottom or has the size in the text.

    Per min_size, cut to an integer as in Caffe: a square of it, a square of sqrt(min_size * max_size) if there is a
    max_size, and a box of its area for each aspect ratio (with ``flip`` also its inverse) but 1. The ``variance`` is
    one number or four, 0.1 by default.
    """
    if len(shapes[0]) != 4 or min(shapes[0][2:]) < 1:
        raise LayerError(f"needs a 4-D feature map with pixels, has {list(shapes[0])}")
    sizes = (*params.min_size, *params.max_size, *params.aspect_ratio)
    if not params.min_size or not all(0 < size < math.inf for size in sizes):
        raise LayerError("needs min_size; it, max_size and aspect_ratio must be above 0")
    if params.max_size and len(params.max_size) != len(params.min_size):
        raise LayerError(f"{len(params.max_size)} max_size for {len(params.min_size)} min_size")
    if any(most <= least for least, most in zip(params.min_size, params.max_size, strict=False)):
        raise LayerError("each max_size must be above its min_size")
    variances = params.variance or (torch.tensor(0.1).item(),)
    if len(variances) not in (1, 4) or min(variances) <= 0:
        raise LayerError(f"needs one variance or four, above 0, has {list(variances)}")
    return PriorBox(
        _box_sizes(params),
        variances * (4 // len(variances)),
        image=_pair(params, "img_size", "img_h", "img_w"),
        step=_pair(params, "step", "step_h", "step_w"),
        offset=params.offset,
        clip=params.clip,
    )


def _box_sizes(params: Params) -> list[Pair]:
    ratios = [1.0]
    for ratio in params.aspect_ratio:
        if all(abs(ratio - other) >= 1e-6 for other in ratios):
            ratios += [ratio, 1 / ratio] if params.flip else [ratio]
    sizes = []
    for index, least in enumerate(map(int, params.min_size)):
        sizes.append((float(least), float(least)))
        if params.max_size:
            side = math.sqrt(least * int(params.max_size[index]))
            sizes.append((side, side))
        for ratio in ratios:
            if abs(ratio - 1) >= 1e-6:
                sizes.append((least * math.sqrt(ratio), least / math.sqrt(ratio)))
    return sizes


def _pair(params: Params, name: str, high: str, wide: str) -> tuple[Any, Any] | None:
    """Down and across: by a field for each, or one for both; None where the text gives neither."""
    if params.is_set(high) or params.is_set(wide):
        if params.is_set(name) or min(params[high], params[wide]) <= 0:
            raise LayerError(f"needs either {name}, or {high} and {wide}, above 0")
        return params[high], params[wide]
    if not params.is_set(name):
        return None
    if params[name] <= 0:
        raise LayerError(f"{name} must be above 0")
    return params[name], params[name]


class DetectionOutput(nn.Module):
    """Boxes from predicted offsets and scores, without those that overlap a better one.

    Args:
        classes: number of classes, the background among them.
        background: the class that is none; -1: there is none such.
        code: CORNER, CENTER_SIZE or CORNER_SIZE: what the offsets are.
        share_location: one box for all classes instead of one for each.
        scaled: the offsets are to be multiplied by the variances (not ``variance_encoded_in_target``).
        least_score: only scores above count.
        most_overlap: boxes of a class that overlap a better one by more go.
        eta: factor for ``most_overlap`` after each box that is kept, while it is above 0.5.
        candidates: at most so many boxes per class are looked at; -1: all.
        kept: at most so many boxes per image are kept; -1: all.
    """

    def __init__(
        self,
        classes: int,
        *,
        background: int = 0,
        code: str = "CORNER",
        share_location: bool = True,
        scaled: bool = True,
        least_score: float = -math.inf,
        most_overlap: float = 0.3,
        eta: float = 1.0,
        candidates: int = -1,
        kept: int = -1,
    ) -> None:
        super().__init__()
        self.classes, self.background, self.code, self.share_location = classes, background, code, share_location
        self.scaled, self.least_score, self.most_overlap, self.eta = scaled, least_score, most_overlap, eta
        self.candidates, self.kept = candidates, kept

    def forward(self, locations: torch.Tensor, scores: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Detections (1, 1, n, 7): image, class, score, left, top, right, bottom; by image, class and score.

        Args:
            locations: (N, priors * 4), or (N, priors * classes * 4).
            scores: (N, priors * classes).
            priors: (1, 2, priors * 4), as PriorBox gives them.

        Returns:
            n is the number of detections; without any there is a row per image with its number and six times -1.
            From shapes alone n is 1, as Caffe has it before it runs.
        """
        if locations.is_meta:
            return locations.new_empty((1, 1, 1, 7))
        images = scores.shape[0]
        boxes = self.decode(locations.reshape(images, priors.shape[2] // 4, -1, 4), priors)
        by_class = scores.reshape(images, -1, self.classes)
        rows = [self._rows(image, boxes[image], by_class[image]) for image in range(images)]
        found = torch.cat(rows)
        if not len(found):
            found = scores.new_full((images, 7), -1)
            found[:, 0] = torch.arange(images)
        return found.reshape(1, 1, -1, 7)

    def decode(self, offsets: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Boxes from offsets, both (N, priors, 1 or classes, 4)."""
        prior, variance = priors.reshape(2, -1, 1, 4).unbind()
        offsets = offsets * variance if self.scaled else offsets
        corner, size = prior[..., :2], prior[..., 2:] - prior[..., :2]
        if self.code == "CORNER":
            return prior + offsets
        if self.code == "CORNER_SIZE":
            return prior + offsets * torch.cat([size, size], -1)
        centre = offsets[..., :2] * size + (corner + prior[..., 2:]) / 2
        half = offsets[..., 2:].exp() * size / 2
        return torch.cat([centre - half, centre + half], -1)

    def _rows(self, image: int, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The detections of one image, (n, 7), from boxes (priors, 1 or classes, 4) and scores (priors, classes)."""
        rows = []
        for label in range(self.classes):
            if label == self.background:
                continue
            candidates = boxes[:, 0 if self.share_location else label]
            chosen = self._suppress(candidates, scores[:, label])
            head = scores.new_tensor([image, label]).expand(len(chosen), 2)
            rows.append(torch.cat([head, scores[chosen, label].unsqueeze(1), candidates[chosen]], 1))
        found = torch.cat(rows) if rows else scores.new_empty((0, 7))
        if 0 <= self.kept < len(found):
            best = found[:, 2].argsort(descending=True, stable=True)[: self.kept]
            found = found[best]
            found = found[found[:, 1].argsort(stable=True)]
        return found

    def _suppress(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Indices of the boxes (n, 4) that stay, best first: greedy non-maximum suppression."""
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] > self.least_score]
        order = order[: self.candidates] if self.candidates > -1 else order
        boxes = boxes[order]
        overlap = boxes.new_zeros(len(boxes))  # of each box with those kept so far
        threshold, chosen, place = self.most_overlap, [], 0
        while place < len(boxes):
            chosen.append(place)
            overlap = torch.maximum(overlap, overlaps(boxes[place], boxes))
            if self.eta < 1 and threshold > 0.5:
                threshold *= self.eta
            left = (overlap[place + 1 :] <= threshold).nonzero()
            place = place + 1 + int(left[0]) if len(left) else len(boxes)
        return order[chosen]

    def extra_repr(self) -> str:
        return f"{self.classes} classes, {self.code}, scores > {self.least_score:g}, overlap <= {self.most_overlap:g}"


def overlaps(box: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Intersection over union of a box (4,) with each of (n, 4); a box with negative sides has no area."""
    sides = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0)
    common = sides.prod(1)
    own = (box[2:] - box[:2]).clamp(min=0).prod()
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return torch.where(common > 0, common / (own + areas - common), 0)


_LIMITS = (
    "no files (save_output_param), none of RefineDet's further bottoms; "
    "the scores decide how it runs, so torch.export and ONNX cannot take it"
)


@register("DetectionOutput", bottoms=3, tops=1, limits=_LIMITS)
def detection_output(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """Locations, scores and prior boxes to detections, 1 x 1 x n x 7; how many is known only after the run."""
    locations, scores, priors = shapes
    if not params.is_set("num_classes"):
        raise LayerError("needs num_classes")
    nms, classes = params.nms_param, params.num_classes
    if nms.nms_threshold < 0 or not 0 < nms.eta <= 1:
        raise LayerError(
            f"nms_threshold {nms.nms_threshold:g} must not be negative, eta {nms.eta:g} above 0, at most 1"
        )
    if len(priors) < 3 or priors[1] != 2:
        raise LayerError(f"the prior boxes must be (1, 2, priors * 4), not {list(priors)}")
    count = priors[2] // 4
    needed = {"locations": count * (1 if params.share_location else classes) * 4, "scores": count * classes}
    for (name, values), shape in zip(needed.items(), (locations, scores), strict=True):
        if len(shape) < 2 or shape[0] != locations[0] or shape[1] != values or math.prod(shape[2:]) != 1:
            raise LayerError(f"{count} prior boxes need {name} (N, {values}), not {list(shape)}")
    return DetectionOutput(
        classes,
        background=params.background_label_id,
        code=params.code_type,
        share_location=params.share_location,
        scaled=not params.variance_encoded_in_target,
        least_score=params.confidence_threshold if params.is_set("confidence_threshold") else -math.inf,
        most_overlap=nms.nms_threshold,
        eta=nms.eta,
        candidates=nms.top_k if nms.is_set("top_k") else -1,
        kept=params.keep_top_k,
    )
