"""A net as plain, immutable Python values: no protobuf object leaves this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from numpy.typing import NDArray


class Params(Mapping[str, Any]):
    """The parameters of one layer: every field of the message that Caffe's layer of this type reads.

    Values are typed as in Caffe's schema and defaults are filled in: ``params.stride_h``, ``params["pool"]``.
    Enums are their names (``"MAX"``), repeated fields are tuples, messages are ``Params``. A message other than the
    layer's own that the text sets (``loss_param``, ``transform_param``) is there under its field name.
    :meth:`is_set` tells a value that the text gives from a default, for layers whose rule depends on it (Interp).
    """

    __slots__ = ("_message", "_set", "_values")

    def __init__(
        self, values: Mapping[str, Any], set_fields: frozenset[str] | None = None, message: str | None = None
    ) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_set", frozenset(values) if set_fields is None else set_fields)
        object.__setattr__(self, "_message", message)

    @property
    def message(self) -> str | None:
        """The field of Caffe's LayerParameter that a layer's own parameters come from (``"convolution_param"``)."""
        return cast("str | None", self._message)

    def is_set(self, name: str) -> bool:
        """Whether the text gives ``name`` a value (repeated fields: at least one)."""
        return name in self._set

    def replace(self, **changes: Any) -> Params:
        """A copy with ``changes``, which count as set.

        Raises:
            KeyError: a name that this layer's parameters do not have.
        """
        unknown = sorted(set(changes) - set(self._values))
        if unknown:
            raise KeyError(f"no parameter {unknown[0]!r}; there are {', '.join(sorted(self._values))}")
        return Params({**self._values, **changes}, self._set | frozenset(changes), self._message)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}; there are {', '.join(sorted(self._values))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("Params are immutable; use replace()")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Params):
            return NotImplemented
        return bool(self._values == other._values and self._set == other._set)

    def __hash__(self) -> int:
        return hash((frozenset(self._values), self._set))

    def __reduce__(self) -> tuple[Any, ...]:
        return Params, (self._values, self._set, self._message)

    def __repr__(self) -> str:
        texts = [f"{name}={self._values[name]!r}" for name in sorted(self._set & set(self._values))]
        return f"Params({', '.join(texts)})"


@dataclass(frozen=True)
class Layer:
    """One layer of a net after Caffe's upgrades, filtered by phase, level and stage.

    Attributes:
        name: Caffe's name; may be empty or repeated, as Caffe allows.
        type: the V2 type string, for instance ``"Convolution"``.
        bottoms, tops: blob names in order; a top that equals a bottom is in place.
        params: see :class:`Params`.
        line: 1-based line of the block in the text; None for a layer that the text does not have as a block
            (the ``input`` layer that stands for ``input:`` fields).
        param_specs: the ``param`` blocks, one per blob in order: ``name``, ``share_mode``, ``lr_mult``, ``decay_mult``.
        loss_weights: ``loss_weight`` of each top; empty where the text gives none.
        blobs: blobs written in the text itself (rare), which Caffe uses in place of fillers.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    params: Params
    line: int | None = field(default=None, compare=False)
    param_specs: tuple[Params, ...] = ()
    loss_weights: tuple[float, ...] = ()
    blobs: tuple[NDArray[Any], ...] = field(default=(), compare=False)

    @property
    def param_names(self) -> tuple[str, ...]:
        """``param { name }`` of each blob in order, ``""`` where there is none; equal names share one blob."""
        return tuple(spec.name for spec in self.param_specs)


@dataclass(frozen=True)
class Net:
    """A net: its layers in the order in which Caffe runs them.

    Attributes:
        name: the net's name, may be empty.
        layers: after Caffe's upgrades (``input:`` fields become one layer ``input`` of type Input at the front).
        inputs: name to shape of everything that must be fed, in the order of ``forward``'s arguments: the tops of Input
            layers and of data layers. An empty shape where the text does not tell it.
        source: the file it was read from, for messages; ``"<text>"`` for text.
    """

    name: str
    layers: tuple[Layer, ...]
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    source: str = field(default="<text>", compare=False)
