"""Several processes, one run: under ``torchrun`` each takes every n-th image, and the first one reports.

Each process writes the files of its own images and its own journal, so that whatever happens to one of them, another
run can go on from there. Nothing is exchanged while images are predicted, apart from one flag in the shared store: that
a process has failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from icnet_common.errors import InputError, user_message
from icnet_common.progress import quiet

T = TypeVar("T")

_FAILED = "icnet-eval/failed"


class PeerError(InputError):
    """Another process of the run has failed, died, or does not answer."""


@dataclass(frozen=True)
class Group:
    """The processes of a run; by default this one alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    """Processes on this machine."""
    store: Any = None
    """Torch's key-value store, which they share besides; None: there is only one."""
    device: str = "cpu"
    """What sums are exchanged on: the process's own GPU (NCCL), or the processor (gloo)."""

    @property
    def is_main(self) -> bool:
        """Whether this process reports."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of the work."""
        return items[self.rank :: self.size]

    @contextmanager
    def collective(self) -> Iterator[None]:
        """A step that all processes do; the block ends once all are done. An error in one ends all.

        Raises:
            Exception: what was raised in the block here.
            PeerError: the step failed in another process; says why.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.store is None or user_message(raised) is None:
                raise
            error = raised
            with suppress(RuntimeError):  # where the store has gone, so have the others
                self.store.set(_FAILED, str(self.rank))
        own = None if error is None or isinstance(error, PeerError) else error
        messages = self._all(None if own is None else user_message(own))
        if own is not None:
            raise own
        for rank, message in enumerate(messages):
            if message is not None:
                raise PeerError(f"process {rank} of {self.size}: {message}") from error
        if error is not None:
            raise error

    def assert_same(self, facts: dict[str, Any]) -> None:
        """See that all processes have the same facts.

        Raises:
            PeerError: they do not.
        """
        for rank, theirs in enumerate(self._all(facts)):
            if differing := [key for key in facts if theirs.get(key) != facts[key]]:
                raise PeerError(f"process {rank} has another {' and '.join(differing)} than process {self.rank}")

    def total(self, count: int) -> int:
        """The sum of all processes' counts."""
        if self.store is None:
            return count
        tensor = torch.tensor(count, dtype=torch.int64, device=self.device)
        self._wait(lambda: dist.all_reduce(tensor))
        return int(tensor.item())

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks, at the leading one; nothing at the others."""
        if self.store is None:
            return [value]
        values: list[Any] = [None] * self.size
        self._wait(lambda: dist.gather_object(value, values if self.is_main else None, dst=0))
        return values if self.is_main else []

    def check(self) -> None:
        """See that no process has said that it failed; cheap.

        Raises:
            PeerError: one has.
        """
        if self.store is None:
            return
        try:
            failed = self.store.check([_FAILED])
        except RuntimeError as error:
            raise PeerError(LOST) from error
        if failed:
            raise PeerError(f"process {self.store.get(_FAILED).decode()} of {self.size} has failed")

    def _all(self, value: T) -> list[T]:
        if self.store is None:
            return [value]
        values: list[Any] = [None] * self.size
        self._wait(lambda: dist.all_gather_object(values, value))
        return values

    def _wait(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            self.check()
            raise PeerError(LOST) from error


LOST = "another process of this run has died or does not answer; what is finished is kept: run again with --resume"


@contextmanager
def processes(device: str, timeout: float) -> Iterator[Group]:
    """The group of processes that ``torchrun`` started, where only the leading one shows messages; or this one alone.

    Args:
        device: the kind of device, "cpu" (they talk through gloo) or "cuda" (through NCCL, where each has its own GPU).
        timeout: seconds after which a process that does not answer is given up.

    Raises:
        PeerError: not all processes came.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        yield Group()
        return
    limit = timedelta(seconds=timeout)
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    own_gpu = device == "cuda" and torch.cuda.device_count() >= local_size
    if own_gpu:
        torch.cuda.set_device(local_rank)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=limit)))
        store.set_timeout(limit)
        backends = "cpu:gloo,cuda:nccl" if own_gpu else "gloo"
        dist.init_process_group(backends, store=store, rank=rank, world_size=size, timeout=limit)
    except (RuntimeError, ValueError) as error:
        raise PeerError(f"not all {os.environ['WORLD_SIZE']} processes of this run have come: {error}") from error
    with quiet(rank != 0):
        yield Group(rank, size, local_rank, local_size, store, f"cuda:{local_rank}" if own_gpu else "cpu")
    dist.destroy_process_group()  # not after an error: it could wait for a process that is gone
