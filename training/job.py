"""A training from its start to its weights on disk, and compression: several of them, with fewer filters each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch

from evaluation.run.distributed import Group
from icnet_common.errors import InputError
from icnet_common.signals import GracefulShutdown
from pytorch_icnet import ICNet
from pytorch_icnet.weights.checkpoints import read_checkpoint

from .build import Network, Start
from .data import LabelledImages
from .log import TrainingLog
from .loop import BEST_WEIGHTS, LAST, LAST_WEIGHTS, Trainer
from .prune import kept_channels, pruned, step_rates
from .recipes.recipe import Recipe


def check_free(out: Path, resume: bool) -> None:
    """Raise InputError where a folder holds a training that is not to be gone on with."""
    if (out / LAST).exists() and not resume:
        raise InputError(f"{out / LAST}: there is a training already; go on with --resume, or give another --out")


def run_logged(trainer: Trainer, until: int | None = None) -> None:
    """Train up to iteration ``until``, or to the recipe's last, with a log and a progress bar.

    Raises:
        InputError: it was ended from outside; see also :meth:`Trainer.run`.
    """
    train = trainer.recipe.train
    stop_at = min(until or train.iterations, train.iterations)
    log = TrainingLog(trainer.out if trainer.group.is_main else None, stop_at, trainer.iteration, train.log_every)
    with GracefulShutdown() as shutdown:
        try:
            trainer.run(shutdown, log, stop_at)
        finally:
            log.close()
    if shutdown.requested and trainer.iteration < stop_at:
        raise InputError(f"ended from outside at iteration {trainer.iteration}; go on with --resume")


@dataclass(frozen=True)
class Job:
    """What all trainings of a run have in common.

    Attributes:
        recipe, source, val_source, device, group: see :class:`training.loop.Trainer`.
        resume: go on with what is there already.
        until: the last iteration; None: the recipe's.
        show: is given lines for the user.
    """

    recipe: Recipe
    source: LabelledImages
    val_source: LabelledImages | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    group: Group = field(default_factory=Group)
    resume: bool = False
    until: int | None = None
    show: Callable[[str], None] = print

    def train(self, begin: Start, out: Path) -> Network:
        """Train a net, with everything in the folder ``out``.

        Returns:
            The best net by validation, or without validation the last, as in its file; with all heads.

        Raises:
            InputError: there is a training already, or it was ended from outside; see also :meth:`Trainer.run`.
        """
        check_free(out, self.resume)
        state = out / LAST
        self.group.total(0)  # no process writes before all have looked
        trainer = Trainer(
            self.recipe, begin, self.source, out, val_source=self.val_source, device=self.device, group=self.group
        )
        if state.exists():
            trainer.resume(state)
        run_logged(trainer, self.until)
        if self.group.is_main:
            self.show(f"{out}: {trainer.iteration} iterations")
        self.group.total(0)  # the leading process has written
        best = out / BEST_WEIGHTS
        checkpoint = read_checkpoint(best if best.exists() else out / LAST_WEIGHTS)
        return cast(Network, checkpoint.network(aux=True))

    def compress(self, begin: Start, out: Path, rate: float, steps: int) -> ICNet:
        """Prune a net in steps, and train it after each with the whole recipe; see :mod:`training.prune`.

        All steps but the last have folders of their own, ``out/step-1`` and so on.

        Args:
            rate: the share of the net's filters that is left in the end.
            steps: at least 1.
        """
        net = begin.model
        if not isinstance(net, ICNet):
            raise InputError(f"{self.recipe.model.network}: only icnet can be pruned")
        wanted = [kept_channels(net, share) for share in step_rates(rate, steps)]
        for number, kept in enumerate(wanted, start=1):
            smaller = pruned(net, kept).train()
            if self.group.is_main:
                share = _parameters(smaller) / _parameters(net)
                self.show(f"step {number} of {steps}: {_parameters(smaller):,} parameters, {share:.1%} of before")
            new = begin.new if number == 1 else ()
            folder = out if number == steps else out / f"step-{number}"
            trained = self.train(dataclasses.replace(begin, model=smaller, new=new), folder)
            assert isinstance(trained, ICNet)
            net = trained
        return net


def _parameters(model: ICNet) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
