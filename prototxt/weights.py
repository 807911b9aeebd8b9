"""Trained blobs by layer name, from a binary or an HDF5 file (Caffe's ``Net::CopyTrainedLayersFrom``), and mean files.

A mean file (.binaryproto) is one blob, as Caffe's ``compute_image_mean`` writes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icnet_common.errors import WeightsError
from icnet_common.files import MAP_FROM, atomic_write, read_untrusted

from . import caffemodel, encode, hdf5
from .caffemodel import read_blob, read_parts
from .wire import WireError, WireReader

MAX_MEAN = 256 << 20  # bytes, ten times a Cityscapes image

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

#: First bytes of files that people take for weights, and what they are.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (HDF5_MAGIC, "an HDF5 file"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ\x00", "compressed with xz: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive or a PyTorch checkpoint, not a file of Caffe's"),
    (b"\x80\x02", "a Python pickle, perhaps a PyTorch checkpoint, not a file of Caffe's"),
    (b"\x80\x03", "a Python pickle, perhaps a PyTorch checkpoint, not a file of Caffe's"),
    (b"\x80\x04", "a Python pickle, perhaps a PyTorch checkpoint, not a file of Caffe's"),
    (b"\x93NUMPY", "a NumPy array, not a file of Caffe's"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"\xef\xbb\xbf", "a text file"),
)
_TEXT = bytes([*b"\t\n\r\f\v", *range(32, 127)])
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")


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


def read_mean(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The mean in ``path``, float32, in the shape that is stored: usually 1xCxHxW, channels in Caffe's order (BGR).

    Raises:
        WeightsError: the file cannot be read, is damaged or is something else.
    """
    path = Path(path)
    data = read_untrusted(path, WeightsError, MAX_MEAN)
    try:
        blob: NDArray[Any] = read_blob(WireReader(data), 0, len(data), 0)
    except WireError as damage:
        other = describe(data)
        if other:
            raise WeightsError(f"{path}: not a mean file: this is {other}") from None
        raise WeightsError(f"{path}: not a mean file, or damaged: at byte {damage.offset}: {damage}") from None
    return np.array(blob, np.float32)


def write_mean(path: str | os.PathLike[str], mean: ArrayLike) -> None:
    """Write ``mean`` as float32; 4-D arrays get the old-style dims that every Caffe and its tools read.

    Raises:
        InputError: the file cannot be written.
    """
    values = np.asarray(mean, np.float32)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(encode.blob(values, old_dims=values.ndim == 4))


def describe(data: memoryview) -> str | None:
    """What ``data`` looks like, as the end of the sentence "this is ..."; None where nothing is recognized."""
    head = bytes(data[:512])
    if head.lstrip().lower().startswith(_MARKUP):
        return "a web page: the download has failed"
    for magic, description in _MAGIC:
        if head.startswith(magic):
            return description
    if len(head) > 9 and head[8:10] in (b'{"', b"{}") and head[4:8] == bytes(4):
        return "a safetensors file, not a file of Caffe's"
    if head and not head.translate(None, _TEXT):
        return "a text file: a net in text form (prototxt) is read by read_net"
    if _is_blob(data):
        return "a single blob, such as a mean file (.binaryproto), which read_mean reads"
    if head[:1] == b"\x08":
        return "a solver's state (.solverstate) or an ONNX model: the weights are in the .caffemodel beside it"
    return None


def _is_blob(data: memoryview) -> bool:
    try:
        values, *_ = read_parts(WireReader(data), 0, len(data), 0)
    except WireError:
        return False
    return values.size > 0
