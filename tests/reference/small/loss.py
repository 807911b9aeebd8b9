"""Small losses and Accuracy."""

from __future__ import annotations

import numpy as np

from .draw import Draw, Small, layer


def _loss_block(d: Draw, *, older: bool = True) -> str:
    modes = ["", *(f"normalization: {mode}" for mode in ("FULL", "BATCH_SIZE", "NONE"))]
    modes += ["normalize: false", "normalize: true"] if older else []
    return f"loss_param {{ {d.maybe('ignore_label: 1')}{d.of(*modes)} }}"


@layer("SoftmaxWithLoss")
def softmax_loss(d: Draw) -> Small:
    x = d.image(d.between(2, 4))
    labels = d.labels(x.shape[1], len(x), *d.of((), (1,)), *x.shape[2:])
    return Small(_loss_block(d), [3 * x, labels], d.between(1, 2))


@layer("InfogainLoss")
def infogain_loss(d: Draw) -> Small:
    x = d.image(d.between(2, 4))
    matrix = np.abs(d.normal(1, 1, x.shape[1], x.shape[1]))
    return Small(_loss_block(d, older=False), [x, d.labels(x.shape[1], len(x), 1, *x.shape[2:]), matrix])


@layer("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(d: Draw) -> Small:
    x = d.any_rank(2)
    return Small(_loss_block(d), [3 * x, d.labels(2, *x.shape)])


@layer("MultinomialLogisticLoss", "HingeLoss")
def classified(d: Draw) -> Small:
    x = d.random.uniform(0, 1, (d.between(1, 4), d.between(2, 4)))
    return Small("", [x, d.labels(x.shape[1], len(x))])


@layer("EuclideanLoss")
def euclidean_loss(d: Draw) -> Small:
    x = d.any_rank()
    return Small("", [x, d.normal(*x.shape)])


@layer("ContrastiveLoss")
def contrastive_loss(d: Draw) -> Small:
    a, b = d.normal(2, d.between(1, 4), d.between(1, 3))
    block = f"contrastive_loss_param {{ margin: 1.5 {d.maybe('legacy_version: true')} }}"
    return Small(block, [a, b, d.labels(2, len(a))])


@layer("Accuracy")
def accuracy(d: Draw) -> Small:
    x = np.round(2 * d.image(d.between(2, 4)))  # with ties
    block = f"accuracy_param {{ top_k: {d.between(1, 2)} {d.maybe('ignore_label: 1')} }}"
    return Small(block, [x, d.labels(x.shape[1], len(x), 1, *x.shape[2:])], d.between(1, 2))
