"""A training from its plan to its weights on disk, and compression: several, with fewer filters each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from icnet_common.errors import InputError
from icnet_common.signals import GracefulShutdown
from pytorch_icnet import ICNet
from pytorch_icnet.weights.checkpoints import ICNET, read_checkpoint

from .build import Network, Start
from .log import TrainingLog
from .loop import BEST_WEIGHTS, LAST, LAST_WEIGHTS, Trainer
from .prune import kept_channels, pruned, step_rates


@dataclass(frozen=True)
class TrainingStep:
    """One training of a run."""

    begin: Start
    folder: Path
    title: str = ""
    """A line for the user."""


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that is decided before a training: from a recipe and lists, or from Supervisely's configuration."""

    begin: Start
    trainer: Callable[[Start, Path], Trainer]
    """Makes the trainer of a net, with the folder of its results."""
    introduction: str
    """Lines for the user."""


def check_free(out: Path, resume: bool) -> None:
    """Raise InputError where a folder holds a training that is not to be gone on with."""
    if (out / LAST).exists() and not resume:
        raise InputError(f"{out / LAST}: there is a training already; go on with --resume, or give another --out")


def train(trainer: Trainer, *, resume: bool = False, until: int | None = None) -> None:
    """Train, with a log and a progress bar, in the trainer's folder.

    Args:
        resume: go on with what is in the folder, if anything is.
        until: the last iteration; None: the recipe's.

    Raises:
        InputError: there is a training already, or it was ended from outside; see also :meth:`Trainer.run`.
    """
    check_free(trainer.out, resume)
    trainer.group.total(0)  # no process writes before all have looked
    if (trainer.out / LAST).exists():
        trainer.resume(trainer.out / LAST)
    settings = trainer.recipe.train
    if settings.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    last = min(until or settings.iterations, settings.iterations)
    log = TrainingLog(trainer.out if trainer.group.is_main else None, last, trainer.iteration, settings.log_every)
    with GracefulShutdown() as shutdown, closing(log):
        trainer.run(shutdown, log, last)
    if shutdown.requested and trainer.iteration < last:
        raise InputError(f"ended from outside at iteration {trainer.iteration}; go on with --resume")
    trainer.group.total(0)  # the leading process has written


def trained_network(out: Path) -> Network:
    """What a training left: the best net by validation, or without validation the last; with all heads."""
    best = out / BEST_WEIGHTS
    return cast(Network, read_checkpoint(best if best.exists() else out / LAST_WEIGHTS).network(aux=True))


def pruning_steps(begin: Start, out: Path, rate: float, steps: int) -> Iterator[TrainingStep]:
    """The nets of a compression in steps, each to be trained whole before the next is asked for.

    All steps but the last have folders of their own, ``out/step-1`` and so on. See :mod:`training.prune`.

    Args:
        rate: the share of the net's filters that is left in the end.
        steps: at least 1.

    Raises:
        InputError: it is no ICNet, or the rate cannot be.
    """
    if begin.model.card.architecture != ICNET:
        raise InputError(f"{begin.model.card.architecture}: only icnet can be pruned")
    net = cast(ICNet, begin.model)
    for number, kept in enumerate([kept_channels(net, share) for share in step_rates(rate, steps)], start=1):
        smaller = pruned(net, kept).train()
        before, after = (sum(parameter.numel() for parameter in each.parameters()) for each in (net, smaller))
        title = f"step {number} of {steps}: {after:,} parameters, {after / before:.1%} of before"
        folder = out if number == steps else out / f"step-{number}"
        new = begin.new if number == 1 else ()
        yield TrainingStep(dataclasses.replace(begin, model=smaller, new=new), folder, title)
        net = cast(ICNet, trained_network(folder))
