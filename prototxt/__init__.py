"""Caffe's formats: text nets, binary and HDF5 weights, mean files."""

from .errors import InputError, PrototxtError, WeightsError
from .net import Layer, Net, Params
from .nets import bundled_net
from .read import read_net
from .weights import read_weights

__all__ = [
    "InputError",
    "Layer",
    "Net",
    "Params",
    "PrototxtError",
    "WeightsError",
    "bundled_net",
    "read_net",
    "read_weights",
]
