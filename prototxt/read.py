"""From a prototxt to a :class:`Net`: text, upgrades, and the layers that take part."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icnet_common.errors import PrototxtError
from icnet_common.files import read_untrusted

from . import text
from .net import Layer, Net
from .params import layer_of
from .upgrade import upgraded

PHASES = {"TRAIN": 0, "TEST": 1}

#: Layers whose tops come from files or memory that a converted net does not have, so they are fed like inputs.
DATA_TYPES = frozenset(
    "AnnotatedData Data DenseImageData HDF5Data ImageData ImageSegData MemoryData VideoData WindowData".split()  # noqa: SIM905
)


def read_net(
    path_or_text: str | os.PathLike[str], phase: str = "TEST", level: int = 0, stages: Iterable[str] = ()
) -> Net:
    """Read a text net of any generation of Caffe and its forks.

    Args:
        path_or_text: an ``os.PathLike``, or a str without ``{`` and newline: a path; otherwise the text itself.
        phase: ``"TEST"`` or ``"TRAIN"``; it wins over a ``state`` in the file, as Caffe's callers do.
        level, stages: the rest of Caffe's NetState; stages are added to those of a ``state`` in the file.

    Returns:
        The net after Caffe's upgrades, with the layers of this state. What concerns the graph (bottoms that nobody
        makes, shapes) is not looked at here.

    Raises:
        PrototxtError: the file cannot be read, or the text breaks Caffe's syntax, schema or rules.
        ValueError: an unknown phase.
    """
    if phase.upper() not in PHASES:
        raise ValueError(f"phase is 'TEST' or 'TRAIN', not {phase!r}")
    data, source = _bytes_of(path_or_text)
    net, lines = text.parse(data, source)
    all_stages = frozenset(net.state.stage) | frozenset(stages)
    layers = tuple(
        layer_of(layer, line, source)
        for layer, line in upgraded(net, lines, source)
        if takes_part(layer, PHASES[phase.upper()], level, all_stages, f"{source}:{line}: layer {layer.name!r}")
    )
    return Net(net.name, layers, MappingProxyType(_inputs(layers)), source)


def _bytes_of(path_or_text: str | os.PathLike[str]) -> tuple[bytes, str]:
    if isinstance(path_or_text, str) and ("{" in path_or_text or "\n" in path_or_text):
        return path_or_text.encode("utf-8", "surrogateescape"), "<text>"
    path = Path(path_or_text)
    return bytes(read_untrusted(path, PrototxtError, text.MAX_BYTES)), str(path)


def _inputs(layers: tuple[Layer, ...]) -> dict[str, tuple[int, ...]]:
    inputs: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        if layer.type == "Input" or (layer.type in DATA_TYPES and not layer.bottoms):
            inputs.update(zip(layer.tops, _top_shapes(layer), strict=True))
    return inputs


def _top_shapes(layer: Layer) -> list[tuple[int, ...]]:
    """Shapes of an input's tops as the text tells them, ``()`` where it does not."""
    params: Any = layer.params
    count = len(layer.tops)
    if layer.type == "Input":
        shapes = [shape.dim for shape in params.shape]
        return shapes * count if len(shapes) == 1 else [*shapes[:count], *[()] * (count - len(shapes))]
    if layer.type == "MemoryData":
        sizes = (params.batch_size, params.channels, params.height, params.width)
        return [sizes, sizes[:1]][:count] + [()] * (count - 2)
    return [()] * count


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
