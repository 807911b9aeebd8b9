"""A converted net as prototxt and caffemodel, which the original Caffe loads."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import fx

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from prototxt import read_net, read_weights, write_net, write_weights

from ..graph import Weights, translate
from ..record import blobs_of, net_of


def write_caffe(prototxt: str | os.PathLike[str], caffemodel: str | os.PathLike[str], graph: fx.GraphModule) -> None:
    """Write the text and the weights of what :func:`converter.load_caffe` returned, perhaps folded; both or none.

    Before they appear they are read and converted again, and the graph that comes out must have the same tensors as
    ``graph``, bit for bit.

    Raises:
        InputError: the graph has no form in Caffe, or its tensors are more than Caffe's float32 blobs can hold; or the
            files cannot be written.
    """
    net, blobs = net_of(graph), blobs_of(graph)
    with atomic_write(prototxt) as text, atomic_write(caffemodel) as weights:
        write_net(text, net)
        write_weights(weights, net, blobs)
        _check(graph, text, weights, os.fspath(caffemodel))


def _check(graph: fx.GraphModule, prototxt: Path, caffemodel: Path, name: str) -> None:
    again = translate(read_net(prototxt), Weights(read_weights(caffemodel), name))
    found, expected = again.state_dict(), graph.state_dict()
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise InputError(f"{name}: not written: read again the net has other tensors: {', '.join(odd)}")
    for key, value in expected.items():
        if not same_bits(found[key], value.detach().cpu()):
            raise InputError(
                f"{name}: not written: read again {key!r} is not what it was; weights that are not Caffe's own float32 "
                "(another type, or changed since the conversion) cannot be written"
            )


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors agree in type, shape and every bit; a NaN equals itself."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
