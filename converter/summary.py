"""A net as a table, from shapes alone, also as text for the terminal."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from prototxt import Net, read_net

from .blobs import Blobs, Shape, SharedParameter
from .layers.interp import Interp
from .layers.pooling import GlobalPooling, Pooling
from .wiring import WiredLayer, Wiring, wire

if TYPE_CHECKING:
    import pandas

COLUMNS = ("name", "type", "bottoms", "tops", "top_shapes", "param_shapes", "parameters", "macs")

_CONVOLUTIONS = frozenset(
    """
    Convolution ConvolutionData HoleConvolutionData ConvolutionDepthwise ConvolutionDepthWise DepthwiseConvolution
    """.split()  # noqa: SIM905
)
#: Matrices of a recurrent layer without a static input, which would be the second one.
_RECURRENT = {"LSTM": 2, "RNN": 3}

_WHOLE = frozenset({"InnerProduct", "Reduction", "SPP", "ROIPooling", "PSROIPooling", "DetectionOutput", "LSTM", "RNN"})
"""Types of whose tops each value may depend on all of the bottom."""


def summary(prototxt: str | os.PathLike[str] | Net) -> list[dict[str, Any]]:
    """One row per layer of Caffe's net after its upgrades, without Split layers, of which Caffe inserts many.

    Works without weights, on the meta device.

    Args:
        prototxt: path, text, or a net already read.

    Returns:
        Rows of ``name``, ``type``, ``bottoms``, ``tops`` (lists of str), ``top_shapes``, ``param_shapes`` (lists of
        lists of int), ``parameters`` (number of values in the layer's blobs) and ``macs`` (multiply-accumulates of
        one forward pass; 0 for layers that are not sums of products with weights). ``input:`` fields are one row
        ``input`` of type Input. Losses whose tops the text leaves out have Caffe's ``"(automatic)"``; shapes that the
        text does not tell (a data layer finds them in its files) are empty, and so are those that follow from them.

    Raises:
        PrototxtError, NetError: what is wrong with the net.
    """
    return _rows(shapes_of(prototxt if isinstance(prototxt, Net) else read_net(prototxt)))


def summary_frame(prototxt: str | os.PathLike[str] | Net) -> pandas.DataFrame:
    """:func:`summary` as a table: a row per layer, its columns in the same order.

    ``parameters`` and ``macs`` are int64, so that they can be summed and sorted; the others hold texts and lists.
    """
    import pandas  # here, as importing it takes half a second

    return pandas.DataFrame(summary(prototxt), columns=COLUMNS).astype({"parameters": "int64", "macs": "int64"})


def detailed_summary(net: Net) -> list[dict[str, Any]]:
    """:func:`summary` with two more columns.

    Returns:
        Rows that also have ``memory`` (bytes of the tops in float32, none for a layer in place) and ``receptive_field``
        (height and width in pixels of the input; None where there is none, or where it is all of the input).
    """
    wiring = shapes_of(net)
    rows = _rows(wiring)
    kept = [index for index, step in enumerate(wiring.steps) if step.layer.type != "Split"]
    fields = receptive_fields(wiring)
    for row, index in zip(rows, kept, strict=True):
        field = fields[index]
        new = [shape for top, shape in zip(row["tops"], row["top_shapes"], strict=True) if top not in row["bottoms"]]
        row["memory"] = 4 * sum(math.prod(shape) for shape in new)
        row["receptive_field"] = None if field is None or math.inf in field.size else [round(n) for n in field.size]
    return rows


def _rows(wiring: Wiring) -> list[dict[str, Any]]:
    rows = [_row(step) for step in wiring.steps if step.layer.type != "Split"]
    # A blob that layers change in place, shape and all, has one shape everywhere, since in Caffe it is one blob.
    last: dict[str, list[int]] = {}
    for row in reversed(rows):
        for index, top in enumerate(row["tops"]):
            row["top_shapes"][index] = last.setdefault(top, row["top_shapes"][index])
    return rows


def shapes_of(net: Net) -> Wiring:
    """``net`` connected on the meta device."""
    owners: dict[str, SharedParameter] = {}
    return wire(net, lambda layer: Blobs(layer.name, meta=True, specs=layer.param_specs, owners=owners), complete=False)


def outputs_of(net: Net) -> dict[str, Shape | None]:
    """The net's output blobs, in Caffe's (alphabetical) order, with their shapes (None: the text does not tell it)."""
    wiring = shapes_of(net)
    return {name: wiring.steps[wire.step].top_shapes[wire.top] for name, wire in wiring.outputs.items()}


def _row(step: WiredLayer) -> dict[str, Any]:
    return {
        "name": step.layer.name,
        "type": step.layer.type,
        "bottoms": list(step.layer.bottoms),
        "tops": list(step.layer.tops),
        "top_shapes": [list(shape or ()) for shape in step.top_shapes],
        "param_shapes": [list(shape) for shape in step.blobs.shapes],
        "parameters": sum(math.prod(shape) for shape in step.blobs.shapes),
        "macs": _macs(step),
    }


def _macs(step: WiredLayer) -> int:
    """One for each product of a weight with a value of a bottom."""
    bottoms, tops = (
        [shape for shape in shapes if shape is not None] for shapes in (step.bottom_shapes, step.top_shapes)
    )
    weights = [shape for shape in step.blobs.shapes if len(shape) > 1]
    if not weights:
        return 0
    kind = step.layer.type
    if kind == "Deconvolution":
        return sum(math.prod(shape) for shape in bottoms) * math.prod(weights[0][1:])
    if kind in _CONVOLUTIONS:
        return sum(math.prod(shape) for shape in tops) * math.prod(weights[0][1:])
    if kind == "InnerProduct":
        return math.prod(tops[0]) * math.prod(weights[0]) // int(step.layer.params.num_output)
    if kind in _RECURRENT:
        steps, streams = bottoms[0][:2]
        static = math.prod(weights[1]) if len(weights) > _RECURRENT[kind] else 0  # reads its bottom once a sequence
        return streams * (steps * (sum(math.prod(shape) for shape in weights) - static) + static)
    return 0


def layer_table(rows: Sequence[Mapping[str, Any]], weights: Mapping[str, str] | None = None) -> str:
    """One line per layer.

    Args:
        rows: as :func:`converter.summary` gives them, or :func:`converter.summary.detailed_summary`.
        weights: for layers with weights, where these come from.
    """
    detailed = bool(rows) and "memory" in rows[0]
    header = ["layer", "type", "top", "parameters", "MMAC", *(["memory MB", "field"] if detailed else [])]
    table = [header + (["weights"] if weights is not None else [])]
    for row in rows:
        tops = ", ".join("x".join(map(str, shape)) for shape in row["top_shapes"])
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        macs = f"{row['macs'] / 1e6:,.1f}" if row["macs"] else ""
        cells = [row["name"], row["type"], tops, parameters, macs]
        if detailed:
            field = "x".join(map(str, row["receptive_field"] or ()))
            cells += [f"{row['memory'] / 1e6:,.1f}" if row["memory"] else "", field]
        table.append(cells + ([weights.get(row["name"], "")] if weights is not None else []))
    return aligned(table, right={3, 4, 5, 6} if detailed else {3, 4})


def aligned(table: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows of cells as text with columns of one width; columns in ``right`` are flush right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def totals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Layers, parameters, multiply-accumulates and, where the rows have it, memory of a whole net, on one line."""
    parameters = sum(row["parameters"] for row in rows)
    macs = sum(row["macs"] for row in rows)
    memory = sum(row.get("memory", 0) for row in rows)
    tops = f", {memory / 1e6:,.0f} MB of tops" if memory else ""
    return f"{len(rows)} layers, {parameters:,} parameters, {macs / 1e9:.2f} GMAC{tops}"


@dataclass(frozen=True)
class ReceptiveField:
    """Along height and width: the field, and the step between neighbours, in pixels of the input."""

    size: tuple[float, float]
    step: tuple[float, float]


def receptive_fields(wiring: Wiring) -> list[ReceptiveField | None]:
    """The receptive field of each step's tops: how many pixels of the input, from border to border, one value sees.

    Along an axis a layer is described by its field in pixels of the input and by its step, the distance in the input
    between two neighbouring values of its top. A window of k positions that are d apart, moved by s,

        field' = field + (k - 1) d step,    step' = step s

    (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). Padding does
    not count, so a field can be larger than the input.

    Returns:
        One per step; None where there are no images (bottoms of other than four axes) or shapes are unknown. Infinite
        where a value depends on all of an image.
    """
    fields: list[ReceptiveField | None] = []
    for step in wiring.steps:
        fields.append(_field(step, [fields[bottom.step] for bottom in step.bottoms]))
    return fields


def _field(step: WiredLayer, bottoms: Sequence[ReceptiveField | None]) -> ReceptiveField | None:
    if not step.layer.bottoms:
        return ReceptiveField((1, 1), (1, 1)) if any(_is_image(shape) for shape in step.top_shapes) else None
    known = [field for field in bottoms if field is not None]
    if not known:
        return None
    if step.layer.type in _WHOLE or isinstance(step.module, GlobalPooling):
        return ReceptiveField((math.inf, math.inf), (math.inf, math.inf))
    if not any(_is_image(shape) for shape in step.top_shapes):
        return None
    widest = max(known, key=lambda field: field.size)
    return _through(step, widest)


def _is_image(shape: Shape | None) -> bool:
    return shape is not None and len(shape) == 4


def _through(step: WiredLayer, bottom: ReceptiveField) -> ReceptiveField:
    module = getattr(step.module, "module", step.module)
    if isinstance(module, nn.ConvTranspose2d):
        strides = [1 / s for s in module.stride]
        reach = [(k - 1) * d / s for k, d, s in zip(module.kernel_size, module.dilation, module.stride, strict=True)]
    elif isinstance(module, nn.Conv2d):
        strides = [float(s) for s in module.stride]
        reach = [float((k - 1) * d) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    elif isinstance(module, Pooling):
        strides = [float(s) for s in module.stride]
        reach = [float(k - 1) for k in module.kernel]
    elif isinstance(module, Interp):
        return _resized(step, bottom)
    else:
        return bottom
    sizes = [n + r * d for n, r, d in zip(bottom.size, reach, bottom.step, strict=True)]
    steps = [d * s for d, s in zip(bottom.step, strides, strict=True)]
    return ReceptiveField((sizes[0], sizes[1]), (steps[0], steps[1]))


def _resized(step: WiredLayer, bottom: ReceptiveField) -> ReceptiveField:
    """A bilinear resize sees one neighbour, unless it meets the pixels themselves."""
    before, after = step.bottom_shapes[0], step.top_shapes[0]
    if before is None or after is None:
        return bottom
    sizes, steps = [], []
    for n, m, size, distance in zip(before[2:], after[2:], bottom.size, bottom.step, strict=True):
        ratio = (n - 1) / (m - 1) if m > 1 else 0.0
        sizes.append(size if ratio.is_integer() else size + distance)
        steps.append(distance * ratio or distance)
    return ReceptiveField((sizes[0], sizes[1]), (steps[0], steps[1]))
