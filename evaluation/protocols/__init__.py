"""Protocols: the published ways of evaluating, chosen by name. :mod:`.base` explains how a run drives them."""

from collections.abc import Mapping
from types import MappingProxyType

from prototxt.errors import InputError

from .base import Logits, Prediction, Protocol, Settings, Truth
from .official import Official
from .result import Figure, Result, Table
from .tally import Record, Tally
from .views import View

PROTOCOLS: Mapping[str, type[Protocol]] = MappingProxyType({protocol.name: protocol for protocol in (Official,)})
"""By name; the first is the default."""

__all__ = [
    "PROTOCOLS",
    "Figure",
    "Logits",
    "Prediction",
    "Protocol",
    "Record",
    "Result",
    "Settings",
    "Table",
    "Tally",
    "Truth",
    "View",
    "protocol",
]


def protocol(name: str, settings: Settings | None = None) -> Protocol:
    """The protocol of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name](settings)
