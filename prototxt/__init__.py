"""Caffe's formats: text nets, binary and HDF5 weights, mean files."""

from icnet_common.errors import InputError, PrototxtError, WeightsError

from .caffemodel import LegacyBlob
from .net import Layer, Net, Params
from .nets import bundled_net
from .read import read_net
from .weights import read_mean, read_weights, write_mean
from .write import net_text, write_net, write_weights

__all__ = [
    "InputError",
    "Layer",
    "LegacyBlob",
    "Net",
    "Params",
    "PrototxtError",
    "WeightsError",
    "bundled_net",
    "net_text",
    "read_mean",
    "read_net",
    "read_weights",
    "write_mean",
    "write_net",
    "write_weights",
]
