"""The mistakes by which evaluations of ICNet are known to have gone wrong, each ready to be made on purpose.

They are collected from the issues of the systems that are called ICNet. Each changes one step of the official
evaluation: what the network is fed, what becomes of its scores, which labels they are compared with, or the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pytorch_icnet.datasets.palette import IGNORED
from pytorch_icnet.imaging import imresize
from pytorch_icnet.imaging.inputs import pillow_nearest
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET

from ..protocols import Logits, ModelInput, Settings
from ..protocols.areas import nanmean, ratio
from ..protocols.base import resize_scores
from ..protocols.official import Official
from ..scoring import ImageScore, Labels, Scores

Bytes = npt.NDArray[np.uint8]
Size = tuple[int, int]

Finish = Callable[[Settings, Logits, Size], Labels]
"""From the scores to the label map for an image of a size."""


class DoesNotApply(Exception):
    """The mistake cannot be made with this network or image; says why."""


@dataclass(frozen=True)
class Fed:
    """What the network is fed: equal keys share a forward pass."""

    key: str
    blob: Callable[[Settings, Bytes], torch.Tensor]
    """From the image, uint8 HxWx3, to float32 1x3xHxW."""
    network: Callable[[nn.Module], AbstractContextManager[None]] | None = None
    """What is done to the network meanwhile."""


def official_view(settings: Settings) -> ModelInput:
    """How the official protocol feeds an image."""
    return Official(settings).inputs(settings.input_size)[0]


def _official(settings: Settings, rgb: Bytes) -> torch.Tensor:
    return official_view(settings).blob(rgb)


def _labels(settings: Settings, logits: Logits, size: Size) -> Labels:
    return Official(settings).finish([logits], size).labels


def _figures(images: Sequence[ImageScore]) -> tuple[float, float]:
    scores = Scores(tuple(images))
    return scores.mean_iou, scores.pixel_accuracy


RIGHT = Fed("official", _official)


@dataclass(frozen=True)
class Mistake:
    """One step of the official evaluation, done differently."""

    name: str
    what: str
    """For the user: what is done, in a few words."""
    fed: Fed = RIGHT
    finish: Finish = _labels
    truth: Callable[[Settings, Labels, Labels], Labels] = lambda settings, train_ids, prediction: train_ids
    """From the trainIds and the prediction to the labels that it is compared with."""
    figures: Callable[[Sequence[ImageScore]], tuple[float, float]] = _figures
    """Mean IoU and pixel accuracy, 0 to 1, from the images' scores in the order of the list."""
    next_image: bool = False
    """Whether an image is compared with the labels of the next one."""


def _swapped(settings: Settings, rgb: Bytes) -> torch.Tensor:
    return official_view(settings).blob(np.ascontiguousarray(rgb[..., ::-1]))


def _without_mean(settings: Settings, rgb: Bytes) -> torch.Tensor:
    view = official_view(settings)
    return dataclasses.replace(view, pixels=dataclasses.replace(view.pixels, mean=(0.0, 0.0, 0.0))).blob(rgb)


def _to_unit_range(settings: Settings, rgb: Bytes) -> torch.Tensor:
    return _official(settings, rgb) / 255


def _other_pixels(settings: Settings, rgb: Bytes) -> torch.Tensor:
    view = official_view(settings)
    return dataclasses.replace(view, pixels=CAFFE if view.pixels == IMAGENET else IMAGENET).blob(rgb)


def _by_opencv(settings: Settings, rgb: Bytes) -> torch.Tensor:
    return dataclasses.replace(official_view(settings), resize="opencv").blob(rgb)


def _at_half_size(settings: Settings, rgb: Bytes) -> torch.Tensor:
    height, width = settings.input_size
    return dataclasses.replace(official_view(settings), size=settings.fit((height // 2, width // 2))).blob(rgb)


def _padded(settings: Settings, rgb: Bytes) -> torch.Tensor:
    view = official_view(settings)
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


def _not_antialiased(settings: Settings, logits: Logits, size: Size) -> Labels:
    return _maximum(resize_scores(logits.full().softmax(0), size, align_corners=False))


def _logits_resized(settings: Settings, logits: Logits, size: Size) -> Labels:
    resized = nn.functional.interpolate(logits.full()[None], size, mode="bilinear", antialias=True)
    return _maximum(resized[0])


def _straight(settings: Settings, logits: Logits, size: Size) -> Labels:
    return _maximum(resize_scores(logits.planes, size, align_corners=True))


def _corners_not_aligned(settings: Settings, logits: Logits, size: Size) -> Labels:
    return _maximum(resize_scores(logits.planes, size, align_corners=False))


def _nearest(settings: Settings, logits: Logits, size: Size) -> Labels:
    return imresize(_maximum(logits.full()), size, "nearest")


def _cropped(settings: Settings, logits: Logits, size: Size) -> Labels:
    labels = _maximum(logits.full())
    if labels.shape[0] < size[0] or labels.shape[1] < size[1]:
        raise DoesNotApply("the scores are smaller than the image")
    return labels[: size[0], : size[1]]


def _as_scored(settings: Settings, logits: Logits, size: Size) -> Labels:
    return _maximum(logits.full())


def _maximum(planes: torch.Tensor) -> Labels:
    return planes.argmax(0).to(torch.uint8).numpy()


def _label_ids(settings: Settings, train_ids: Labels, prediction: Labels) -> Labels:
    return settings.table.to_label_id[train_ids]


def _void_counted(settings: Settings, train_ids: Labels, prediction: Labels) -> Labels:
    return np.where(train_ids == IGNORED, np.uint8(settings.num_classes), train_ids).astype(np.uint8)


def _void_as_first(settings: Settings, train_ids: Labels, prediction: Labels) -> Labels:
    return np.where(train_ids == IGNORED, np.uint8(0), train_ids).astype(np.uint8)


def _at_prediction(settings: Settings, train_ids: Labels, prediction: Labels) -> Labels:
    height, width = prediction.shape
    return pillow_nearest(train_ids, (height, width))


def _per_image(images: Sequence[ImageScore]) -> tuple[float, float]:
    means = [nanmean(ratio(image.intersection, image.union)) for image in images]
    return nanmean(np.array(means)), nanmean(np.array([image.accuracy for image in images]))


def _running(images: Sequence[ImageScore]) -> tuple[float, float]:
    values = np.array([_figures(images[:count]) for count in range(1, len(images) + 1)])
    return nanmean(values[:, 0]), nanmean(values[:, 1])


def _present_classes(images: Sequence[ImageScore]) -> tuple[float, float]:
    scores = Scores(tuple(images))
    return nanmean(ratio(scores.intersection, scores.union)), scores.pixel_accuracy


PADDED = Fed("padded", _padded)

MISTAKES: tuple[Mistake, ...] = (
    Mistake("channels", "red and blue swapped", Fed("swapped", _swapped)),
    Mistake("mean", "no mean subtracted", Fed("no mean", _without_mean)),
    Mistake("unit-range", "colours from 0 to 1 instead of 0 to 255", Fed("unit range", _to_unit_range)),
    Mistake("other-pixels", "the mean and deviation of another network's colours", Fed("other pixels", _other_pixels)),
    Mistake("opencv", "image resized by OpenCV", Fed("opencv", _by_opencv)),
    Mistake("padding", "image padded and the result cropped, not resized", PADDED, _cropped),
    Mistake("half-size", "image fed at half the size", Fed("half", _at_half_size)),
    Mistake("stride", "conv3_1's stride on its 3x3 convolution", Fed("stride", _official, _stride_on_3x3)),
    Mistake("antialiasing", "probabilities resized without antialiasing", finish=_not_antialiased),
    Mistake("logits", "logits resized instead of probabilities", finish=_logits_resized),
    Mistake("straight", "scores resized straight to the image, corners aligned", finish=_straight),
    Mistake("align-corners", "scores resized straight to the image, corners not aligned", finish=_corners_not_aligned),
    Mistake("nearest", "label map resized to the image", finish=_nearest),
    Mistake("cropping", "label map cropped to the image instead of resized", finish=_cropped),
    Mistake("network-size", "labels resized to the network's size", finish=_as_scored, truth=_at_prediction),
    Mistake("labelIds", "labelIds instead of trainIds", truth=_label_ids),
    Mistake("void-counted", "ignored pixels counted as errors", truth=_void_counted),
    Mistake("void-first", "ignored pixels taken for the first class", truth=_void_as_first),
    Mistake("list", "each image compared with the labels of the next", next_image=True),
    Mistake("per-image", "mean over images of each image's mean IoU", figures=_per_image),
    Mistake("running", "mean of the values after each image", figures=_running),
    Mistake("present", "classes that are absent everywhere left out of the mean", figures=_present_classes),
)
"""In the order of the road from image to figure."""
