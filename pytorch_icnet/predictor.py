"""A network with everything around it: from an image to probabilities and label maps of the image's size."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import nn

from icnet_common.errors import InputError
from pytorch_icnet.runtime.devices import device_name, find_device

from .arrays import Bytes, Floats, Size
from .card import ModelCard, card_of
from .datasets.classes import ClassTable, plain_table
from .imaging.imresize import imresize
from .imaging.inputs import ModelInput
from .imaging.normalization import Normalization
from .imaging.postprocess import first_maximum
from .imaging.recipes import InferenceRecipe, InputSpec, Logits, at_size, inference_recipe, resize_scores
from .imaging.windows import OVERLAP, Grid, bands
from .runtime import Engine, engine
from .runtime.cache import Cache, Unavailable
from .runtime.engine import open_weights

MAX_INPUT = 1 << 23
"""Pixels that the network is fed at once at most; an image of 3840x2160 is just below."""

ENGINES = 8
"""Input sizes for which a network is kept ready, the last used ones: enough for the six of multi-scale figures."""

QUICK = ("native", "openvino", "onnxruntime", "eager")
"""Backends that are ready for another size in seconds, fastest first: for images of many sizes."""

REPEATABLE = ("native", "eager")
"""Backends whose scores do not depend on the number of threads, fastest first; of "eager" where torch has one."""


@dataclass(frozen=True)
class Prepared:
    """An image, ready to be fed to the network."""

    size: Size
    """Of the image."""
    blobs: Mapping[ModelInput, torch.Tensor]
    """Each float32 1x3xHxW of the input's size."""


@dataclass(frozen=True)
class Scored:
    """A network's scores of an image."""

    size: Size
    """Of the image."""
    logits: Mapping[ModelInput, Logits]

    def of(self, recipe: InferenceRecipe) -> list[Logits]:
        """Those of a recipe's inputs, in their order."""
        return [self.logits[each] for each in recipe.inputs(self.size)]


class Predictor:
    """Label maps and probabilities of images of any size. All methods may be called from several threads.

    An ICNet follows the official evaluation: the image is resized to the network's size with MATLAB's arithmetic, and
    the probabilities back. Networks of other families are fed as their authors do, see
    :mod:`pytorch_icnet.imaging.recipes`.

    The methods that take an image do their work in three steps, which a pipeline may run in threads of their own:
    :meth:`prepare`, :meth:`forward`, and :meth:`finish` or :meth:`probabilities_of`.

    Args:
        weights_or_module: a file (see :func:`pytorch_icnet.load`), or a network.
        device: where the network runs; "auto": the GPU if there is one.
        precision: see :func:`pytorch_icnet.runtime.engine`.
        backend: likewise. With ``native`` "auto" does not compile ahead of time, which takes minutes for each size.
        native: feed every image at its own size, or the next one that the network takes, instead of one size.
        protocol: the inference recipe by name; None: the one on the network's card.
        input_size: (height, width) that images are resized to, where the recipe does that; None: the network's own.
        pixels: colours that the network is fed; None: its own.
        threads: of the processor; None: as many as torch uses.
        classes: names and colours; None: Cityscapes' for 19 classes.
        rewrite: apply the exact rewrites, see :func:`pytorch_icnet.runtime.engine`.
        repeatable: "auto" takes one of :data:`REPEATABLE`, so that results do not depend on the machine's cores.
        caffe_faithful: see :func:`pytorch_icnet.load`.
        cache_dir: see :func:`pytorch_icnet.runtime.engine`.

    Attributes:
        card: the network's :class:`~pytorch_icnet.card.ModelCard`.
        num_classes: number of classes.
        classes: their :class:`~pytorch_icnet.datasets.classes.ClassTable`, with ``names`` and ``palette``.
        device: where the network runs.
        module: the network.
        spec: what the network asks of recipes, :class:`~pytorch_icnet.imaging.recipes.InputSpec`.
        recipe: how images become blobs, and scores label maps.

    Raises:
        InputError: the weights, the device, the size or the table of classes cannot be used.
    """

    def __init__(
        self,
        weights_or_module: str | os.PathLike[str] | nn.Module,
        device: str | torch.device = "cpu",
        *,
        precision: str = "fp32",
        backend: str = "auto",
        native: bool = False,
        protocol: str | None = None,
        input_size: Size | None = None,
        pixels: Normalization | None = None,
        threads: int | None = None,
        classes: ClassTable | None = None,
        rewrite: bool = True,
        repeatable: bool = False,
        caffe_faithful: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.device = find_device(device) if isinstance(device, str) else device
        self.precision, self.backend, self.native, self.threads = precision, backend, native, threads
        self.rewrite, self.repeatable, self.caffe_faithful = rewrite, repeatable, caffe_faithful
        self._cache_dir = cache_dir
        source, origin = weights_or_module, "the network"
        if not isinstance(source, nn.Module):
            origin = os.fspath(source)
            source = open_weights(source, Cache(cache_dir), caffe_faithful=caffe_faithful)
        self.module = source.eval()
        self.card = card_of(self.module)
        self.classes = _classes_of(self.card, classes, origin)
        self.num_classes = self.classes.num_classes
        self.spec = input_spec(self.card, input_size, pixels)
        name = "native" if native else protocol or self.card.protocol
        self.recipe: InferenceRecipe = inference_recipe(name, self.spec)
        if input_size is not None and protocol is None and not self.recipe.one_size:
            raise InputError(f"an input size is without meaning for the recipe {name!r}, which keeps images' own shape")
        self._engines: OrderedDict[Size, Engine] = OrderedDict()
        self._lock = Lock()

    def labels(self, rgb: Bytes) -> Bytes:
        """The label map of an image.

        Args:
            rgb: uint8 HxWx3, channels red, green, blue.

        Returns:
            uint8 HxW: trainIds.

        Raises:
            InputError: with ``native``: the image is too large to be fed at once.
            ValueError: ``rgb`` is of another shape or type.
        """
        return self.finish(self.forward(self.prepare(rgb)))

    def probabilities(self, rgb: Bytes) -> Floats:
        """The class probabilities of an image, float32 CxHxW; arguments and errors as for :meth:`labels`."""
        return self.probabilities_of(self.forward(self.prepare(rgb)))

    def scores(self, rgb: Bytes) -> Floats:
        """The network's scores before softmax, resized to the image (bilinear), float32 CxHxW; see :meth:`labels`.

        Of the first view, where the rule has several. Label maps are not made of them, but of the probabilities.
        """
        scored = self.forward(self.prepare(rgb))
        resized = resize_scores(scored.of(self.recipe)[0].full(), scored.size, align_corners=False)
        return np.asarray(resized.cpu().numpy(), np.float32)

    def sliding(self, rgb: Bytes, window: Size, overlap: float | tuple[int, int] = OVERLAP) -> Floats:
        """Probabilities, averaged over windows that slide over the image; each is predicted like an image of its own.

        Args:
            rgb: uint8 HxWx3.
            window: height and width of the windows; what reaches beyond the image is cut off.
            overlap: of neighbouring windows: a fraction of the window, or (rows, columns) in pixels.

        Returns:
            float32 CxHxW.

        Raises:
            InputError: the window or the overlap makes no sense.
        """
        found = np.empty((self.num_classes, *rgb.shape[:2]), np.float32)
        for top, rows in self._bands(rgb, window, overlap):
            found[:, top : top + rows.shape[1]] = rows
        return found

    def sliding_labels(self, rgb: Bytes, window: Size, overlap: float | tuple[int, int] = OVERLAP) -> Bytes:
        """The label map, uint8 HxW, of :meth:`sliding`, whose probabilities are never all in memory."""
        found = np.empty(rgb.shape[:2], np.uint8)
        for top, rows in self._bands(rgb, window, overlap):
            found[top : top + rows.shape[1]] = most_probable(rows)
        return found

    def prepare(self, rgb: Bytes, recipes: Sequence[InferenceRecipe] = ()) -> Prepared:
        """What the network is fed for an image; arguments and errors as for :meth:`labels`.

        Args:
            rgb: uint8 HxWx3.
            recipes: others than the predictor's own; inputs that they share are made, and scored, once.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise ValueError(f"expected an image of HxWx3, uint8, not {rgb.dtype} of shape {tuple(rgb.shape)}")
        size = (rgb.shape[0], rgb.shape[1])
        inputs = dict.fromkeys(each for recipe in recipes or (self.recipe,) for each in recipe.inputs(size))
        for height, width in (each.size for each in inputs):
            if height * width > MAX_INPUT:
                raise InputError(
                    f"an input of {height}x{width} is too large for one pass (at most {MAX_INPUT} pixels); "
                    "use sliding windows, or one input size for all images"
                )
        return Prepared(size, {each: each.blob(rgb) for each in inputs})

    def forward(self, prepared: Prepared) -> Scored:
        """Run the network.

        Raises:
            InputError: it takes no such size, or gives no scores per pixel.
        """
        return Scored(prepared.size, {each: self._logits(each, blob) for each, blob in prepared.blobs.items()})

    def finish(self, scored: Scored) -> Bytes:
        """The label map, uint8 HxW, at the image's size."""
        return at_size(self.recipe.labels(scored.of(self.recipe), scored.size), scored.size)

    def probabilities_of(self, scored: Scored) -> Floats:
        """The class probabilities, float32 CxHxW, at the image's size."""
        found = self.recipe.probabilities(scored.of(self.recipe), scored.size)
        if found.shape[:2] != scored.size:
            found = imresize(found, scored.size, "nearest")
        return np.ascontiguousarray(found.transpose(2, 0, 1))

    def engine(self, size: Size) -> Engine:
        """The network, ready for blobs of one size; kept for the next call.

        Raises:
            InputError: the network, or the backend, takes no such size.
        """
        with self._lock:
            if size not in self._engines:
                self._engines[size] = self._build(size)
                while len(self._engines) > ENGINES:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(size)
            return self._engines[size]

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Those that are ready."""
        with self._lock:
            return tuple(self._engines.values())

    @property
    def input_size(self) -> Size:
        """(height, width) of the blobs, for recipes that resize every image to one size."""
        return self.spec.input_size

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {
            "weights": self.card.weights_data(),
            "input_size": list(self.input_size),
            "num_classes": self.num_classes,
            "device": self.device.type,
            "device_name": device_name(self.device),
            "precision": "float32" if self.precision == "fp32" else self.precision,
            "backend": self.engine(self.input_size).backend,
            "rewritten": self.rewrite,
            "caffe_faithful": self.caffe_faithful,
        }

    def _build(self, size: Size) -> Engine:
        names: Sequence[str] = (self.backend,)
        if self.backend == "auto" and (self.repeatable or self.native):
            names = REPEATABLE if self.repeatable else QUICK
        options: dict[str, Any] = {"rewrite": self.rewrite, "threads": self.threads, "cache_dir": self._cache_dir}
        build = partial(engine, self.module, self.device, self.precision, size, **options)
        for name in names[:-1] if self.device.type == "cpu" else ():
            with suppress(Unavailable):
                return build(backend=name)
        return build(backend=names[-1])

    def _logits(self, view: ModelInput, blob: torch.Tensor) -> Logits:
        ready = self.engine(view.size)
        scores = ready(blob)
        if not isinstance(scores, torch.Tensor) or scores.dim() != 4 or scores.shape[1] != self.num_classes:
            shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            raise InputError(f"the network gives {shape}, expected scores of {self.num_classes} classes per pixel")
        return Logits(scores[0], view.size, quarter=ready.quarter)

    def _bands(self, rgb: Bytes, window: Size, overlap: float | tuple[int, int]) -> Iterator[tuple[int, Floats]]:
        grid = Grid.over((rgb.shape[0], rgb.shape[1]), window, overlap)
        height, width = grid.window

        def probabilities(top: int, left: int) -> Floats:
            return self.probabilities(np.ascontiguousarray(rgb[top : top + height, left : left + width]))

        return bands(grid, self.num_classes, probabilities)


def most_probable(probabilities: Floats) -> Bytes:
    """The label map of probabilities, CxHxW: the first maximum, uint8 HxW."""
    return first_maximum(probabilities.transpose(1, 2, 0))


def input_spec(card: ModelCard, input_size: Size | None = None, pixels: Normalization | None = None) -> InputSpec:
    """What inference recipes have to know of a network, with another size or other colours where they are given.

    Raises:
        InputError: the network takes no such size.
    """
    if input_size is not None:
        card.sizes.check(*input_size)
    spec = InputSpec(pixels=pixels or card.pixels, fit=card.sizes.fit)
    size = input_size or card.input_size
    return spec if size is None else replace(spec, input_size=(int(size[0]), int(size[1])))


def _classes_of(card: ModelCard, classes: ClassTable | None, origin: str) -> ClassTable:
    own = card.num_classes
    if classes is None:
        if own is None:
            raise InputError(f"{origin}: says nothing of its classes; give a table of classes")
        return plain_table(own)
    if own not in (None, classes.num_classes):
        raise InputError(f"{origin}: scores {own} classes, but the table has {classes.num_classes}")
    return classes
