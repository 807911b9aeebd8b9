"""Trained weights as prototxt and caffemodel, which the original Caffe loads: with batch normalisation, and merged."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converter.export.caffe import same_bits
from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from prototxt import write_net, write_weights
from pytorch_icnet import ICNet
from pytorch_icnet.icnet import INPUT_SIZE, folded
from pytorch_icnet.weights.caffe import fitting_net, resized_net
from pytorch_icnet.weights.checkpoints import read_checkpoint

Blobs = dict[str, list[NDArray[np.float32]]]


def caffe_blobs(model: ICNet) -> Blobs:
    """Each layer's blobs as Caffe stores them: BN's slope, bias, mean and variance are 1xCx1x1.

    Auxiliary heads are among them, as in the published files.
    """
    blobs: Blobs = {}
    for name, child in model.named_children():
        values: list[torch.Tensor] = list(child.parameters())
        if isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None and child.running_var is not None
            statistics = (child.weight, child.bias, child.running_mean, child.running_var)
            values = [value.reshape(1, -1, 1, 1) for value in statistics]
        if values:
            blobs[name] = [np.array(value.detach().cpu().numpy(), np.float32) for value in values]
    return blobs


def write_caffe_model(prototxt: str | os.PathLike[str], caffemodel: str | os.PathLike[str], model: ICNet) -> None:
    """Write a net as it is, merged or not, for the input size on its card; both files or none.

    Before they appear the weights are read again and must be the same, bit for bit.

    Raises:
        InputError: they are not, or a file cannot be written.
    """
    blobs = caffe_blobs(model)
    net = resized_net(fitting_net(blobs, os.fspath(caffemodel)), model.card.input_size or INPUT_SIZE, model.pyramid)
    with ExitStack() as files:
        text, weights = files.enter_context(atomic_write(prototxt)), files.enter_context(atomic_write(caffemodel))
        write_net(text, net)
        write_weights(weights, net, blobs)
        found = read_checkpoint(weights).state
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked") and not (key in found and same_bits(found[key], value.cpu())):
                raise InputError(f"{caffemodel}: not written: read again {key!r} is not what it was")


def write_caffe_models(folder: str | os.PathLike[str], stem: str, model: ICNet) -> list[Path]:
    """Write ``STEM.prototxt`` and ``STEM.caffemodel``, merged, and where there is batch normalisation to keep also
    ``STEM_bnnomerge.*``, named as the published files.

    Returns:
        The files.

    Raises:
        InputError: see :func:`write_caffe_model`.
    """
    forms = {stem: folded(model)}
    if not model.merged:
        forms[f"{stem}_bnnomerge"] = model
    written: list[Path] = []
    for name, form in forms.items():
        pair = Path(folder) / f"{name}.prototxt", Path(folder) / f"{name}.caffemodel"
        write_caffe_model(*pair, form)
        written += pair
    return written
