"""The receptive field of each layer: how many pixels of the input, from border to border, one value of its top sees.

Along an axis a layer is described by its field in pixels of the input and by its step, the distance in the input
between two neighbouring values of its top. A window of k positions that are d apart, moved by s,

    field' = field + (k - 1) d step,    step' = step s

(Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). Padding does not
count, so a field can be larger than the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .blobs import Shape
from .layers.interp import Interp
from .layers.pooling import GlobalPooling, Pooling
from .wiring import WiredLayer, Wiring

_WHOLE = frozenset({"InnerProduct", "Reduction", "SPP", "ROIPooling", "PSROIPooling", "DetectionOutput", "LSTM", "RNN"})
"""Types of whose tops each value may depend on all of the bottom."""


@dataclass(frozen=True)
class ReceptiveField:
    """Along height and width: the field, and the step between neighbours, in pixels of the input."""

    size: tuple[float, float]
    step: tuple[float, float]


def receptive_fields(wiring: Wiring) -> list[ReceptiveField | None]:
    """The receptive field of each step's tops.

    Args:
        wiring: a connected net, perhaps on the meta device.

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
