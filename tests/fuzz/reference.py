"""Binary nets read by protobuf's own parser, with a schema of the fields on which every fork of Caffe agrees."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

_V0_TYPES = set(
    """
    accuracy bnll concat conv data dropout euclidean_loss flatten hdf5_data hdf5_output im2col images infogain_loss
    innerproduct lrn multinomial_logistic_loss padding pool relu sigmoid softmax softmax_loss split tanh window_data
    """.split()  # noqa: SIM905
)

#: message -> field -> (number, type, repeated, packed); strings are bytes, as names need not be UTF-8
_SCHEMA = {
    "BlobShape": {"dim": (1, "INT64", True)},
    "BlobProto": {
        "num": (1, "INT32", False),
        "channels": (2, "INT32", False),
        "height": (3, "INT32", False),
        "width": (4, "INT32", False),
        "data": (5, "FLOAT", True),
        "diff": (6, "FLOAT", True),
        "shape": (7, "BlobShape", False),
        "double_data": (8, "DOUBLE", True),
        "double_diff": (9, "DOUBLE", True),
    },
    "V0": {"name": (1, "BYTES", False), "type": (2, "BYTES", False), "blobs": (50, "BlobProto", True)},
    "V1": {
        "layer": (1, "V0", False),
        "bottom": (2, "BYTES", True),
        "top": (3, "BYTES", True),
        "name": (4, "BYTES", False),
        "blobs": (6, "BlobProto", True),
    },
    "V2": {"name": (1, "BYTES", False), "blobs": (7, "BlobProto", True)},
    "Net": {"layers": (2, "V1", True), "input": (3, "BYTES", True), "layer": (100, "V2", True)},
}


class Refused(ValueError):
    """The reference does not read the file."""


@cache
def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="reference.proto", package="reference", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind, repeated) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _SCHEMA:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".reference.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind}")
                field.options.packed = repeated and kind != "BYTES"
                if kind == "BYTES":
                    field.ClearField("options")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"reference.{name}")) for name in _SCHEMA}


def _parsed(name: str, data: bytes) -> Any:
    message = _messages()[name]()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Refused(str(error)) from None
    return message


def read_weights(data: bytes) -> dict[str, list[NDArray[Any]]]:
    """What :func:`prototxt.read_weights` gives for a file of these bytes.

    Raises:
        Refused: where that should raise.
    """
    if not any(data):
        return {}
    net = _parsed("Net", data)
    generations = {"V2"} if net.layer else set()
    generations |= {"V0" if layer.HasField("layer") else "V1" for layer in net.layers}
    if len(generations) != 1:
        raise Refused(f"generations {sorted(generations)}")
    if generations == {"V0"}:
        _check_v0(net)
    layers = net.layer or [layer.layer if layer.HasField("layer") else layer for layer in net.layers]
    weights: dict[str, list[NDArray[Any]]] = {}
    for layer in layers:
        blobs = [_blob(blob) for blob in layer.blobs]
        if blobs:
            weights[layer.name.decode("utf-8", "replace")] = blobs
    return weights


def read_mean(data: bytes) -> NDArray[Any]:
    """What :func:`prototxt.read_mean` gives for a file of these bytes; Refused where that should raise."""
    with np.errstate(all="ignore"):
        return _blob(_parsed("BlobProto", data)).astype(np.float32)


def _check_v0(net: Any) -> None:
    maker: dict[str, Any] = dict.fromkeys(_text(name) for name in net.input)
    for layer in net.layers:
        kind = _text(layer.layer.type)
        if layer.layer.HasField("type") and kind not in _V0_TYPES:
            raise Refused(f"type {kind}")
        for bottom in layer.bottom:
            if _text(bottom) not in maker:
                raise Refused(f"bottom {bottom!r}")
            source = maker[_text(bottom)]
            if source is not None and source.layer.type == b"padding":
                alone = len(layer.bottom) == len(source.bottom) == len(source.top) == 1
                if kind not in ("conv", "pool") or not alone:
                    raise Refused("padding")
        maker.update({_text(top): layer for top in layer.top})


def _blob(blob: Any) -> NDArray[Any]:
    values: NDArray[Any] = np.array(blob.data, np.float32)
    if blob.double_data:
        values = np.array(blob.double_data, np.float64)
    legacy = [blob.num, blob.channels, blob.height, blob.width]
    is_legacy = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = legacy if is_legacy else list(blob.shape.dim)
    if len(shape) > 32 or min(shape, default=0) < 0 or math.prod(shape) != values.size:
        raise Refused(f"shape {shape} of {values.size} values")
    return values.reshape(shape)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
