"""Caffe's layer types and the functions that translate them into modules."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from prototxt import Layer
from prototxt.read import DATA_TYPES

from .errors import LayerError

Translator = Callable[..., nn.Module]
Count = int | tuple[int, int | None] | None
INPUT_TYPES = DATA_TYPES | {"Input"}
"""Types without bottoms whose tops are ``forward``'s arguments. DummyData is not one: its values are in the text."""


@dataclass(frozen=True)
class LayerType:
    """A supported type: its translator, what Caffe demands of its bottoms and tops, and what is not supported.

    The fields are those of :func:`register`.
    """

    name: str
    translate: Translator
    bottoms: Count = None
    tops: Count = None
    one_top_each: bool = False
    automatic_tops: bool = False
    limits: str = ""
    wants_layer: bool = False

    def check_counts(self, layer: Layer) -> None:
        """Check how many bottoms and tops a layer has.

        Raises:
            LayerError: the layer cannot exist with them.
        """
        _check_count("bottom", len(layer.bottoms), self.bottoms)
        _check_count("top", len(layer.tops), self.tops)
        if self.one_top_each and len(layer.bottoms) != len(layer.tops):
            raise LayerError(
                f"needs a top for each bottom, has {len(layer.bottoms)} bottoms and {len(layer.tops)} tops"
            )

    def with_automatic_tops(self, layer: Layer) -> Layer:
        """``layer`` with the tops that Caffe adds where the text gives too few (losses need not name theirs)."""
        least = self.tops if isinstance(self.tops, int) else self.tops[0] if self.tops else 0
        if not self.automatic_tops or len(layer.tops) >= least:
            return layer
        return dataclasses.replace(layer, tops=layer.tops + (AUTOMATIC,) * (least - len(layer.tops)))


_types: dict[str, LayerType] = {}


AUTOMATIC = "(automatic)"
"""Caffe's name for the blob of a top that the text does not name. Other layers cannot refer to it."""


def register(
    type_name: str,
    *aliases: str,
    bottoms: Count = None,
    tops: Count = None,
    one_top_each: bool = False,
    automatic_tops: bool = False,
    limits: str = "",
) -> Callable[[Translator], Translator]:
    """Make a function the translator of the Caffe layer type ``type_name`` (and of ``aliases``).

    The function is called as ``translate(params, input_shapes, blobs)`` and returns an ``nn.Module`` in whose
    ``forward`` each bottom is an argument and which returns a tensor, or a tuple with one tensor per top:

    - ``params``: :class:`prototxt.Params`, the layer's parameters with Caffe's defaults;
    - ``input_shapes``: a list with the shape (tuple of int) of each bottom;
    - ``blobs``: the layer's weights, a sequence of float32 tensors. ``blobs.take(shape, filler)`` gives the next one
      after checking its shape, which is what lets a net be built and summarised without weights.

    Tensors that the module keeps must be parameters or buffers. A translator that needs the whole layer, for instance
    the number of its tops, declares a keyword ``layer`` (:class:`prototxt.Layer`). The last registration of a name
    wins. A net with the layer goes back to Caffe if the module keeps the blobs as they were taken, and can be written
    as source if its class stands at the top level of a Python module and keeps ``__init__``'s arguments in attributes.

    Args:
        type_name: Caffe's type string, such as ``"Convolution"``.
        aliases: other type strings with the same meaning.
        bottoms, tops: the number that the type takes: exactly n, or (least, most) with None for no limit.
        one_top_each: there must be as many tops as bottoms.
        automatic_tops: tops that the text leaves out are made.
        limits: in what this type falls short of Caffe's, for the table of supported types.
    """

    def decorate(translate: Translator) -> Translator:
        wants_layer = "layer" in inspect.signature(translate).parameters
        for name in (type_name, *aliases):
            _types[name] = LayerType(name, translate, bottoms, tops, one_top_each, automatic_tops, limits, wants_layer)
        return translate

    return decorate


def find(type_name: str) -> LayerType | None:
    """The registered type of this name, or None."""
    return _types.get(type_name)


def registered() -> dict[str, LayerType]:
    """All supported types by name, in alphabetical order."""
    return dict(sorted(_types.items()))


def _check_count(what: str, number: int, allowed: Count) -> None:
    least, most = (allowed, allowed) if isinstance(allowed, int) else allowed or (0, None)
    if number < least or (most is not None and number > most):
        expected = count_text(allowed)
        raise LayerError(f"takes {expected} {what}{'' if expected == '1' else 's'}, has {number}")


def count_text(allowed: Count) -> str:
    """A number of bottoms or tops in words: ``"2"``, ``"1 to 3"``, ``"1 or more"``, ``"any number"``."""
    if allowed is None:
        return "any number"
    least, most = (allowed, allowed) if isinstance(allowed, int) else allowed
    if least == most:
        return str(least)
    return f"{least} or more" if most is None else f"{least} to {most}"
