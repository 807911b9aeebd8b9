"""Weights in HDF5 (Caffe's ``Net::ToHDF5`` and ``CopyTrainedLayersFromHDF5``): ``/data/<layer>/<blob's index>``.

The file may come from anywhere, so links that lead out of it, data kept elsewhere, and data that is larger than the
file can hold are refused before anything is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_common.errors import WeightsError

MAX_OBJECTS = 100_000
MAX_DEPTH = 16  # a layer's name with slashes makes groups inside groups
MAX_EXPANSION = 16  # decompressed size over the file's, where it makes less than a gigabyte; weights hardly shrink

Weights = dict[str, list[NDArray[Any]]]


def read(path: Path) -> Weights:
    """Layer name to blobs, sorted by name as in the file; see :func:`prototxt.read_weights`.

    Raises:
        WeightsError: the package h5py is missing, or the file is damaged, unsafe or without weights of Caffe's.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsError(f"{path}: this is an HDF5 file; to read it: pip install pytorch-icnet[hdf5]") from None
    try:
        with h5py.File(path, "r") as file:
            return _Reader(h5py, path).weights(file)
    except WeightsError:
        raise
    except Exception as error:  # of nearly every type, for files that are damaged
        raise WeightsError(f"{path}: a damaged HDF5 file: {' '.join(str(error).split())[:200]}") from None


class _Reader:
    def __init__(self, h5py: Any, path: Path) -> None:
        self._h5py = h5py
        self._path = path
        self._objects_left = MAX_OBJECTS
        size = path.stat().st_size
        self._bytes_left = max(2 * size, min(MAX_EXPANSION * size, 1 << 30))

    def weights(self, file: Any) -> Weights:
        data = self._member(file, "data")
        if not isinstance(data, self._h5py.Group):
            raise self._error("no group /data in it: these are not weights of Caffe's")
        weights: Weights = {}
        self._collect(data, "", 0, weights)
        return weights

    def _collect(self, group: Any, name: str, depth: int, weights: Weights) -> None:
        """Add the blobs of ``group``, which is the layer ``name``, and of the groups in it."""
        if depth > MAX_DEPTH:
            raise self._error(f"groups are nested more than {MAX_DEPTH} deep")
        blobs: dict[int, NDArray[Any]] = {}
        for key in group:
            member = self._member(group, key)
            path = f"{name}/{key}" if name else key
            if isinstance(member, self._h5py.Group):
                self._collect(member, path, depth + 1, weights)
            elif isinstance(member, self._h5py.Dataset) and key.isascii() and key.isdigit() and len(key) < 6:
                blobs[int(key)] = self._blob(member, f"layer {name!r}, blob {key}")
            else:
                raise self._error(f"/data/{path} is neither a layer nor a blob")
        if sorted(blobs) != list(range(len(blobs))):
            raise self._error(f"layer {name!r}: blobs {sorted(blobs)} are not numbered from 0")
        if blobs:
            weights[name] = [blobs[index] for index in range(len(blobs))]

    def _member(self, group: Any, key: str) -> Any:
        self._objects_left -= 1
        if self._objects_left < 0:
            raise self._error(f"more than {MAX_OBJECTS} objects")
        if not isinstance(group.get(key, getlink=True), self._h5py.HardLink | type(None)):
            raise self._error(f"{key!r} is a link, which may lead out of the file")
        return group.get(key)

    def _blob(self, dataset: Any, what: str) -> NDArray[Any]:
        kind, size = dataset.dtype.kind, dataset.dtype.itemsize
        if kind not in "fiu" or size > 8 or dataset.shape is None:
            raise self._error(f"{what} holds no numbers")
        if dataset.external or dataset.is_virtual:
            raise self._error(f"{what} is kept in another file")
        count = int(np.prod(dataset.shape, dtype=object))
        self._bytes_left -= count * max(size, 4)
        if self._bytes_left < 0:
            raise self._error(f"{what} of shape {dataset.shape} is larger than the file can hold")
        plain = dataset.chunks is None and dataset.compression is None
        if plain and dataset.id.get_storage_size() < count * size:
            raise self._error(f"{what} of shape {dataset.shape} is cut short")
        values: NDArray[Any] = np.empty(dataset.shape, np.float64 if kind == "f" and size == 8 else np.float32)
        if count:
            dataset.read_direct(values)
        values.flags.writeable = False
        return values

    def _error(self, text: str) -> WeightsError:
        return WeightsError(f"{self._path}: {text}")
