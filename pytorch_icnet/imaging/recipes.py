"""From an image to a network's input and from its scores to the label map, as the authors of each family do it.

Without scores and figures, which :mod:`evaluation.protocols` adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from icnet_common.errors import InputError

from ..arrays import Bytes, Floats, Size
from .imresize import imresize
from .inputs import ModelInput
from .normalization import CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Normalization
from .postprocess import ZOOM, first_maximum, postprocess, probabilities
from .preprocess import FULL_SIZE


def same_size(size: Size) -> Size:
    """For networks that take any size."""
    return size


@dataclass(frozen=True)
class InputSpec:
    """What a recipe has to know of the network, and what may be chosen."""

    input_size: Size = FULL_SIZE
    """Of the blob, for the recipes that resize every image to one size."""
    pixels: Normalization | None = None
    """How the network wants its colours. None: as the recipe's own networks do."""
    fit: Callable[[Size], Size] = same_size
    """The blob size that the network takes in place of a given one, for the recipes that feed images as they are."""
    scales: tuple[float, ...] = (1.0,)
    """Where the recipe can average over several sizes of the image: factors of its own size."""
    flip: bool | None = None
    """Where the recipe can: also average over the mirrored image. None: as the recipe does by default."""

    def of_network(self) -> dict[str, Any]:
        """What the network decides, by name."""
        return {"input_size": self.input_size, "pixels": self.pixels, "fit": self.fit}


@dataclass(frozen=True)
class Logits:
    """A network's scores of one view, before softmax."""

    planes: torch.Tensor
    """float32 CxHxW: what the network's ``quarter_scores`` or its ``forward`` gives for the view."""
    input_size: Size
    """Of the blob."""
    quarter: bool = False
    """Whether ``planes`` are ``quarter_scores``."""

    @property
    def full_size(self) -> Size:
        """The size of :meth:`full`."""
        height, width = (int(length) for length in self.planes.shape[-2:])
        return (ZOOM * (height - 1) + 1, ZOOM * (width - 1) + 1) if self.quarter else (height, width)

    def full(self) -> torch.Tensor:
        """What the network's ``forward`` gives: CxHxW of :attr:`full_size`."""
        if not self.quarter:
            return self.planes
        return resize_scores(self.planes, self.full_size, align_corners=True)


class InferenceRecipe(ABC):
    """The recipe of one family. Stateless: every method may run in any thread."""

    one_size: ClassVar[bool] = True
    """Whether every image is resized to :attr:`InputSpec.input_size`."""
    resize: ClassVar[str]
    """See :attr:`ModelInput.resize`."""
    pixels: ClassVar[Normalization]
    """How the recipe's own networks want their colours."""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec

    def inputs(self, size: Size) -> tuple[ModelInput, ...]:
        """What the network is fed for an image of ``size``. Views are values: equal ones need one forward pass."""
        return (self._input(self.spec.input_size if self.one_size else self.spec.fit(size)),)

    def _input(self, size: Size, flip: bool = False) -> ModelInput:
        return ModelInput(size, self.resize, self.spec.pixels or self.pixels, flip)

    def label_size(self, size: Size) -> Size:
        """The size of the label map for an image of ``size``: its own, unless the recipe compares at another one."""
        return size

    @abstractmethod
    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        """What the label map is the first maximum of, float32 HxWxC of :meth:`label_size`.

        Args:
            logits: of each of :meth:`inputs`, in their order. They are taken one at a time, so a generator that runs
                the network needs memory for one view only.
            size: of the image.
        """

    def labels(self, logits: Iterable[Logits], size: Size) -> Bytes:
        """The label map, uint8 of :meth:`label_size`; arguments as for :meth:`probabilities`."""
        return first_maximum(self.probabilities(logits, size))


class OfficialRecipe(InferenceRecipe):
    """MATLAB's (hszhao/ICNet, ``eval_sub.m``): the image resized to one size, probabilities resized back."""

    resize, pixels = "matlab", CAFFE

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        (scores,) = logits
        return probabilities(scores.planes, size, full_size=scores.full_size)

    def labels(self, logits: Iterable[Logits], size: Size) -> Bytes:
        (scores,) = logits
        return postprocess(scores.planes, size, full_size=scores.full_size)


class NativeRecipe(OfficialRecipe):
    """The official arithmetic at the image's own size, or the next one that the network takes.

    An image of Cityscapes, 1024x2048, is fed as the official evaluation feeds it.
    """

    one_size = False


class _LogitsRecipe(InferenceRecipe):
    """Recipes that take the softmax and the first maximum of logits at the size of the label map."""

    @abstractmethod
    def logits(self, logits: Iterable[Logits], size: Size) -> torch.Tensor:
        """CxHxW of :meth:`label_size`; arguments as for :meth:`probabilities`."""

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        return _channels_last(self.logits(logits, size).softmax(0))

    def labels(self, logits: Iterable[Logits], size: Size) -> Bytes:
        return largest(self.logits(logits, size))


class MMSegRecipe(InferenceRecipe):
    """mmsegmentation's (``mmseg/models/segmentors/encoder_decoder.py``): logits resized to the image.

    With several scales or flipping it is the test-time augmentation: the mean of the softmax over all views. Those
    scales are relative to the image's own size, as in 1.x; in 0.x to 2048x1024, which is the same for Cityscapes.
    """

    one_size, resize, pixels = False, "opencv", IMAGENET

    LONG_SIDE, SHORT_SIDE = 2048, 1024
    """Into which the test pipeline of the Cityscapes configurations fits every image, enlarging small ones too."""

    def inputs(self, size: Size) -> tuple[ModelInput, ...]:
        flips = (False, True) if self.spec.flip else (False,)
        if self.augmented:
            sizes = [_fitted(size, _scaled(size, scale)) for scale in self.spec.scales]
        else:
            sizes = [_fitted(size, (self.SHORT_SIDE, self.LONG_SIDE))]
        return tuple(self._input(self.spec.fit(scaled), flip) for scaled in dict.fromkeys(sizes) for flip in flips)

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        softmaxes = (planes.softmax(0) for planes in self._at_image(logits, size))
        return _channels_last(reduce(torch.Tensor.add_, softmaxes) / len(self.inputs(size)))

    def labels(self, logits: Iterable[Logits], size: Size) -> Bytes:
        if self.augmented:
            return super().labels(logits, size)
        (planes,) = self._at_image(logits, size)
        return largest(planes)

    @property
    def augmented(self) -> bool:
        """Whether there are several views."""
        return bool(self.spec.flip) or self.spec.scales != (1.0,)

    def _at_image(self, logits: Iterable[Logits], size: Size) -> Iterator[torch.Tensor]:
        """Logits at the image's size, mirrored ones turned back first."""
        for view, scores in zip(self.inputs(size), logits, strict=True):
            planes = scores.full()
            yield resize_scores(planes.flip(-1) if view.flip else planes, size, align_corners=False)


class LiminnRecipe(_LogitsRecipe):
    """liminn/ICNet-pytorch's (``evaluate.py``): images as they are."""

    one_size, resize, pixels = False, "opencv", TORCHVISION

    def logits(self, logits: Iterable[Logits], size: Size) -> torch.Tensor:
        (scores,) = logits
        return resize_scores(scores.full(), size, align_corners=True)


class SemSegRecipe(_LogitsRecipe):
    """pytorch-semseg's (``validate.py``): at the network's size; the mean logits of the image and its mirror image."""

    resize, pixels = "pillow", UNIT_BGR

    def inputs(self, size: Size) -> tuple[ModelInput, ...]:
        flips = (False,) if self.spec.flip is False else (False, True)
        return tuple(self._input(self.spec.input_size, flip) for flip in flips)

    def label_size(self, size: Size) -> Size:
        return self.spec.input_size

    def logits(self, logits: Iterable[Logits], size: Size) -> torch.Tensor:
        views = self.inputs(size)
        resized = (resize_scores(scores.full(), self.spec.input_size, align_corners=True) for scores in logits)
        planes = (scores.flip(-1) if view.flip else scores for view, scores in zip(views, resized, strict=True))
        return reduce(torch.add, planes) / len(views)


class SuperviselyRecipe(InferenceRecipe):
    """Supervisely's plugin's: OpenCV's resizing both ways, cubic for the probabilities.

    The cubic kernel overshoots: probabilities reach from about -0.25 to 1.3.
    """

    resize, pixels = "opencv", CAFFE

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        (scores,) = logits
        softmax = _channels_last(scores.full().softmax(0))
        resized = cv2.resize(softmax, size[::-1], interpolation=cv2.INTER_CUBIC)
        return np.asarray(resized, np.float32).reshape(*size, -1)


INFERENCE_RECIPES: Mapping[str, type[InferenceRecipe]] = MappingProxyType(
    {
        "official": OfficialRecipe,
        "native": NativeRecipe,
        "mmseg": MMSegRecipe,
        "liminn": LiminnRecipe,
        "semseg": SemSegRecipe,
        "supervisely": SuperviselyRecipe,
    }
)
"""By the name that networks have as ``protocol``."""


def inference_recipe(name: str, spec: InputSpec) -> InferenceRecipe:
    """The recipe of a name.

    Raises:
        InputError: there is none.
    """
    if name not in INFERENCE_RECIPES:
        raise InputError(f"no recipe {name!r}; there are {', '.join(INFERENCE_RECIPES)}")
    return INFERENCE_RECIPES[name](spec)


def resize_scores(planes: torch.Tensor, size: Size, *, align_corners: bool) -> torch.Tensor:
    """Scores CxHxW at another size: bilinear, without antialiasing."""
    if tuple(planes.shape[-2:]) == tuple(size):
        return planes
    return F.interpolate(planes[None], size, mode="bilinear", align_corners=align_corners)[0]


def largest(planes: torch.Tensor) -> Bytes:
    """The label map of scores, CxHxW: the first maximum."""
    return planes.argmax(0).to(torch.uint8).cpu().numpy()


def at_size(array: Bytes, size: Size) -> Bytes:
    """A label map at the image's size, as MATLAB's ``imresize(..., 'nearest')`` chooses its pixels."""
    return array if array.shape == tuple(size) else imresize(array, size, "nearest")


def _channels_last(planes: torch.Tensor) -> Floats:
    return planes.permute(1, 2, 0).contiguous().cpu().numpy()


def _scaled(size: Size, scale: float) -> Size:
    """mmcv's rounding of a size times a factor."""
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _fitted(size: Size, box: Size) -> Size:
    """The largest size of the same shape in a box of either orientation (``mmcv.imrescale``)."""
    return _scaled(size, min(max(box) / max(size), min(box) / min(size)))
