"""Matching a file's blobs with a net's layers, as ``Net::CopyTrainedLayersFrom`` does, made strict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from prototxt import Layer, read_weights

from .blobs import Blobs, SharedParameter
from .errors import WeightsMismatchError
from .wiring import WiredLayer, Wiring


@dataclass(frozen=True)
class Match:
    """Which layers took their weights from the file.

    Attributes:
        matched: layers (unique names) whose blobs come from the file.
        filled: layers some of whose blobs come from fillers.
        unused: layers of the file that the net does not have, or that have no weights there.
    """

    matched: tuple[str, ...]
    filled: tuple[str, ...]
    unused: tuple[str, ...]


class Weights:
    """The blobs of a file, handed out by layer name.

    As in Caffe a name belongs to the first layer of the net that has it, and a layer's type is ignored.

    Args:
        blobs: layer name to blobs; None: every layer gets its fillers.
        source: the file, for messages.
        lenient: layers that the file lacks get their fillers.
    """

    def __init__(
        self,
        blobs: Mapping[str, Sequence[NDArray[Any]]] | None = None,
        source: str = "",
        *,
        lenient: bool = False,
    ) -> None:
        self.blobs = blobs
        self.source = source
        self.lenient = lenient
        self._given: set[str] = set()
        self._owners: dict[str, SharedParameter] = {}

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, lenient: bool = False) -> Weights:
        """The blobs of a caffemodel, binary or HDF5."""
        return cls(read_weights(path), os.fspath(path), lenient=lenient)

    def of(self, layer: Layer) -> Blobs:
        """The blobs for ``layer``, the next of the net."""
        stored: Sequence[NDArray[Any]] | None = None
        if self.blobs is not None and layer.name not in self._given:
            stored = self.blobs.get(layer.name)
        self._given.add(layer.name)
        if stored is None and layer.blobs:
            stored = layer.blobs
        absent = self.blobs is not None and stored is None and not self.lenient
        return Blobs(layer.name, stored, meta=absent, specs=layer.param_specs, owners=self._owners)

    def match(self, wiring: Wiring) -> Match:
        """What was matched, once the net is built.

        Raises:
            WeightsMismatchError: names every layer without weights, with a wrong shape or a wrong number of blobs.
        """
        weighted = [step for step in wiring.steps if step.blobs.shapes]
        absent = [step.name for step in weighted if step.blobs.meta and not _all_shared(step, wiring)]
        wrong = [f"{step.name!r} ({'; '.join(step.blobs.problems)})" for step in wiring.steps if step.blobs.problems]
        if absent or wrong:
            parts = []
            if absent:
                parts.append(f"{len(absent)} of {len(weighted)} layers have no weights in it: {', '.join(absent)}")
            if wrong:
                parts.append(f"{len(wrong)} do not fit: {', '.join(wrong)}")
            raise WeightsMismatchError(f"{self.source}: not the weights of {wiring.net.source}: {'; '.join(parts)}")
        matched = tuple(step.name for step in weighted if step.blobs.stored is not None)
        filled = tuple(step.name for step in weighted if step.blobs.filled)
        unused = tuple(name for name in self.blobs or () if name not in matched)
        return Match(matched, filled, unused)


def _all_shared(step: WiredLayer, wiring: Wiring) -> bool:
    """Whether another layer owns every blob of ``step``, so that the file need not repeat them."""
    names = [name for name in step.blobs.shared_names if name]
    if len(names) < len(step.blobs.shapes):
        return False
    others = (other for other in wiring.steps if other is not step and other.blobs.stored is not None)
    owned = {name for other in others for name in other.blobs.shared_names}
    return set(names) <= owned
