"""Protocols: the published ways of evaluating, chosen by name. :mod:`.base` explains how a run drives them."""

from collections.abc import Mapping
from types import MappingProxyType

from icnet_common.errors import InputError
from pytorch_icnet.imaging.inputs import ModelInput

from .accumulator import MetricAccumulator
from .base import Logits, Protocol, ProtocolSettings
from .cityscapes import Cityscapes
from .image_stats import GroundTruth, ImageScore, ImageStats, Prediction
from .liminn import Liminn
from .mmseg import MULTI_SCALE, MMSeg
from .official import Official
from .result import Metric, Result, Table
from .semseg import SemSeg
from .supervisely import Supervisely

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
    "GroundTruth",
    "ImageScore",
    "ImageStats",
    "Logits",
    "Metric",
    "MetricAccumulator",
    "ModelInput",
    "Prediction",
    "Protocol",
    "ProtocolSettings",
    "Result",
    "Table",
    "protocol",
]


def protocol(name: str, settings: ProtocolSettings | None = None) -> Protocol:
    """The protocol of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name](settings)
