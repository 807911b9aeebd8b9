"""Which layers of a net take part: phase, level and stage (Caffe's ``Net::FilterNet`` and ``Net::StateMeetsRule``)."""

from __future__ import annotations

from typing import Any

from icnet_common.errors import PrototxtError

PHASES = {"TRAIN": 0, "TEST": 1}


def takes_part(layer: Any, phase: int, level: int, stages: frozenset[str], where: str) -> bool:
    """Whether ``layer`` (a ``LayerParameter`` or ``V1LayerParameter``) is in the net in this state.

    Raises:
        PrototxtError: the layer has both include and exclude rules.
    """
    if layer.include and layer.exclude:
        raise PrototxtError(f"{where}: a layer has either include rules or exclude rules, not both")
    if layer.include:
        return any(_meets(rule, phase, level, stages) for rule in layer.include)
    return not any(_meets(rule, phase, level, stages) for rule in layer.exclude)


def _meets(rule: Any, phase: int, level: int, stages: frozenset[str]) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == phase)
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )
