"""Boxes: PriorBox, DetectionOutput (SSD), ROIPooling (Fast R-CNN), PSROIPooling (R-FCN)."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from prototxt import Layer, Params

from .pooling import LOWEST
from .registry import Array, formula


def _rounded(value: float) -> int:
    """C's round: halves go away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


@formula("ROIPooling")
def roi_pooling(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The maximum in each of pooled_h x pooled_w bins of each region (image, x1, y1, x2, y2); an empty bin is 0.

    ``roi_pooling_layer.cpp``: corners are scaled and rounded, both belong to the region, which is at least 1 x 1.
    """
    x, regions = bottoms
    params = layer.params
    regions = regions.reshape(-1, 5)
    top = np.zeros((len(regions), x.shape[1], params.pooled_h, params.pooled_w))
    for number, (image, *corners) in enumerate(regions):
        left, upper, right, lower = (_rounded(corner * params.spatial_scale) for corner in corners)
        rows = _bins(upper, max(lower - upper + 1, 1), params.pooled_h, x.shape[2])
        columns = _bins(left, max(right - left + 1, 1), params.pooled_w, x.shape[3])
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
            window = x[int(image), :, row, column].reshape(x.shape[1], -1)
            if window.shape[1]:
                top[number, :, i, j] = np.maximum(window.max(axis=1), LOWEST)
    return [top]


def _bins(start: float, length: float, count: int, size: int) -> list[slice]:
    """``count`` equal parts of a span, widened to whole pixels and clipped to the image."""
    step = length / count
    if isinstance(start, int):
        ends = [(start + math.floor(i * step), start + math.ceil((i + 1) * step)) for i in range(count)]
    else:
        ends = [(math.floor(i * step + start), math.ceil((i + 1) * step + start)) for i in range(count)]
    return [slice(min(max(low, 0), size), min(max(high, 0), size)) for low, high in ends]


@formula("PSROIPooling")
def position_sensitive_roi_pooling(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The mean in each of group_size x group_size bins, each bin looking at channels of its own; an empty bin is 0.

    ``psroi_pooling_layer.cu``: corners are rounded, then scaled; a region is at least 0.1 wide and high.
    """
    x, regions = bottoms
    params = layer.params
    group = params.group_size
    regions = regions.reshape(-1, 5)
    top = np.zeros((len(regions), params.output_dim, group, group))
    for number, (image, *corners) in enumerate(regions):
        left, upper = (_rounded(corner) * params.spatial_scale for corner in corners[:2])
        right, lower = ((_rounded(corner) + 1.0) * params.spatial_scale for corner in corners[2:])
        rows = _bins(float(upper), max(lower - upper, 0.1), group, x.shape[2])
        columns = _bins(float(left), max(right - left, 0.1), group, x.shape[3])
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
            channels = (np.arange(params.output_dim) * group + i) * group + j
            window = x[int(image), channels, row, column].reshape(params.output_dim, -1)
            if window.shape[1]:
                top[number, :, i, j] = window.mean(axis=1)
    return [top]


@formula("PriorBox")
def prior_box(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Boxes of several sizes and aspect ratios around each pixel, as fractions of the image, and their variances.

    SSD's ``prior_box_layer.cpp``; sizes lose their fraction there. Top: 1 x 2 x (pixels boxes 4).
    """
    params = layer.params
    rows, columns = bottoms[0].shape[2:]
    height, width = bottoms[1].shape[2:]
    if params.is_set("img_size"):
        height = width = params.img_size
    elif params.is_set("img_h") and params.is_set("img_w"):
        height, width = params.img_h, params.img_w
    steps = (params.step_h, params.step_w) if params.is_set("step_h") else (params.step, params.step)
    step_y, step_x = steps if all(steps) else (height / rows, width / columns)
    shapes = _box_shapes(params)
    boxes = []
    for row, column, (w, h) in itertools.product(range(rows), range(columns), shapes):
        x, y = (column + params.offset) * step_x, (row + params.offset) * step_y
        boxes += [(x - w / 2) / width, (y - h / 2) / height, (x + w / 2) / width, (y + h / 2) / height]
    corners = np.clip(boxes, 0, 1) if params.clip else np.array(boxes)
    variances = list(params.variance) or [0.1]
    variances *= 4 if len(variances) == 1 else 1
    return [np.stack([corners, np.tile(variances, corners.size // 4)])[None]]


def _box_shapes(params: Params) -> list[tuple[float, float]]:
    """Widths and heights: per smallest size the square, the square towards the largest size, then the other ratios."""
    ratios = [1.0]
    for ratio in params.aspect_ratio:
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if params.flip else [ratio]
    shapes: list[tuple[float, float]] = []
    for index, size in enumerate(map(int, params.min_size)):
        sides = [float(size)]
        if params.max_size:
            sides.append(math.sqrt(size * int(params.max_size[index])))
        shapes += [(side, side) for side in sides]
        shapes += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios[1:]]
    return shapes


class Detection(NamedTuple):
    """A box that may be kept."""

    label: int
    score: float
    corners: Array


@formula("DetectionOutput")
def detection_output(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Boxes that survive the confidence threshold, non-maximum suppression per class and the limit per image.

    SSD's ``detection_output_layer.cpp`` and ``bbox_util.cpp``. Rows of (image, label, score, x1, y1, x2, y2), by image
    and label, best first. Without any: a row of -1 per image, with the image's number in front.
    """
    params = layer.params
    images = len(bottoms[0])
    sides = 1 if params.share_location else params.num_classes
    offsets = bottoms[0].reshape(images, -1, sides, 4)
    scores = bottoms[1].reshape(images, -1, params.num_classes)
    priors, variances = bottoms[2].reshape(2, -1, 4)
    rows = []
    for image in range(images):
        kept: list[Detection] = []
        for label in range(params.num_classes):
            if label != params.background_label_id:
                places = offsets[image, :, 0 if params.share_location else label]
                corners = _decoded(params, places, priors, variances)
                kept += _suppressed(params, label, scores[image, :, label], corners)
        if -1 < params.keep_top_k < len(kept):
            best = sorted(kept, key=lambda box: -box.score)[: params.keep_top_k]
            kept = sorted(best, key=lambda box: box.label)
        rows += [[image, box.label, box.score, *box.corners] for box in kept]
    if not rows:
        rows = [[image, *[-1.0] * 6] for image in range(images)]
    return [np.array(rows)[None, None]]


def _decoded(params: Params, offsets: Array, priors: Array, variances: Array) -> Array:
    """Corners of the boxes that the offsets mean, relative to their priors."""
    shift = offsets if params.variance_encoded_in_target else offsets * variances
    low, high = priors[:, :2], priors[:, 2:]
    size = high - low
    if params.code_type != "CENTER_SIZE":
        shift = shift * (np.hstack([size, size]) if params.code_type == "CORNER_SIZE" else 1)
        return np.asarray(priors + shift)
    center = shift[:, :2] * size + (low + high) / 2
    half = np.exp(shift[:, 2:]) * size / 2
    return np.hstack([center - half, center + half])


def _suppressed(params: Params, label: int, scores: Array, corners: Array) -> list[Detection]:
    """The boxes of one class, best first, that overlap no better one too much."""
    nms = params.nms_param
    lowest = params.confidence_threshold if params.is_set("confidence_threshold") else LOWEST
    candidates = sorted((i for i in range(len(scores)) if scores[i] > lowest), key=lambda i: -scores[i])
    if nms.is_set("top_k") and nms.top_k > -1:
        candidates = candidates[: nms.top_k]
    limit = nms.nms_threshold
    kept: list[Detection] = []
    for index in candidates:
        if all(_overlap(corners[index], other.corners) <= limit for other in kept):
            kept.append(Detection(label, float(scores[index]), corners[index]))
            if nms.eta < 1 and limit > 0.5:
                limit *= nms.eta
    return kept


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union."""
    common, area_a, area_b = (
        float(np.prod(np.maximum(high - low, 0)))
        for low, high in ((np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])), (a[:2], a[2:]), (b[:2], b[2:]))
    )
    return common / (area_a + area_b - common) if common > 0 else 0.0
