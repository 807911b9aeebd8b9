"""Losses and accuracy, as the TEST phase computes them: numbers about the predictions of a batch.

Labels are numbers in float blobs, cut towards zero as C++ does. Unless said otherwise the first bottom holds the
predictions and the second the labels, with as many items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params, read_mean

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, legacy_shape, need_axes

_SMALLEST = torch.finfo(torch.float32).tiny  # FLT_MIN
_LOG_THRESHOLD = 1e-20


def divisor(mode: str, valid: torch.Tensor, outer: int) -> torch.Tensor | int:
    """What the sum of a loss is divided by (``LossParameter``), but at least 1.

    Args:
        mode: FULL: all labels; VALID: those that are not ignored; BATCH_SIZE: the outer ones; NONE: 1.
        valid: which labels count, one bool each.
        outer: the number of items.
    """
    if mode == "VALID":
        return valid.sum().clamp(min=1)
    return max({"FULL": valid.numel(), "BATCH_SIZE": outer, "NONE": 1}[mode], 1)


def _mode(params: Params, default: str) -> str:
    """``loss_param``'s ``normalization``, or its predecessor ``normalize``, or the layer's default."""
    loss = params.get("loss_param")
    if loss is None or not (loss.is_set("normalization") or loss.is_set("normalize")):
        return default
    if loss.is_set("normalization"):
        return str(loss.normalization)
    return "VALID" if loss.normalize else "BATCH_SIZE"


def _ignored(params: Params) -> int | None:
    loss = params.get("loss_param")
    return int(loss.ignore_label) if loss is not None and loss.is_set("ignore_label") else None


def _valid(labels: torch.Tensor, ignored: int | None) -> torch.Tensor:
    return torch.ones_like(labels, dtype=torch.bool) if ignored is None else labels != ignored


def _check_items(shapes: Sequence[Shape]) -> None:
    """``LossLayer::Reshape``: predictions and labels are for the same items."""
    if not shapes[0] or not shapes[1] or shapes[0][0] != shapes[1][0]:
        raise LayerError(f"predictions {list(shapes[0])} and labels {list(shapes[1])} differ in their items")


def _class_axis(params: Params, shapes: Sequence[Shape]) -> int:
    """The axis of the classes; there is a label for each place of the predictions along the others."""
    axis = canonical_axis(params.axis, len(shapes[0]))
    expected = math.prod(shapes[0][:axis] + shapes[0][axis + 1 :])
    if math.prod(shapes[1]) != expected:
        raise LayerError(f"predictions {list(shapes[0])} with classes along axis {axis} need {expected} labels")
    return axis


class SoftmaxWithLoss(nn.Module):
    """The mean of -log of the label's probability, the softmax of the scores along ``axis``; second top: those."""

    def __init__(self, axis: int, mode: str, ignored: int | None = None) -> None:
        super().__init__()
        self.axis, self.mode, self.ignored = axis, mode, ignored

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(..., classes, ...) and one label for each other place, to () and the shape of the scores."""
        probabilities = F.softmax(scores, self.axis)
        wanted = labels.long().reshape(*scores.shape[: self.axis], 1, *scores.shape[self.axis + 1 :])
        valid = _valid(wanted, self.ignored)
        losses = -probabilities.gather(self.axis, torch.where(valid, wanted, 0)).clamp(min=_SMALLEST).log()
        total = torch.where(valid, losses, 0).sum()
        return total / divisor(self.mode, valid, math.prod(scores.shape[: self.axis])), probabilities


@register("SoftmaxWithLoss", bottoms=2, tops=(1, 2), automatic_tops=True)
def softmax_with_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``softmax_loss_layer.cpp``: cross entropy of the softmax along ``axis``; second top: the probabilities.

    Divided by what ``loss_param`` says; default VALID, the labels that are not ``ignore_label``.
    """
    _check_items(shapes)
    return SoftmaxWithLoss(_class_axis(params, shapes), _mode(params, "VALID"), _ignored(params))


class InfogainLoss(nn.Module):
    """The mean over labels k of -sum_l H[k, l] log p_l, with p the softmax along ``axis``; second top: p."""

    def __init__(self, axis: int, mode: str, ignored: int | None, matrix: torch.Tensor | None = None) -> None:
        super().__init__()
        self.axis, self.mode, self.ignored = axis, mode, ignored
        self.matrix: torch.Tensor | None
        self.register_buffer("matrix", matrix)

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (..., classes, ...), labels, and, unless it is kept here, H (classes x classes values)."""
        scores, labels = bottoms[:2]
        gains = bottoms[2] if self.matrix is None else self.matrix
        classes = scores.shape[self.axis]
        probabilities = F.softmax(scores, self.axis)
        logs = probabilities.clamp(min=_LOG_THRESHOLD).log().movedim(self.axis, -1).reshape(-1, classes)
        wanted = labels.long().flatten()
        valid = _valid(wanted, self.ignored)
        rows = gains.reshape(classes, classes)[torch.where(valid, wanted, 0)]
        total = -torch.where(valid, (rows * logs).sum(1), 0).sum()
        return total / divisor(self.mode, valid, math.prod(scores.shape[: self.axis])), probabilities


@register("InfogainLoss", bottoms=(2, 3), tops=(1, 2), automatic_tops=True)
def infogain_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``infogain_loss_layer.cpp``: cross entropy weighed by a matrix H, the third bottom or the file ``source``."""
    _check_items(shapes)
    axis = _class_axis(params, shapes)
    if (loss := params.get("loss_param")) is not None and loss.is_set("normalize"):
        raise LayerError("knows normalization, not its predecessor normalize")
    classes = shapes[0][axis]
    matrix = None
    if len(shapes) == 2:
        if not params.is_set("source"):
            raise LayerError("needs the matrix H as third bottom, or its file as source")
        matrix = torch.from_numpy(read_mean(params.source))
    if (math.prod(shapes[2]) if matrix is None else matrix.numel()) != classes * classes:
        raise LayerError(f"the matrix H must hold {classes} x {classes} values")
    return InfogainLoss(axis, _mode(params, "VALID"), _ignored(params), matrix)


class MultinomialLogisticLoss(nn.Module):
    """The mean of -log of the label's probability, which the first bottom holds."""

    def forward(self, probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, ...) with a probability per class, and N labels, to ()."""
        rows = probabilities.flatten(1).gather(1, labels.long().reshape(-1, 1))
        return -rows.clamp(min=_LOG_THRESHOLD).log().sum() / probabilities.shape[0]


@register("MultinomialLogisticLoss", bottoms=2, tops=1, automatic_tops=True)
def multinomial_logistic_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``multinomial_logistic_loss_layer.cpp``: cross entropy of probabilities, per item."""
    _check_items(shapes)
    if any(n != 1 for n in legacy_shape(shapes[1])[1:]):
        raise LayerError(f"needs one label per item, has {list(shapes[1])}")
    return MultinomialLogisticLoss()


class SigmoidCrossEntropyLoss(nn.Module):
    """The sum of -t log s(x) - (1 - t) log(1 - s(x)), with s the sigmoid, divided by :func:`divisor`."""

    def __init__(self, mode: str, ignored: int | None = None) -> None:
        super().__init__()
        self.mode, self.ignored = mode, ignored

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Scores and targets (0 to 1) of as many values, to ()."""
        targets = targets.reshape(scores.shape)
        valid = _valid(targets.trunc(), self.ignored)
        losses = scores.clamp(min=0) - scores * targets + torch.log1p(torch.exp(-scores.abs()))
        return torch.where(valid, losses, 0).sum() / divisor(self.mode, valid, scores.shape[0])


@register("SigmoidCrossEntropyLoss", bottoms=2, tops=1, automatic_tops=True)
def sigmoid_cross_entropy_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``sigmoid_cross_entropy_loss_layer.cpp``: cross entropy of each value's sigmoid; default BATCH_SIZE."""
    _check_items(shapes)
    if math.prod(shapes[0]) != math.prod(shapes[1]):
        raise LayerError(f"scores {list(shapes[0])} and targets {list(shapes[1])} differ in their number of values")
    return SigmoidCrossEntropyLoss(_mode(params, "BATCH_SIZE"), _ignored(params))


class EuclideanLoss(nn.Module):
    """Half the sum of squared differences, per item."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.flatten() - b.flatten()).square().sum() / (2 * a.shape[0])


@register("EuclideanLoss", bottoms=2, tops=1, automatic_tops=True)
def euclidean_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``euclidean_loss_layer.cpp``: sum of (a - b)^2 / 2N."""
    _check_items(shapes)
    if math.prod(shapes[0][1:]) != math.prod(shapes[1][1:]):
        raise LayerError(f"{list(shapes[0])} and {list(shapes[1])} differ in the number of values per item")
    return EuclideanLoss()


class HingeLoss(nn.Module):
    """Per item the sum over classes of max(0, 1 - x) for the label and max(0, 1 + x) for the others; L2: squared."""

    def __init__(self, *, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, ...) with a score per class, and N labels, to ()."""
        scores = scores.flatten(1)
        wanted = labels.long().reshape(-1, 1) == torch.arange(scores.shape[1], device=scores.device)
        margins = (1 + torch.where(wanted, -scores, scores)).clamp(min=0)
        return (margins.square() if self.squared else margins).sum() / scores.shape[0]


@register("HingeLoss", bottoms=2, tops=1, automatic_tops=True)
def hinge_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``hinge_loss_layer.cpp``: one class against all others, ``norm`` L1 or L2."""
    _check_items(shapes)
    if math.prod(shapes[1]) != shapes[0][0]:
        raise LayerError(f"needs one label per item, has {list(shapes[1])}")
    return HingeLoss(squared=params.norm == "L2")


class ContrastiveLoss(nn.Module):
    """d^2 for similar pairs, max(margin - d, 0)^2 for others, halved, per pair; d is the Euclidean distance.

    ``legacy``: max(margin - d^2, 0) for the others.
    """

    def __init__(self, margin: float, *, legacy: bool = False) -> None:
        super().__init__()
        self.margin, self.legacy = margin, legacy

    def forward(self, a: torch.Tensor, b: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
        """Twice (N, C) features and N numbers, 0 for different, to ()."""
        squared = (a - b).flatten(1).square().sum(1)
        apart = self.margin - (squared if self.legacy else squared.sqrt())
        apart = apart.clamp(min=0) if self.legacy else apart.clamp(min=0).square()
        return torch.where(similar.flatten().long() != 0, squared, apart).sum() / (2 * a.shape[0])


@register("ContrastiveLoss", bottoms=3, tops=1, automatic_tops=True)
def contrastive_loss(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``contrastive_loss_layer.cpp``: of pairs of feature vectors and whether they are similar."""
    _check_items(shapes)
    a, b, similar = (legacy_shape(shape) for shape in shapes)
    if a[1] != b[1] or a[2:] != (1, 1) or b[2:] != (1, 1) or similar[1:] != (1, 1, 1) or similar[0] != a[0]:
        raise LayerError(f"needs twice (N, C) and (N), has {[list(shape) for shape in shapes]}")
    return ContrastiveLoss(params.margin, legacy=params.legacy_version)


class Accuracy(nn.Module):
    """How many labels are among the ``top_k`` best classes; second top: the same for each class.

    A label is among them if fewer than ``top_k`` other classes have a score at least as high. Without labels it is 0.
    """

    def __init__(self, top_k: int, axis: int, ignored: int | None, *, by_class: bool = False) -> None:
        super().__init__()
        self.top_k, self.axis, self.ignored, self.by_class = top_k, axis, ignored, by_class

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(..., classes, ...) and one label for each other place, to () and (classes,)."""
        wanted = labels.long().reshape(*scores.shape[: self.axis], 1, *scores.shape[self.axis + 1 :])
        valid = _valid(wanted, self.ignored)
        wanted = torch.where(valid, wanted, 0)
        better = (scores >= scores.gather(self.axis, wanted)).sum(self.axis, keepdim=True) - 1
        correct = (better < self.top_k) & valid
        overall = correct.sum().to(scores.dtype) / valid.sum().clamp(min=1)
        if not self.by_class:
            return overall
        empty = scores.new_zeros(scores.shape[self.axis])
        hits, counts = (
            empty.index_add(0, wanted.flatten(), flag.flatten().to(scores.dtype)) for flag in (correct, valid)
        )
        return overall, hits / counts.clamp(min=1)


@register("Accuracy", bottoms=2, tops=(1, 2))
def accuracy(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``accuracy_layer.cpp``: the share of labels among the ``top_k`` classes; second top: for each class."""
    need_axes(shapes[0], 1)
    axis = _class_axis(params, shapes)
    if params.top_k > shapes[0][axis]:
        raise LayerError(f"top_k {params.top_k} is more than the {shapes[0][axis]} classes")
    ignored = int(params.ignore_label) if params.is_set("ignore_label") else None
    return Accuracy(params.top_k, axis, ignored, by_class=len(layer.tops) > 1)
