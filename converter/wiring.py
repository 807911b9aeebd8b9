"""A net's layers, one after another, with their blobs connected and their shapes known.

Follows ``Net::Init`` (``net.cpp``) and ``InsertSplits`` (``insert_splits.cpp``): which blob a bottom means, what in
place is, which blobs are left over as the net's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from prototxt import Layer, Net

from . import registry
from .blobs import Blobs, Shape, check_count, fits
from .errors import LayerError, NetError, UnsupportedLayersError
from .names import unique_names
from .registry import INPUT_TYPES

BlobsOf = Callable[[Layer], Blobs]


@dataclass(frozen=True)
class Wire:
    """One value of a blob: the ``top``-th top of the step at this index. In-place layers start a new wire."""

    step: int
    top: int


@dataclass
class WiredLayer:
    """One layer of the net, connected.

    Attributes:
        layer: as in the text, with its automatic tops.
        name: the layer's name, made unique.
        module: None for layers that feed the net, and for those whose bottoms' shapes are unknown.
        bottoms: where each bottom comes from.
        bottom_shapes, top_shapes: of each bottom and top; None where the text does not tell it.
        blobs: what the layer's translator took.
        returns_tuple: whether the module returns a tuple of tops.
    """

    layer: Layer
    name: str
    module: nn.Module | None
    bottoms: list[Wire]
    bottom_shapes: list[Shape | None]
    top_shapes: list[Shape | None]
    blobs: Blobs
    returns_tuple: bool = False


@dataclass
class Wiring:
    """A connected net: its steps, and the wire of each output blob, by name in Caffe's (alphabetical) order."""

    net: Net
    steps: list[WiredLayer]
    outputs: dict[str, Wire]


def wire(net: Net, blobs_of: BlobsOf, *, complete: bool = True) -> Wiring:
    """Connect ``net`` and build its modules.

    Args:
        net: as read from text.
        blobs_of: gives the weights of a layer.
        complete: every layer must get its module. Otherwise layers that read a blob whose shape the text does not tell,
            because a data layer would find it in its files, are left without.

    Raises:
        UnsupportedLayersError: types without a translator, all of them.
        NetError: anything else that Caffe would refuse.
    """
    _check_types(net)
    consumers = _count_consumers(net)
    steps: list[WiredLayer] = []
    current: dict[str, Wire] = {}
    available: set[str] = set()
    names = unique_names([layer.name for layer in net.layers])
    for index, (layer, name) in enumerate(zip(net.layers, names, strict=True)):
        bottoms = [current[bottom] for bottom in layer.bottoms]
        shapes = [steps[source.step].top_shapes[source.top] for source in bottoms]
        available.difference_update(layer.bottoms)
        for top_index, top in enumerate(layer.tops):
            in_place = top_index < len(layer.bottoms) and layer.bottoms[top_index] == top
            if top in current and not (in_place and consumers[current[top]] == 1):
                raise NetError(f"{_where(net, layer)}: its top {top!r} is already produced by another layer")
            current[top] = Wire(index, top_index)
        available.update(layer.tops)
        blobs = blobs_of(layer)
        try:
            layer_type = None if layer.type in INPUT_TYPES else registry.find(layer.type)
            if layer_type is not None:
                layer = layer_type.with_automatic_tops(layer)
            if len(layer.loss_weights) not in (0, len(layer.tops)):
                given = f"{len(layer.loss_weights)} loss_weight for {len(layer.tops)} tops"
                raise LayerError(f"{given}; give none, or one for each")
            tops = [_input_shape(net, layer, top) if layer_type is None else None for top in layer.tops]
            step = WiredLayer(layer, name, None, bottoms, shapes, tops, blobs)
            if layer_type is not None and _is_known(step, complete):
                layer_type.check_counts(step.layer)
                options = {"layer": step.layer} if layer_type.wants_layer else {}
                step.module = layer_type.translate(step.layer.params, list(shapes), blobs, **options).eval()
                _find_tops(step)
        except LayerError as error:
            raise NetError(f"{_where(net, layer)}: {error}") from error
        except (ArithmeticError, ValueError, RuntimeError) as error:
            reason = _first_line(error)
            raise NetError(f"{_where(net, layer)}: cannot be built with these parameters: {reason}") from error
        steps.append(step)
    return Wiring(net, steps, {name: current[name] for name in sorted(available)})


def _check_types(net: Net) -> None:
    unknown = [layer for layer in net.layers if layer.type not in INPUT_TYPES and registry.find(layer.type) is None]
    if unknown:
        listed = ", ".join(f"{layer.type or '(no type)'} ({layer.name!r}, line {layer.line})" for layer in unknown)
        raise UnsupportedLayersError(
            f"{net.source}: {len(unknown)} layer{'s' * (len(unknown) > 1)} of unsupported type: {listed}; "
            "add a type with converter.register"
        )


def _count_consumers(net: Net) -> dict[Wire, int]:
    """How many bottoms read each wire; a loss weight on a top counts as one more, as it makes Caffe split the blob."""
    current: dict[str, Wire] = {}
    consumers: dict[Wire, int] = {}
    for index, layer in enumerate(net.layers):
        for number, bottom in enumerate(layer.bottoms):
            if bottom not in current:
                raise NetError(
                    f"{_where(net, layer)}: its bottom {number}, {bottom!r}, is produced by no layer before it"
                )
            consumers[current[bottom]] += 1
        for number, top in enumerate(layer.tops):
            current[top] = Wire(index, number)
            weighted = number < len(layer.loss_weights) and layer.loss_weights[number] != 0
            consumers[current[top]] = int(weighted)
    return consumers


def _is_known(step: WiredLayer, complete: bool) -> bool:
    """Whether the shapes of all bottoms are; where they are not, a complete net cannot be built."""
    if None not in step.bottom_shapes:
        return True
    if complete:
        unknown = step.layer.bottoms[step.bottom_shapes.index(None)]
        raise LayerError(
            f"the shape of its bottom {unknown!r} comes from files, not from the text; "
            "put an Input layer with a shape in place of the data layer"
        )
    return False


def _find_tops(step: WiredLayer) -> None:
    """Note the shapes of what a step's new module gives, and check them and its blobs."""
    assert step.module is not None
    layer, blobs = step.layer, step.blobs
    blobs.finish()
    if layer.blobs and not (len(layer.blobs) == len(blobs.shapes) and all(map(fits, layer.blobs, blobs.shapes))):
        given = [list(blob.shape) for blob in layer.blobs]
        raise LayerError(f"the text gives blobs of the shapes {given}, expected {[list(s) for s in blobs.shapes]}")
    tops = infer_tops(step.module, [shape for shape in step.bottom_shapes if shape is not None])
    step.returns_tuple = isinstance(tops, tuple)
    shapes = [tuple(top.shape) for top in (tops if isinstance(tops, tuple) else (tops,))]
    for shape in shapes:
        check_count(shape)
    if len(shapes) < len(layer.tops):
        raise LayerError(f"produces {len(shapes)} tops, the text names {len(layer.tops)}")
    step.top_shapes = [*shapes[: len(layer.tops)]]


def _input_shape(net: Net, layer: Layer, top: str) -> Shape | None:
    """The shape of an input; that of a data layer is unknown unless the text tells it."""
    shape = net.inputs[top]
    if any(n < 0 for n in shape):
        raise LayerError(f"its top {top!r} has the shape {list(shape)}, with a negative length")
    check_count(shape)
    return shape or (() if layer.type == "Input" else None)


def infer_tops(module: nn.Module, shapes: Sequence[Shape]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """What a module returns for inputs of ``shapes``, on the meta device: shapes without values.

    Raises:
        LayerError: the module refuses such inputs.
    """
    state = {name: tensor.to("meta") for name, tensor in (*module.named_parameters(), *module.named_buffers())}
    bottoms = tuple(torch.empty(shape, device="meta") for shape in shapes)
    try:
        with torch.no_grad():
            return functional_call(module, state, bottoms)  # type: ignore[no-any-return]
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        bottoms_text = [list(shape) for shape in shapes]
        raise LayerError(f"cannot take bottoms of {bottoms_text}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _where(net: Net, layer: Layer) -> str:
    line = f":{layer.line}" if layer.line else ""
    return f"{net.source}{line}: layer {layer.name!r} ({layer.type})"
