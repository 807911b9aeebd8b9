"""Older generations of a net, brought to the current one as Caffe's ``upgrade_proto.cpp`` does.

V0 has ``layers { layer { type: "conv" } }`` and padding layers, V1 ``layers { type: CONVOLUTION }``, V2, the current
one, ``layer { type: "Convolution" }``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from icnet_common.errors import PrototxtError

from . import schema

#: V1's enum values whose V2 type is not the name in title case without underscores.
_IRREGULAR = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "NONE": "",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}

_V1_TYPES = schema.message("V1LayerParameter").DESCRIPTOR.enum_types_by_name["LayerType"].values

#: V1's enum number to V2's type string.
TYPE_OF_V1: dict[int, str] = {
    value.number: _IRREGULAR.get(value.name, value.name.title().replace("_", "")) for value in _V1_TYPES
}

_V0_AS_V1 = (
    "accuracy bnll concat data dropout euclidean_loss flatten hdf5_data hdf5_output im2col infogain_loss lrn "
    "multinomial_logistic_loss relu sigmoid softmax softmax_loss split tanh window_data"
)

#: V0's type string to V2's; most are V1's in small letters.
TYPE_OF_V0: dict[str, str] = {
    **{value.name.lower(): TYPE_OF_V1[value.number] for value in _V1_TYPES if value.name.lower() in _V0_AS_V1.split()},
    "conv": "Convolution",
    "images": "ImageData",
    "innerproduct": "InnerProduct",
    "pool": "Pooling",
}


def _learned(name: str) -> dict[str, str]:
    return {"conv": f"convolution_param.{name}", "innerproduct": f"inner_product_param.{name}"}


def _window(name: str) -> dict[str, str]:
    return {"conv": f"convolution_param.{name}", "pool": f"pooling_param.{name}"}


def _data(name: str, *types: str) -> dict[str, str]:
    messages = {
        "data": "data_param",
        "hdf5_data": "hdf5_data_param",
        "images": "image_data_param",
        "infogain_loss": "infogain_loss_param",
        "window_data": "window_data_param",
    }
    return {kind: f"{messages[kind]}.{name}" for kind in types}


#: V0's fields: V0 type to the place in a V2 layer, "any layer" for every type.
V0_FIELDS: dict[str, dict[str, str]] = {
    "num_output": _learned("num_output"),
    "biasterm": _learned("bias_term"),
    "weight_filler": _learned("weight_filler"),
    "bias_filler": _learned("bias_filler"),
    "pad": _window("pad"),
    "kernelsize": _window("kernel_size"),
    "group": {"conv": "convolution_param.group"},
    "stride": _window("stride"),
    "pool": {"pool": "pooling_param.pool"},
    "dropout_ratio": {"dropout": "dropout_param.dropout_ratio"},
    "local_size": {"lrn": "lrn_param.local_size"},
    "alpha": {"lrn": "lrn_param.alpha"},
    "beta": {"lrn": "lrn_param.beta"},
    "k": {"lrn": "lrn_param.k"},
    "source": _data("source", "data", "hdf5_data", "images", "window_data", "infogain_loss"),
    "scale": {"any layer": "transform_param.scale"},
    "meanfile": {"any layer": "transform_param.mean_file"},
    "batchsize": _data("batch_size", "data", "hdf5_data", "images", "window_data"),
    "cropsize": {"any layer": "transform_param.crop_size"},
    "mirror": {"any layer": "transform_param.mirror"},
    "rand_skip": _data("rand_skip", "data", "images"),
    "shuffle_images": _data("shuffle", "images"),
    "new_height": _data("new_height", "images"),
    "new_width": _data("new_width", "images"),
    "concat_dim": {"concat": "concat_param.concat_dim"},
    "det_fg_threshold": _data("fg_threshold", "window_data"),
    "det_bg_threshold": _data("bg_threshold", "window_data"),
    "det_fg_fraction": _data("fg_fraction", "window_data"),
    "det_context_pad": _data("context_pad", "window_data"),
    "det_crop_mode": _data("crop_mode", "window_data"),
    "hdf5_output_param": {"hdf5_output": "hdf5_output_param"},
}

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
    new = _from_v0(old, net.input, source) if is_v0 else [(_layer_from_v1(layer), line) for layer, line in old]
    return [*_input_layer(net, source), *new]


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
    messages = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
    if layer.type not in messages or not layer.HasField(messages[layer.type]):
        return
    own = getattr(layer, messages[layer.type])
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
