"""Older generations of a net, brought to the current one as Caffe's ``upgrade_proto.cpp`` does."""

from __future__ import annotations

from typing import Any

from . import schema
from .errors import PrototxtError

#: A layer of the current generation and its line in the text.
Placed = tuple[Any, int | None]


def upgraded(net: Any, lines: dict[str, list[int]], source: str) -> list[Placed]:
    """The layers of ``net`` (a ``NetParameter``) as ``LayerParameter`` messages in order, with their lines.

    Raises:
        PrototxtError: what Caffe refuses to upgrade.
    """
    if net.layers and net.layer:
        raise PrototxtError(
            f"{source}:{max(lines['layer'][0], lines['layers'][0])}: the net mixes 'layer' and 'layers' blocks; "
            "write all of them as 'layer { type: \"...\" }'"
        )
    layers: list[Placed] = list(zip(net.layer, lines["layer"], strict=True))
    if net.layers:
        raise PrototxtError(f"{source}: nets with 'layers' blocks are not read yet")
    return [*_input_layer(net, source), *layers]


def _input_layer(net: Any, source: str) -> list[Placed]:
    """The layer that stands for ``input:`` fields; none where the net does not give their shapes."""
    if not net.input or not (net.input_shape or net.input_dim):
        return []
    layer = schema.message("LayerParameter")(name="input", type="Input", top=net.input)
    needed = len(net.input)
    if net.input_shape:
        if len(net.input_shape) < needed:
            raise PrototxtError(
                f"{source}: {needed} inputs need {needed} input_shape, there are {len(net.input_shape)}"
            )
        layer.input_param.shape.extend(net.input_shape[:needed])
        return [(layer, None)]
    if len(net.input_dim) < 4 * needed:
        raise PrototxtError(f"{source}: {needed} inputs need {4 * needed} input_dim, there are {len(net.input_dim)}")
    for index in range(needed):
        layer.input_param.shape.add(dim=net.input_dim[4 * index : 4 * index + 4])
    return [(layer, None)]
