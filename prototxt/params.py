"""Which message holds a layer type's parameters, and a layer of the schema as :class:`Layer`."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_common.errors import PrototxtError

from . import schema
from .caffemodel import LegacyBlob
from .net import Layer, Params

_CONVOLUTIONS = (
    "Convolution Deconvolution Im2col HoleConvolution ConvolutionData HoleConvolutionData DepthwiseConvolution "
    "ConvolutionDepthwise ConvolutionDepthWise DeconvolutionDepthwise DeformableConvolution"
)

_NAMESAKES = (
    "Accum Accuracy AdaptiveBiasChannel BN BatchNorm BatchReduction Bias BiasChannel BoxAnnotatorOHEM CenterLoss Clip "
    "Concat ContrastiveLoss Correlation Crop Data DenseCRF DenseImageData DetectionEvaluate DetectionOutput "
    "DomainTransform Downsample Dropout DummyData ELU Eltwise Embed Exp Flatten FlowWarp FocalLoss HDF5Data "
    "HDF5Output HingeLoss ImageData InfogainLoss InnerProduct Input Interp L1Loss LRN Log LpqLoss MVN MatRead "
    "MatWrite Maxout Mean MemoryData PSROIPooling Parameter Permute Pooling Power PriorBox Proposal Python ROIAlign "
    "ROIPooling Reduction RegionLoss Reorg Resample Reshape Resize SPP Scale SegAccuracy ShuffleChannel Sigmoid Slice "
    "SmoothL1Loss Softmax Swish Threshold Tile TripletLoss UniqueLabel Upsample VideoData WindowData "
    "YoloDetectionOutput Yolov3 Yolov3DetectionOutput"
)
"""Types whose message has their own name: ``inner_product_param`` of InnerProduct."""

#: The fields of LayerParameter that hold a type's own parameters: the first one that the text sets, else the first.
#: Types that are not here (Split, Silence, Axpy, ...) have no parameters.
MESSAGE_OF_TYPE: dict[str, tuple[str, ...]] = {
    **{
        name: (re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower() + "_param",)
        for name in _NAMESAKES.split()
    },
    **dict.fromkeys(_CONVOLUTIONS.split(), ("convolution_param",)),
    "AnnotatedData": ("data_param",),
    "ArgMax": ("argmax_param",),
    "BNData": ("bn_param",),
    "BatchReindex": (),
    "CReLU": ("crelu_param",),
    "Correlation1D": ("correlation_param",),
    "DataAugmentation": ("augmentation_param",),
    "ImageSegData": ("image_data_param",),
    "LSTM": ("recurrent_param",),
    "LSTMUnit": (),
    "MultiBoxLoss": ("multibox_loss_param",),
    "Normalize": ("norm_param",),
    "PReLU": ("prelu_param",),
    "RNN": ("recurrent_param",),
    "ReLU": ("relu_param",),
    "ReLU6": ("relu6_param",),
    "SmoothL1LossOHEM": ("smooth_l1_loss_param",),
    "SoftmaxWithLoss": ("softmax_param",),
    "SpatialDropout": ("dropout_param", "spatial_dropout_param"),
    "TanH": ("tanh_param",),
}


def layer_of(message: Any, line: int | None, source: str) -> Layer:
    """The :class:`Layer` of a ``LayerParameter`` message.

    Raises:
        PrototxtError: blobs in the text whose values do not fill their shape, or a wrong number of ``propagate_down``.
    """
    where = f"{source}:{line}: layer {message.name!r}"
    if len(message.propagate_down) not in (0, len(message.bottom)):
        raise PrototxtError(f"{where}: {len(message.propagate_down)} propagate_down for {len(message.bottom)} bottoms")
    blobs = tuple(_blob(blob, where) for blob in message.blobs)
    specs = tuple(map(_params, message.param))
    names = (message.name, message.type, tuple(message.bottom), tuple(message.top))
    return Layer(*names, params_of(message), line, specs, tuple(message.loss_weight), blobs)


def params_of(layer: Any) -> Params:
    """The parameters of a ``LayerParameter`` message: its type's own, and others that are set."""
    set_messages = {
        field.name: value
        for field, value in layer.ListFields()
        if field.name.endswith("_param") and field.message_type is not None and not is_repeated(field)
    }
    own = own_field(layer.type, list(set_messages))
    others = {name: _params(value) for name, value in set_messages.items() if name != own}
    if own is None:
        return Params(others)
    params = _params(getattr(layer, own))
    set_names = {name for name in params if params.is_set(name)} | set(others)
    return Params({**others, **params}, frozenset(set_names), own)


def default_params(type_name: str) -> Params:
    """The parameters that a layer of this type has when its text sets none."""
    own = own_field(type_name, [])
    return Params({}) if own is None else _params(getattr(schema.message("LayerParameter")(), own))


def own_field(type_name: str, set_fields: list[str]) -> str | None:
    """The field of LayerParameter with the parameters of ``type_name``; for an unknown type the only one set."""
    if type_name in MESSAGE_OF_TYPE:
        candidates = MESSAGE_OF_TYPE[type_name]
        return next((name for name in candidates if name in set_fields), candidates[0] if candidates else None)
    own = [name for name in set_fields if name not in ("transform_param", "loss_param")]
    return own[0] if len(own) == 1 else None


def is_repeated(field: Any) -> bool:
    """Whether a field descriptor is of a repeated field."""
    repeated = getattr(field, "is_repeated", None)  # protobuf 6 and later; label went away with protobuf 7
    return bool(field.label == field.LABEL_REPEATED) if repeated is None else bool(repeated)


def _params(message: Any) -> Params:
    set_fields = {field.name: value for field, value in message.ListFields()}
    if not set_fields:
        return _defaults(message.DESCRIPTOR.name)
    values = {
        field.name: _value(field, set_fields[field.name]) if field.name in set_fields else _default(field)
        for field in message.DESCRIPTOR.fields
    }
    return Params(values, frozenset(set_fields))


@cache
def _defaults(message_name: str) -> Params:
    descriptor = schema.message(message_name).DESCRIPTOR
    return Params({field.name: _default(field) for field in descriptor.fields}, frozenset())


def _default(field: Any) -> Any:
    if is_repeated(field):
        return ()
    if field.message_type is not None:
        return _defaults(field.message_type.name)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[field.default_value].name
    return field.default_value


def _value(field: Any, value: Any) -> Any:
    def single(item: Any) -> Any:
        if field.message_type is not None:
            return _params(item)
        return item if field.enum_type is None else field.enum_type.values_by_number[item].name

    return tuple(map(single, value)) if is_repeated(field) else single(value)


def _blob(blob: Any, where: str) -> NDArray[Any]:
    if blob.double_data:
        values: NDArray[Any] = np.array(blob.double_data, dtype=np.float64)
    else:
        values = np.array(blob.data, dtype=np.float32)
    legacy = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    if any(size < 0 for size in shape) or int(np.prod(shape, dtype=object)) != values.size:
        raise PrototxtError(f"{where}: a blob of shape {tuple(shape)} is given {values.size} values")
    values = values.reshape(shape)
    if legacy:
        values = values.view(LegacyBlob)
    values.flags.writeable = False
    return values
