"""Protocols: the published ways of evaluating, chosen by name. :mod:`.base` explains how a run drives them."""

from collections.abc import Mapping
from types import MappingProxyType

from prototxt.errors import InputError

from .base import Logits, Prediction, Protocol, Settings, Truth
from .cityscapes import Cityscapes
from .liminn import Liminn
from .mmseg import MULTI_SCALE, MMSeg
from .official import Official
from .result import Figure, Result, Table
from .semseg import SemSeg
from .supervisely import Supervisely
from .tally import Record, Tally
from .views import View

PROTOCOLS: Mapping[str, type[Protocol]] = MappingProxyType(
    {each.name: each for each in (Official, MMSeg, Liminn, SemSeg, Supervisely, Cityscapes)}
)
"""By name."""

DEFAULT = Official.name
"""For networks that belong to no other, and for label maps alone."""

__all__ = [
    "DEFAULT",
    "MULTI_SCALE",
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
