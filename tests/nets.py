"""Narrow ICNets with seeded weights, and their caffemodels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prototxt import Net, write_weights
from pytorch_icnet import ICNet
from pytorch_icnet.weights.caffe import fitting_net


def seeded(**options: Any) -> ICNet:
    """A narrow net in eval mode whose weights and statistics are random and keep the signal's size."""
    torch.manual_seed(0)
    model = ICNet(**{"width": 0.125, **options}).eval()
    for child in model.children():
        if isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None and child.running_var is not None
            child.running_mean.normal_(0, 0.1)
            child.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(child.weight, 0.5, 1.5)
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight)
    nn.init.uniform_(model.data_sub1.weight, 0.5, 1.5)
    return model


def blobs_of(model: ICNet) -> dict[str, list[NDArray[np.float32]]]:
    """The weights of a model as Caffe stores them."""
    blobs: dict[str, list[NDArray[np.float32]]] = {}
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            values = [child.weight, child.bias, child.running_mean, child.running_var]
            blobs[name] = [value.detach().numpy().reshape(1, -1, 1, 1) for value in values if value is not None]
        elif list(child.parameters()):
            blobs[name] = [value.detach().numpy() for value in child.parameters()]
    return blobs


def write_caffemodel(path: Path, model: ICNet) -> Path:
    """A caffemodel of ``model``, its auxiliary heads included."""
    blobs = blobs_of(model)
    write_weights(path, net_of(blobs), blobs)
    return path


def net_of(blobs: Mapping[str, Sequence[NDArray[np.float32]]]) -> Net:
    """The net of an ICNet's blobs, with a layer for each auxiliary head."""
    net = fitting_net(blobs, "test")
    score = next(layer for layer in net.layers if layer.name == "conv6_cls")
    heads = {"conv6_sub2": "sub24_sum_interp", "conv6_sub4": "conv5_4_interp"}
    added = (
        dataclasses.replace(score, name=name, bottoms=(bottom,), tops=(name,))
        for name, bottom in heads.items()
        if name in blobs
    )
    return dataclasses.replace(net, layers=(*net.layers, *added))
