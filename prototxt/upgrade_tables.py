"""What names of the older generations became (Caffe's ``UpgradeV0LayerType``, ``UpgradeV1LayerType`` and fields)."""

from __future__ import annotations

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
