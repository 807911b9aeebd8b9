"""Validation: the network's own protocol, on a net in the middle of its training."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from evaluation.protocols import GroundTruth, MetricAccumulator, Prediction, ProtocolSettings, protocol
from evaluation.run.distributed import Group
from pytorch_icnet.icnet import SIZES
from pytorch_icnet.predictor import Predictor

from .build import Network as Trainable
from .data import LabelledImages
from .losses import CascadeLoss


@dataclass(frozen=True)
class Validation:
    """Fractions of 1, and the mean over the images of the loss of the scores that are evaluated."""

    mean_iou: float
    pixel_accuracy: float
    loss: float


def input_size_for(size: tuple[int, int]) -> tuple[int, int]:
    """The net's input for images of a size: the nearest 32k+1 that is not below, as 1025x2049 for 1024x2048."""
    height, width = (((n - 2) // 32 + 1) * 32 + 1 if n > 1 else 1 for n in size)
    SIZES.check(height, width)
    return height, width


def validate(model: Trainable, source: LabelledImages, device: torch.device, group: Group | None = None) -> Validation:
    """Score a net on labelled images as ``icnet-eval`` does, with the net's own protocol and ``input_size``.

    The processes of ``group`` share the images; every one gets the same figures. ``model`` is left as it is.

    Raises:
        InputError: an image cannot be read.
    """
    group = group or Group()
    module = copy.deepcopy(model).eval()
    predictor = Predictor(module, device, backend="eager", rewrite=False)
    own = protocol(predictor.card.protocol, ProtocolSettings(table=source.table, **predictor.spec.of_network()))
    tally, criterion, losses = own.tally(), CascadeLoss((1.0,)), []
    for index in group.share(range(len(source.entries))):
        rgb, labels = source.read(index)
        size = (labels.shape[0], labels.shape[1])
        logits = predictor.forward(predictor.prepare(rgb)).of(own.recipe)
        prediction: Prediction = own.finish(logits, size)
        tally.add(index, own.measure(prediction, GroundTruth(labels), source.entries[index].image))
        losses.append(float(criterion([logits[0].planes[None].cpu()], torch.from_numpy(labels)[None])))
    shares = group._all((tally.as_data(), losses))
    total = own.tally()
    for data, _ in shares:
        total.merge(MetricAccumulator.from_data(own, data))
    result = total.result()
    return Validation(
        result["mean_iou"], result["pixel_accuracy"], float(np.mean([x for _, each in shares for x in each]))
    )
