"""Losses and Accuracy: numbers without axes, or with one per class."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from prototxt import Layer, read_mean

from .activation import softmax_of
from .registry import Array, NoReferenceError, formula
from .shapes import canonical, outer_axis_inner

LEAST_FLOAT = float(np.finfo(np.float32).tiny)
"""FLT_MIN, below which SoftmaxWithLoss takes no logarithm."""
LEAST_PROBABILITY = 1e-20
"""kLOG_THRESHOLD, the same in the other losses."""


def _scalar(value: float) -> Array:
    return np.array(value, dtype=np.float64)


def _normalizer(layer: Layer, default: str, count: int, instances: int, images: int) -> float:
    """What a loss is divided by: ``normalization``, else the older ``normalize``, else the layer's default.

    ``GetNormalizer`` of ``softmax_loss_layer.cpp`` and others; never less than 1.
    """
    params = layer.params.get("loss_param")
    mode = default
    if params is not None and params.is_set("normalization"):
        mode = params.normalization
    elif params is not None and params.is_set("normalize"):
        mode = "VALID" if params.normalize else "BATCH_SIZE"
    return max({"FULL": instances, "VALID": count, "BATCH_SIZE": images, "NONE": 1}[mode], 1)


def _ignored(layer: Layer) -> int | None:
    params = layer.params.get("loss_param")
    if params is not None and (params.weight_by_label_freqs or params.class_weighting):
        raise NoReferenceError("a loss weighted by class")
    return params.ignore_label if params is not None and params.is_set("ignore_label") else None


def _labelled_loss(layer: Layer, bottoms: list[Array], axis: int, loss: Callable[[Array, int], float]) -> list[Array]:
    """The sum of ``loss(probabilities, label)`` over all labels that are not ignored, and the probabilities."""
    axis = canonical(axis, bottoms[0].ndim)
    probabilities = softmax_of(bottoms[0], axis)
    rows = outer_axis_inner(probabilities, axis)
    labels = bottoms[1].astype(int).reshape(rows.shape[0], rows.shape[2])
    places = [place for place in np.ndindex(*labels.shape) if labels[place] != _ignored(layer)]
    total = math.fsum(loss(rows[outer, :, inner], int(labels[outer, inner])) for outer, inner in places)
    return [_scalar(total / _normalizer(layer, "VALID", len(places), labels.size, len(rows))), probabilities]


@formula("SoftmaxWithLoss")
def softmax_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """-log of the probability of each label, on average; the second top is the probabilities."""
    return _labelled_loss(layer, bottoms, layer.params.axis, lambda p, label: -math.log(max(p[label], LEAST_FLOAT)))


@formula("InfogainLoss")
def infogain_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """-sum of H[label, k] log p[k], on average, p the softmax of the first bottom; H is the third, or in a file."""
    axis = canonical(layer.params.axis, bottoms[0].ndim)
    matrix = bottoms[2] if len(bottoms) == 3 else read_mean(layer.params.source)
    matrix = np.asarray(matrix, dtype=np.float64).reshape(bottoms[0].shape[axis], -1)
    return _labelled_loss(
        layer, bottoms, axis, lambda p, label: -float(matrix[label] @ np.log(np.maximum(p, LEAST_PROBABILITY)))
    )


@formula("MultinomialLogisticLoss")
def multinomial_logistic_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """-log of the label's entry in each row of probabilities, divided by the number of rows."""
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    labels = bottoms[1].astype(int).reshape(-1)
    chosen = rows[np.arange(len(rows)), labels]
    return [_scalar(-np.log(np.maximum(chosen, LEAST_PROBABILITY)).sum() / len(rows))]


@formula("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """-(t log s + (1 - t) log(1 - s)), s the sigmoid of x, summed and by default divided by the number of images."""
    x, target = bottoms[0], bottoms[1].reshape(bottoms[0].shape)
    ignored = _ignored(layer)
    counted = np.ones(x.shape, bool) if ignored is None else target.astype(int) != ignored
    losses = np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x)))
    normalizer = _normalizer(layer, "BATCH_SIZE", int(counted.sum()), x.size, len(x))
    return [_scalar(losses[counted].sum() / normalizer)]


@formula("EuclideanLoss")
def euclidean_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Half the sum of squared differences, divided by the number of images."""
    a, b = bottoms
    return [_scalar(((a - b.reshape(a.shape)) ** 2).sum() / len(a) / 2)]


@formula("HingeLoss")
def hinge_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """max(0, 1 - x) for the label and max(0, 1 + x) for the others, or their squares, per image."""
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    sign = np.ones_like(rows)
    sign[np.arange(len(rows)), bottoms[1].astype(int).reshape(-1)] = -1
    margins = np.maximum(0, 1 + sign * rows)
    return [_scalar((margins**2 if layer.params.norm == "L2" else margins).sum() / len(rows))]


@formula("ContrastiveLoss")
def contrastive_loss(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Half the mean of d² for pairs that belong together, of max(margin - d, 0)² for the others.

    d is the Euclidean distance of the rows; ``legacy_version``: max(margin - d², 0) (``contrastive_loss_layer.cpp``).
    """
    a, b = (x.reshape(len(x), -1) for x in bottoms[:2])
    squared = ((a - b) ** 2).sum(axis=1)
    margin = layer.params.margin
    if layer.params.legacy_version:
        apart = np.maximum(margin - squared, 0)
    else:
        apart = np.maximum(margin - np.sqrt(squared), 0) ** 2
    together = bottoms[2].reshape(-1).astype(int) != 0
    return [_scalar(np.where(together, squared, apart).sum() / len(a) / 2)]


@formula("Accuracy")
def accuracy(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """The share of labels whose score is among the top_k; ties count against it. Second top: that of each class.

    ``accuracy_layer.cpp``; 0 where nothing was counted.
    """
    params = layer.params
    rows = outer_axis_inner(bottoms[0], canonical(params.axis, bottoms[0].ndim))
    labels = bottoms[1].astype(int).reshape(rows.shape[0], rows.shape[2])
    right, seen = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for outer, inner in np.ndindex(labels.shape):
        label = labels[outer, inner]
        if params.is_set("ignore_label") and label == params.ignore_label:
            continue
        scores = rows[outer, :, inner]
        seen[label] += 1
        right[label] += np.count_nonzero(scores >= scores[label]) - 1 < params.top_k
    return [_scalar(right.sum() / max(seen.sum(), 1)), right / np.maximum(seen, 1)]
