"""The mistakes by which evaluations of ICNet are known to have gone wrong, each ready to be made on purpose.

They are collected from the issues of the systems that are called ICNet. Each changes one step of the official
evaluation: what the network is fed, what becomes of its scores, which labels they are compared with, or the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pytorch_icnet.datasets.classes import IGNORED
from pytorch_icnet.imaging import imresize
from pytorch_icnet.imaging.inputs import pillow_nearest
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET

from ..protocols import Logits, ModelInput
from ..protocols.areas import nanmean, ratio
from ..protocols.base import Labels, Size, resize_scores
from ..protocols.official import Official, Scores

Feed = Callable[[Official, ModelInput, Labels], torch.Tensor]
"""From how the official protocol feeds an image, and the image, uint8 HxWx3, to the blob, float32 1x3xHxW."""

Finish = Callable[[Official, Logits, Size], Labels]
"""From the scores to the label map for an image of a size."""

Change = Callable[[nn.Module], AbstractContextManager[None]]
"""What is done to the network while it runs."""


class DoesNotApply(Exception):
    """The mistake cannot be made with this network or image; says why."""


def _feed(official: Official, view: ModelInput, rgb: Labels) -> torch.Tensor:
    return view.blob(rgb)


def _finish(official: Official, logits: Logits, size: Size) -> Labels:
    return official.finish([logits], size).labels


@dataclass(frozen=True)
class Mistake:
    """One step of the official evaluation, done differently."""

    name: str
    what: str
    """For the user: what is done, in a few words."""
    feed: Feed = _feed
    network: Change | None = None
    finish: Finish = _finish
    truth: Callable[[Official, Labels, Labels], Labels] = lambda official, train_ids, prediction: train_ids
    """From the trainIds and the prediction to the labels that it is compared with."""
    figures: Callable[[Scores], tuple[float, float]] = lambda scores: (scores.mean_iou, scores.pixel_accuracy)
    """Mean IoU and pixel accuracy, 0 to 1, from the images' scores in the order of the list."""
    next_image: bool = False
    """Whether an image is compared with the labels of the next one."""


def _viewed(change: Callable[[Official, ModelInput], ModelInput]) -> Feed:
    """Feed the image in a changed view."""
    return lambda official, view, rgb: change(official, view).blob(rgb)


def _without_mean(official: Official, view: ModelInput) -> ModelInput:
    return dataclasses.replace(view, pixels=dataclasses.replace(view.pixels, mean=(0.0, 0.0, 0.0)))


def _other_pixels(official: Official, view: ModelInput) -> ModelInput:
    return dataclasses.replace(view, pixels=CAFFE if view.pixels == IMAGENET else IMAGENET)


def _half_size(official: Official, view: ModelInput) -> ModelInput:
    height, width = official.settings.input_size
    return dataclasses.replace(view, size=official.settings.fit((height // 2, width // 2)))


def _padded(official: Official, view: ModelInput, rgb: Labels) -> torch.Tensor:
    below, right = (out - length for out, length in zip(view.size, rgb.shape[:2], strict=True))
    if below < 0 or right < 0:
        raise DoesNotApply(f"the image is larger than the network's input, {view.size[0]}x{view.size[1]}")
    return nn.functional.pad(view.pixels.blob(rgb), (0, right, 0, below))


@contextmanager
def _stride_on_3x3(network: nn.Module) -> Iterator[None]:
    children = dict(network.named_children())
    reduce, convolution = children.get("conv3_1_1x1_reduce"), children.get("conv3_1_3x3")
    if not isinstance(reduce, nn.Conv2d) or not isinstance(convolution, nn.Conv2d) or reduce.stride != (2, 2):
        raise DoesNotApply("the network has no conv3_1 with a stride on its first convolution")
    reduce.stride, convolution.stride = (1, 1), (2, 2)
    try:
        yield
    finally:
        reduce.stride, convolution.stride = (2, 2), (1, 1)


def _resized(planes: Callable[[Logits], torch.Tensor], *, align_corners: bool) -> Finish:
    """Resize planes to the image with neither antialiasing nor MATLAB's arithmetic."""
    return lambda official, logits, size: _maximum(resize_scores(planes(logits), size, align_corners=align_corners))


def _logits_resized(official: Official, logits: Logits, size: Size) -> Labels:
    return _maximum(nn.functional.interpolate(logits.full()[None], size, mode="bilinear", antialias=True)[0])


def _cropped(official: Official, logits: Logits, size: Size) -> Labels:
    labels = _maximum(logits.full())
    if labels.shape[0] < size[0] or labels.shape[1] < size[1]:
        raise DoesNotApply("the scores are smaller than the image")
    return labels[: size[0], : size[1]]


def _maximum(planes: torch.Tensor) -> Labels:
    return planes.argmax(0).to(torch.uint8).numpy()


def _void_as(train_ids: Labels, value: int) -> Labels:
    return np.where(train_ids == IGNORED, np.uint8(value), train_ids).astype(np.uint8)


def _per_image(scores: Scores) -> tuple[float, float]:
    means = [nanmean(ratio(image.intersection, image.union)) for image in scores.images]
    return nanmean(np.array(means)), nanmean(scores.image_accuracy)


def _running(scores: Scores) -> tuple[float, float]:
    so_far = [Scores(scores.images[:count]) for count in range(1, len(scores.images) + 1)]
    return nanmean(np.array([s.mean_iou for s in so_far])), nanmean(np.array([s.pixel_accuracy for s in so_far]))


MISTAKES: tuple[Mistake, ...] = (
    Mistake("channels", "red and blue swapped", lambda _, view, rgb: view.blob(np.ascontiguousarray(rgb[..., ::-1]))),
    Mistake("mean", "no mean subtracted", _viewed(_without_mean)),
    Mistake("unit-range", "colours from 0 to 1 instead of 0 to 255", lambda _, view, rgb: view.blob(rgb) / 255),
    Mistake("other-pixels", "the mean and deviation of another network's colours", _viewed(_other_pixels)),
    Mistake("opencv", "image resized by OpenCV", _viewed(lambda _, view: dataclasses.replace(view, resize="opencv"))),
    Mistake("padding", "image padded and the result cropped, not resized", _padded, finish=_cropped),
    Mistake("half-size", "image fed at half the size", _viewed(_half_size)),
    Mistake("stride", "conv3_1's stride on its 3x3 convolution", network=_stride_on_3x3),
    Mistake(
        "antialiasing",
        "probabilities resized without antialiasing",
        finish=_resized(lambda logits: logits.full().softmax(0), align_corners=False),
    ),
    Mistake("logits", "logits resized instead of probabilities", finish=_logits_resized),
    Mistake(
        "straight",
        "scores resized straight to the image, corners aligned",
        finish=_resized(lambda logits: logits.planes, align_corners=True),
    ),
    Mistake(
        "align-corners",
        "scores resized straight to the image, corners not aligned",
        finish=_resized(lambda logits: logits.planes, align_corners=False),
    ),
    Mistake(
        "nearest",
        "label map resized to the image",
        finish=lambda _, logits, size: imresize(_maximum(logits.full()), size, "nearest"),
    ),
    Mistake("cropping", "label map cropped to the image instead of resized", finish=_cropped),
    Mistake(
        "network-size",
        "labels resized to the network's size",
        finish=lambda _, logits, size: _maximum(logits.full()),
        truth=lambda _, train_ids, prediction: pillow_nearest(train_ids, (prediction.shape[0], prediction.shape[1])),
    ),
    Mistake(
        "labelIds",
        "labelIds instead of trainIds",
        truth=lambda official, train_ids, _: official.settings.table.to_label_id[train_ids],
    ),
    Mistake(
        "void-counted",
        "ignored pixels counted as errors",
        truth=lambda official, train_ids, _: _void_as(train_ids, official.num_classes),
    ),
    Mistake(
        "void-first", "ignored pixels taken for the first class", truth=lambda _, train_ids, __: _void_as(train_ids, 0)
    ),
    Mistake("list", "each image compared with the labels of the next", next_image=True),
    Mistake("per-image", "mean over images of each image's mean IoU", figures=_per_image),
    Mistake("running", "mean of the values after each image", figures=_running),
    Mistake(
        "present",
        "classes that are absent everywhere left out of the mean",
        figures=lambda scores: (nanmean(ratio(scores.intersection, scores.union)), scores.pixel_accuracy),
    ),
)
"""In the order of the steps from image to figure."""
