"""Make ``demo/icnet_demo.caffemodel``: an ICNet of a quarter of the width, seeded and untrained, as Caffe stores it.

    python demo/make_weights.py

The weights are drawn as for the start of a training. Batch normalisation gets the statistics that its inputs have on a
few generated scenes, so that activations neither vanish nor explode; their last digits depend on the machine.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluation import preprocess
from prototxt import write_weights
from pytorch_icnet import ICNet
from pytorch_icnet.caffe_weights import fitting_net
from training.scenes import scene

FILE = Path(__file__).parent / "icnet_demo.caffemodel"
SEED = 2018
WIDTH = 0.25
SCENES = 8
SIZE = (257, 513)


def untrained() -> ICNet:
    """An unmerged ICNet with the auxiliary heads: He's normal weights, slopes around 1, small biases."""
    rng = np.random.default_rng(SEED)
    model = ICNet(merged=False, width=WIDTH, aux=True)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            _fill(module.weight, rng.standard_normal(module.weight.shape) * math.sqrt(2 / module.weight[0].numel()))
            if module.bias is not None:
                _fill(module.bias, np.zeros(module.bias.shape))
        elif isinstance(module, nn.BatchNorm2d):
            _fill(module.weight, rng.uniform(0.8, 1.2, module.weight.shape))
            _fill(module.bias, rng.standard_normal(module.bias.shape) * 0.1)
    return model


def calibrate(model: ICNet) -> None:
    """Set the statistics of batch normalisation to the mean over some generated scenes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # torch's way to ask for the plain mean over all batches
    model.train()
    with torch.no_grad():
        for index in range(SCENES):
            model(preprocess(scene(index, SEED, SIZE)[0], SIZE))
    model.eval()


def caffe_blobs(model: ICNet) -> dict[str, list[NDArray[np.float32]]]:
    """Each layer's blobs as the unmerged net stores them: BN's slope, bias, mean and variance are 1xCx1x1."""
    blobs: dict[str, list[NDArray[np.float32]]] = {}
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None and child.running_var is not None
            values = (child.weight, child.bias, child.running_mean, child.running_var)
            blobs[name] = [value.detach().numpy().reshape(1, -1, 1, 1) for value in values]
        elif parameters := [value.detach().numpy() for value in child.parameters()]:
            blobs[name] = parameters
    return blobs


def _fill(parameter: torch.Tensor, values: NDArray[np.float64]) -> None:
    parameter.data.copy_(torch.from_numpy(values))


def main() -> None:
    model = untrained()
    calibrate(model)
    blobs = caffe_blobs(model)
    write_weights(FILE, fitting_net(blobs, str(FILE)), blobs)
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
