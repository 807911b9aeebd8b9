"""Caffe nets as PyTorch graphs: translate, match weights, look inside, prove."""

from . import layers as layers  # registers every layer type
from .blobs import Blobs
from .compare import activations
from .errors import LayerError, NetError, UnsupportedLayersError, WeightsMismatchError
from .graph import FillerWarning, load_caffe
from .registry import register
from .summary import summary, summary_frame

__all__ = [
    "Blobs",
    "FillerWarning",
    "LayerError",
    "NetError",
    "UnsupportedLayersError",
    "WeightsMismatchError",
    "activations",
    "load_caffe",
    "register",
    "summary",
    "summary_frame",
]
