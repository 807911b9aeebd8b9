"""Older generations of a net, brought to the current one as Caffe's ``upgrade_proto.cpp`` does.

V0 has ``layers { layer { type: "conv" } }`` and padding layers, V1 ``layers { type: CONVOLUTION }``, V2, the current
one, ``layer { type: "Convolution" }``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from icnet_common.errors import PrototxtError

from . import schema
from .upgrade_tables import TYPE_OF_V0, TYPE_OF_V1, V0_FIELDS

#: A message and its line in the text.
Placed = tuple[Any, int | None]


def upgraded(net: Any, lines: dict[str, list[int]], source: str) -> list[Placed]:
    """The layers of ``net`` (a ``NetParameter``) as ``LayerParameter`` messages in order, with their lines.

    Raises:
        PrototxtError: what Caffe refuses to upgrade.
    """
    if net.layers and net.layer:
        line = max(lines["layer"][0], lines["layers"][0])
        raise PrototxtError(
            f"{source}:{line}: the net mixes 'layer' and 'layers' blocks; write all as 'layer {{ type: \"...\" }}'"
        )
    if not net.layers:
        return [*_input_layer(net, source), *zip(net.layer, lines["layer"], strict=True)]
    old: list[Placed] = list(zip(net.layers, lines["layers"], strict=True))
    is_v0 = any(layer.HasField("layer") for layer in net.layers)
    return [*_input_layer(net, source), *(_from_v0(old, net.input, source) if is_v0 else _from_v1(old))]


def _input_layer(net: Any, source: str) -> list[Placed]:
    """The layer that stands for ``input:`` fields; none where the net does not give their shapes."""
    if not net.input or not (net.input_shape or net.input_dim):
        return []
    layer = schema.message("LayerParameter")(name="input", type="Input", top=net.input)
    needed = len(net.input)
    if net.input_shape:
        if len(net.input_shape) < needed:
            raise PrototxtError(f"{source}: {needed} inputs need {needed} input_shape, not {len(net.input_shape)}")
        layer.input_param.shape.extend(net.input_shape[:needed])
        return [(layer, None)]
    if len(net.input_dim) < 4 * needed:
        raise PrototxtError(f"{source}: {needed} inputs need {4 * needed} input_dim, not {len(net.input_dim)}")
    for index in range(needed):
        layer.input_param.shape.add(dim=net.input_dim[4 * index : 4 * index + 4])
    return [(layer, None)]


# ------------------------------------------------------------------------------------------------------------------ V1


def _from_v1(layers: list[Placed]) -> list[Placed]:
    return [(_layer_from_v1(layer), line) for layer, line in layers]


def _layer_from_v1(old: Any) -> Any:
    layer = schema.message("LayerParameter")(type=TYPE_OF_V1[old.type])
    for field, value in old.ListFields():
        if field.name in ("bottom", "top", "include", "exclude", "blobs", "loss_weight"):
            getattr(layer, field.name).extend(value)
        elif field.name == "name":
            layer.name = value
        elif field.name in _SPECS:
            _put_specs(layer, field.name, value)
        elif field.name.endswith("_param"):
            getattr(layer, field.name).CopyFrom(value)
    _move_transformation(layer)
    return layer


#: Lists of older generations with one value per blob, and where the value goes in the blob's ``param`` block.
_SPECS = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}


def _put_specs(layer: Any, field: str, values: Sequence[Any]) -> None:
    for index, value in enumerate(values):
        spec = layer.param[index] if index < len(layer.param) else layer.param.add()
        setattr(spec, _SPECS[field], value)


def _move_transformation(layer: Any) -> None:
    """Pre-processing that a V1 data layer had among its own parameters goes to ``transform_param``."""
    own_name = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}.get(
        layer.type
    )
    if own_name is None or not layer.HasField(own_name):
        return
    own = getattr(layer, own_name)
    for name in ("scale", "mean_file", "crop_size", "mirror"):
        if own.HasField(name):
            setattr(layer.transform_param, name, getattr(own, name))
            own.ClearField(name)


# ------------------------------------------------------------------------------------------------------------------ V0


def _from_v0(layers: list[Placed], inputs: Sequence[str], source: str) -> list[Placed]:
    def where(index: int) -> str:
        layer, line = layers[index]
        return f"{source}:{line}: layer {layer.layer.name!r}"

    for index, (layer, _) in enumerate(layers):
        if not layer.HasField("layer"):
            raise PrototxtError(
                f"{where(index)}: the net mixes V0 layers ('layers {{ layer {{ ... }} }}') with a V1 layer, "
                "of which Caffe would keep nothing"
            )
        if layer.layer.HasField("type") and layer.layer.type not in (*TYPE_OF_V0, "padding"):
            raise PrototxtError(f"{where(index)}: {layer.layer.type!r} is no type of a V0 layer")
    fold_padding([layer for layer, _ in layers], inputs, lambda index, text: PrototxtError(f"{where(index)}: {text}"))
    return [(_layer_from_v0(layer), line) for layer, line in layers if layer.layer.type != "padding"]


def fold_padding(layers: Sequence[Any], inputs: Sequence[str], error: Callable[[int, str], Exception]) -> None:
    """Give each V0 padding layer's pad to the convolution or pooling that reads it (``UpgradeV0PaddingLayers``).

    Args:
        layers: V0 layers in order: ``bottom``, ``top`` and ``layer`` with ``type`` and ``pad``; changed in place.
        inputs: the net's inputs.
        error: makes the exception for a layer's index and what is wrong with it.
    """
    maker: dict[str, int | None] = dict.fromkeys(inputs)
    for index, layer in enumerate(layers):
        for position, bottom in enumerate(layer.bottom):
            if bottom not in maker:
                raise error(index, f"its bottom {bottom!r} is made by no layer before it and is no input")
            source = maker[bottom]
            if source is None or layers[source].layer.type != "padding":
                continue
            padding = layers[source]
            if layer.layer.type not in ("conv", "pool"):
                raise error(
                    index, f"a padding layer feeds it; only conv and pool may follow one, not {layer.layer.type}"
                )
            if len(layer.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
                raise error(index, "a padding layer and the layer after it have one bottom, and the former one top")
            layer.layer.pad = padding.layer.pad
            layer.bottom[position] = padding.bottom[0]
        maker.update(dict.fromkeys(layer.top, index))


def _layer_from_v0(old: Any) -> Any:
    v0 = old.layer
    layer = schema.message("LayerParameter")(
        name=v0.name, type=TYPE_OF_V0.get(v0.type, ""), bottom=old.bottom, top=old.top, blobs=v0.blobs
    )
    for field, value in v0.ListFields():
        if field.name in _SPECS:
            _put_specs(layer, field.name, value)
        places = V0_FIELDS.get(field.name, {})
        place = places.get(v0.type) or places.get("any layer")
        if place is not None:  # else Caffe only warns: the field means nothing to this type
            _put(layer, place, value)
    return layer


def _put(layer: Any, place: str, value: Any) -> None:
    message_name, _, name = place.partition(".")
    message = getattr(layer, message_name)
    if not name:
        message.CopyFrom(value)
        return
    current = getattr(message, name)
    if hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    elif hasattr(current, "append"):
        current.append(value)
    else:
        setattr(message, name, value)
