"""Nets as text and weights as binary files that Caffe itself loads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import ArrayLike, NDArray

from icnet_common.errors import InputError
from icnet_common.files import atomic_write

from . import encode, schema
from .net import Layer, Net, Params
from .params import is_repeated, own_field

CAFFE_READS = (1 << 31) - 1  # bytes; Caffe's kProtoReadBytesLimit


def net_text(net: Net) -> str:
    """``net`` as text of the current generation, which Caffe parses and which :func:`read_net` reads back equal.

    Rules, learning rates and whatever else a :class:`Net` does not hold are not in it.

    Raises:
        InputError: a layer has parameters whose message its type does not tell.
    """
    message = schema.message("NetParameter")(name=net.name)
    layers = list(net.layers)
    if layers and _stands_for_input_fields(layers[0]):
        # as fields they are read by forks that have no Input layer, such as ICNet's own
        first = layers.pop(0)
        message.input.extend(first.tops)
        for shape in first.params.shape:
            message.input_shape.add(dim=shape.dim)
    for layer in layers:
        message.layer.append(_layer_message(layer))
    return str(text_format.MessageToString(message, as_utf8=True))


def write_net(path: str | os.PathLike[str], net: Net) -> None:
    """Write :func:`net_text` to ``path``.

    Raises:
        InputError: as :func:`net_text`, or the file cannot be written.
    """
    text = net_text(net).encode("utf-8")
    with atomic_write(path) as temporary:
        temporary.write_bytes(text)


def write_weights(path: str | os.PathLike[str], net: Net, blobs: Mapping[str, Sequence[ArrayLike]]) -> None:
    """Write a binary caffemodel: every layer with name, type, bottoms and tops, and its blobs.

    The file is written piece by piece, so it takes no more memory than the largest blob.

    Args:
        path: the file to write.
        net: the net that the blobs belong to.
        blobs: layer name to its blobs in order; float64 is written as doubles, everything else as float32. Where the
            net repeats a name, its first layer gets them, as in Caffe's loading. Blobs of layers that the net does not
            have are kept in layers of their own at the end, which Caffe ignores.

    Raises:
        InputError: more than the 2 GB that Caffe reads, or the file cannot be written.
    """
    arrays = {name: [np.asarray(blob) for blob in layer_blobs] for name, layer_blobs in blobs.items()}
    known = {layer.name for layer in net.layers}
    extra = [Layer(name, "", (), (), Params({})) for name in arrays if name not in known]
    pieces = list(_layer_pieces([*net.layers, *extra], arrays))
    size = sum(length for length, _ in pieces)
    if size > CAFFE_READS:
        raise InputError(f"{path}: {size} bytes of weights are more than the 2 GB that Caffe reads")
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        if net.name:
            stream.write(encode.text(1, net.name))
        for _, parts in pieces:
            stream.writelines(parts)


def _layer_pieces(
    layers: Sequence[Layer], blobs: Mapping[str, list[NDArray[Any]]]
) -> Iterator[tuple[int, Iterator[bytes | memoryview]]]:
    written: set[str] = set()
    for layer in layers:
        own = blobs.get(layer.name, [])
        if own and layer.name in written:
            continue  # Caffe would try to load it into the first layer of this name
        written.add(layer.name)
        texts = encode.text(1, layer.name) + (encode.text(2, layer.type) if layer.type else b"")
        texts += b"".join(encode.text(3, bottom) for bottom in layer.bottoms)
        texts += b"".join(encode.text(4, top) for top in layer.tops)
        heads = [encode.head(7, encode.blob_size(blob)) for blob in own]
        length = len(texts) + sum(map(len, heads)) + sum(encode.blob_size(blob) for blob in own)
        content = (chain([head], encode.blob(blob)) for head, blob in zip(heads, own, strict=True))
        yield length, chain([encode.head(100, length), texts], chain.from_iterable(content))


def _stands_for_input_fields(layer: Layer) -> bool:
    params = layer.params
    return (
        (layer.name, layer.type, layer.bottoms) == ("input", "Input", ())
        and {name for name in params if params.is_set(name)} == {"shape"}
        and len(params.shape) == len(layer.tops)
        and not (layer.param_specs or layer.loss_weights or layer.blobs)
    )


def _layer_message(layer: Layer) -> Any:
    message = schema.message("LayerParameter")(
        name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops, loss_weight=layer.loss_weights
    )
    for spec in layer.param_specs:
        _fill(message.param.add(), spec)
    for blob in layer.blobs:
        values = {"double_data" if blob.dtype == np.float64 else "data": blob.reshape(-1).tolist()}
        message.blobs.add(shape={"dim": blob.shape}, **values)
    _put_params(message, layer)
    return message


def _put_params(message: Any, layer: Layer) -> None:
    params = layer.params
    own = params.message or own_field(layer.type, [])
    own_message = getattr(message, own) if own else None
    own_names = own_message.DESCRIPTOR.fields_by_name if own_message is not None else {}
    for name in params:
        if not params.is_set(name):
            continue
        if name in own_names:
            _put(own_message, name, params[name])
        elif isinstance(params[name], Params) and name in message.DESCRIPTOR.fields_by_name:
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), params[name])
        else:
            raise InputError(f"layer {layer.name!r}: the parameters of type {layer.type!r} have no {name!r}")


def _fill(message: Any, params: Params) -> None:
    for name in params:
        if params.is_set(name):
            _put(message, name, params[name])


def _put(message: Any, name: str, value: Any) -> None:
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None:
        for item in value if is_repeated(field) else (value,):
            target = getattr(message, name).add() if is_repeated(field) else getattr(message, name)
            target.SetInParent()
            _fill(target, item)
        return
    if field.enum_type is not None:
        numbers = field.enum_type.values_by_name
        value = [numbers[item].number for item in value] if is_repeated(field) else numbers[value].number
    if is_repeated(field):
        getattr(message, name).extend(value)
    else:
        setattr(message, name, value)
