"""The loop: batches in, steps of the optimiser, validation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from evaluation.run.distributed import Group
from icnet_common.config import as_data
from icnet_common.errors import InputError
from icnet_common.signals import GracefulShutdown

from . import build
from .augment import Augmentation
from .checkpoint import generators, read_state, restore_generators, write_state, write_weights_file
from .data import Batch, CorruptedSamples, LabelledImages, Numbers, Samples, loader
from .log import Row, TrainingLog
from .losses import CascadeLoss
from .recipes.recipe import Recipe
from .schedules import schedule_of
from .validate import Validation, validate

logger = logging.getLogger(__name__)

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
LAST, LAST_WEIGHTS, BEST_WEIGHTS = "last.pt", "last.safetensors", "best.safetensors"


class DivergedError(InputError):
    """The loss or the gradients are no longer numbers."""


class Cascade(nn.Module):
    """A net whose ``forward`` gives the scores that cascade label guidance trains, for DistributedDataParallel."""

    def __init__(self, net: build.Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See :meth:`pytorch_icnet.ICNet.cascade_scores`."""
        scores: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = self.net.cascade_scores(x)
        return scores


class Trainer:
    """A training.

    Args:
        begin: the net, see :func:`training.build.start`.
        source, val_source: images to learn from, and to validate with; None: never.
        out: folder of the checkpoints and logs; ``last.pt``, ``last.safetensors``, ``best.safetensors``, ``log.csv``.
    """

    def __init__(
        self,
        recipe: Recipe,
        begin: build.Start,
        source: LabelledImages,
        out: Path,
        *,
        val_source: LabelledImages | None = None,
        device: torch.device | None = None,
        group: Group | None = None,
    ) -> None:
        self.recipe, self.out, self.val_source = recipe, out, val_source
        self.device, self.group = device or torch.device("cpu"), group or Group()
        self.samples = Samples(source, Augmentation(recipe.data), recipe.train.seed, recipe.data.allow_corrupted)
        self.corrupted = CorruptedSamples(recipe.data.allow_corrupted)
        net = begin.model
        if recipe.model.batch_norm == "sync":  # needs several GPUs
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        self.model = net.to(self.device)
        build.freeze(self.model, recipe.model.freeze)
        self.optimizer = build.optimizer_of(build.parameter_groups(self.model, recipe, begin.new), recipe)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.schedule = schedule_of(recipe)
        self.average: AveragedModel | None = None
        if recipe.train.ema is not None:
            moving = get_ema_multi_avg_fn(recipe.train.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.model, multi_avg_fn=moving, use_buffers=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.train.precision == "fp16")
        self.criterion = CascadeLoss(**vars(recipe.loss), share=self._share).to(self.device)
        self.net: nn.Module = Cascade(self.model)
        if self.group.size > 1:
            devices = [self.device.index or 0] if self.device.type == "cuda" else None
            self.net = DistributedDataParallel(self.net, device_ids=devices)
        self.iteration, self.best = 0, -math.inf

    def _share(self, divisor: torch.Tensor) -> torch.Tensor:
        """The mean over the processes, so that each pixel weighs the same wherever its image is."""
        if self.group.size == 1:
            return divisor
        total = divisor.detach().clone()
        dist.all_reduce(total)
        return total / self.group.size

    def run(
        self, shutdown: GracefulShutdown | None = None, log: TrainingLog | None = None, until: int | None = None
    ) -> None:
        """Train to the recipe's last iteration, to ``until``, or until ``shutdown`` is requested; then save the state.

        Raises:
            DivergedError: the loss is no number; names the batch. The last checkpoint stays as it was.
            InputError: too many samples cannot be read, or a file cannot be written.
        """
        train, log = self.recipe.train, log or TrainingLog(None)
        last = train.iterations if until is None else min(until, train.iterations)
        numbers = Numbers(self.iteration, last, train.batch, train.accumulate, self.group.rank, self.group.size)
        feed = loader(self.samples, numbers, self.recipe.data.workers, pin=self.device.type == "cuda")
        batches: Iterator[Any] = iter(feed)
        build.set_train(self.model, self.recipe.model.batch_norm, self.recipe.model.freeze)
        while self.iteration < last:
            started = time.perf_counter()
            passes = [next(batches) for _ in range(train.accumulate)]
            waited = time.perf_counter() - started
            loss = self.step(passes)
            self.iteration += 1
            for message in self.corrupted.note([failure for batch in passes for failure in batch.failures]):
                logger.warning("left out: %s", message)
            rate, seconds = self.optimizer.param_groups[0]["lr"], time.perf_counter() - started
            log.step(Row(self.iteration, loss, rate, seconds, waited))
            if self._due(last):
                self._validate(log)
                self.save()
            elif shutdown is not None and self.group.total(int(shutdown.requested)):
                self.save()
                return

    def outcome(self) -> str:
        """What came of it, a line for the user."""
        return f"{self.out}: {self.iteration} iterations"

    def _due(self, last: int) -> bool:
        return self.iteration % self.recipe.train.validate_every == 0 or self.iteration == last

    def step(self, passes: list[Batch]) -> float:
        """One step of the optimiser from the batches of one iteration; returns the mean loss of this process.

        Raises:
            DivergedError: the loss or the gradients are no numbers; nothing was changed.
        """
        factor = self.schedule.factor(self.iteration)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number, batch in enumerate(passes, start=1):
            with self._quiet(last=number == len(passes)):
                loss = self._loss(batch) / len(passes)
                if not math.isfinite(value := loss.item()):
                    raise self._diverged("loss", value, batch.names)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += value
        self.scaler.unscale_(self.optimizer)
        learnt = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(learnt, self.recipe.optimizer.clip or math.inf)
        if not self.scaler.is_enabled() and not math.isfinite(float(norm)):
            raise self._diverged(
                "norm of the gradients", float(norm), [name for batch in passes for name in batch.names]
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return total

    def _loss(self, batch: Batch) -> torch.Tensor:
        chosen = PRECISIONS.get(self.recipe.train.precision)
        try:
            with torch.autocast(self.device.type, chosen, enabled=chosen is not None):
                scores = self.net(batch.blobs.to(self.device, non_blocking=True))
        except ValueError as error:  # torch's own: one image, averaged to one pixel, has no variance
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"{self.recipe.model.network} needs at least two images in each pass of each process: {error}"
            ) from error
        loss: torch.Tensor = self.criterion(scores, batch.labels.to(self.device, non_blocking=True))
        return loss

    def _quiet(self, *, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged once per step."""
        return nullcontext() if last or not isinstance(self.net, DistributedDataParallel) else self.net.no_sync()

    def _diverged(self, what: str, value: float, names: list[str]) -> DivergedError:
        return DivergedError(
            f"iteration {self.iteration + 1}: the {what} is {value} with the batch {', '.join(names)}; "
            f"stopped, {self.out / LAST} is the last good state; try a lower optimizer.lr or optimizer.clip=1"
        )

    @property
    def kept(self) -> build.Network:
        """The net that is validated and written: the moving average where there is one."""
        if self.average is None:
            return self.model
        assert isinstance(self.average.module, build.Network)
        return self.average.module

    def _validate(self, log: TrainingLog) -> Validation | None:
        if self.val_source is None:
            return None
        with self.group.collective():
            found = validate(self.kept, self.val_source, self.device, self.group)
        self.schedule.observe(found.loss)
        log.validation(self.iteration, found)
        if found.mean_iou > self.best:
            self.best = found.mean_iou
            if self.group.is_main:
                write_weights_file(self.out / BEST_WEIGHTS, self.kept, self._notes())
        return found

    def save(self) -> None:
        """Write the last weights and the state of the training."""
        if not self.group.is_main:
            return
        write_weights_file(self.out / LAST_WEIGHTS, self.kept, self._notes())
        write_state(
            self.out / LAST,
            {
                "iteration": self.iteration,
                "best": self.best,
                "recipe": as_data(self.recipe),
                "model": self.model.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
                "generators": generators(),
                "corrupted": self.corrupted.messages,
                "images": len(self.samples),
            },
        )

    def _notes(self) -> dict[str, Any]:
        return {"training": {"iteration": self.iteration, "recipe": as_data(self.recipe)}}

    def resume(self, path: Path) -> None:
        """Go on where the training that wrote ``path`` was. Raises InputError: of another net or data, or damaged."""
        state = read_state(path)
        if state.get("images") != len(self.samples):
            raise InputError(
                f"{path}: of a training with {state.get('images')} images, but here are {len(self.samples)}"
            )
        try:
            self.model.load_state_dict(state["model"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.scaler.load_state_dict(state["scaler"])
            restore_generators(state["generators"])
            self.iteration, self.best = int(state["iteration"]), float(state["best"])
            self.corrupted.messages = list(state["corrupted"])
        except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"{path}: of another training than this recipe's: {first}") from error
