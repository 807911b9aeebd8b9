"""Trained blobs by layer name, from a binary or an HDF5 file (Caffe's ``Net::CopyTrainedLayersFrom``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_common.errors import WeightsError
from icnet_common.untrusted import MAP_FROM, read_untrusted

from . import caffemodel, hdf5
from .sniff import HDF5_MAGIC, describe
from .wire import WireError


def read_weights(path: str | os.PathLike[str]) -> dict[str, list[NDArray[Any]]]:
    """Read the trained blobs of a net.

    Args:
        path: a binary ``.caffemodel`` of any generation, or an HDF5 file; the content tells which.

    Returns:
        Layer name to its blobs in order, for the layers that have blobs; a name that the file repeats keeps its last
        layer, as in Caffe, and layers without a name share ``""``. The arrays are float32 (float64 where the file holds
        doubles), read-only, and views of the file where they lie in one piece: copy them before handing them to torch.
        Old-style dims stay 4-D. An empty file, or one of zeros, holds no layers, as in Caffe.

    Raises:
        WeightsError: the file cannot be read, is damaged or is something else; HDF5 without the package h5py.
    """
    path = Path(path)
    data = read_untrusted(path, WeightsError)
    if data[: len(HDF5_MAGIC)] == HDF5_MAGIC:
        return hdf5.read(path)
    weights: dict[str, list[NDArray[Any]]] = {}
    if not any(data[:1]) and len(data) < MAP_FROM and not np.frombuffer(data, np.uint8).any():
        return weights
    try:
        count, layers = caffemodel.read_layers(data)
        for name, blobs in layers:
            if blobs:
                weights[name] = blobs
    except WireError as damage:
        other = describe(data)
        if other:
            raise WeightsError(f"{path}: this is {other}") from None
        raise WeightsError(f"{path}: not a caffemodel, or damaged: at byte {damage.offset}: {damage}") from None
    if not count:
        raise WeightsError(f"{path}: no layers in it: this is {describe(data) or 'not a caffemodel'}")
    return weights
