"""What a file is that is not what was expected, so that an error can say so."""

from __future__ import annotations

from .blobs import read_parts
from .wire import WireError, WireReader

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
