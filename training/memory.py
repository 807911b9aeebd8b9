"""What a training costs: memory at its peak and seconds per iteration, for a recipe's network, images of noise."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from icnet_common.errors import InputError
from pytorch_icnet.weights.known import VARIANTS

from .build import Start, new_net
from .data import Batch, LabelledImages
from .loop import Trainer
from .recipes.recipe import Recipe

SIZES = ((832, 832), (1025, 2049))
"""Heights and widths that are measured: mmsegmentation's crop, and ICNet's images of Cityscapes."""

PUBLISHED_SIZE, PUBLISHED_BATCH = (832, 832), 2
"""What mmsegmentation's published memory is for: the crop, and the images per GPU."""

WARM_UP, TIMED = 1, 2
"""Iterations. The optimiser's own memory is there after the first."""


@dataclass(frozen=True)
class Cost:
    """Of a training.

    Attributes:
        size: height and width of the images, as the network takes them.
        batch: images per iteration.
        peak: bytes: parameters, gradients, the optimiser's state, activations and what the operations need.
        seconds: per iteration, the mean without the first.
    """

    size: tuple[int, int]
    batch: int
    peak: int
    seconds: float


def measure(recipe: Recipe, size: tuple[int, int], batch: int, device: torch.device, num_classes: int = 19) -> Cost:
    """Train a few iterations on noise.

    On a GPU the peak is what torch has allocated at most. On the CPU it is the largest resident memory of a process of
    its own while it trains, above what that process had before the net was built.

    Raises:
        InputError: there is not enough memory for it, or the system does not say how much a process uses.
    """
    if device.type == "cuda":
        return _measure(recipe, size, batch, device, num_classes)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        try:
            return processes.submit(_measure, recipe, size, batch, device, num_classes).result()
        except BrokenProcessPool as error:
            raise InputError(f"{size[0]}x{size[1]}, batch {batch}: was ended, perhaps for lack of memory") from error


def _measure(recipe: Recipe, size: tuple[int, int], batch: int, device: torch.device, num_classes: int) -> Cost:
    gpu = device.type == "cuda"
    torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3, device=device), torch.ones(1, 1, 3, 3, device=device))
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if gpu else resident("VmRSS")
    begin = Start(new_net(recipe, num_classes).train(), (), ())
    trainer = Trainer(recipe, begin, LabelledImages((), Path()), Path(), device=device)
    generator = torch.Generator().manual_seed(recipe.train.seed)
    blobs = torch.randn(batch, 3, *size, generator=generator)
    labels = torch.randint(num_classes, (batch, *size), generator=generator, dtype=torch.uint8)
    images = Batch(blobs, labels, [], [])
    times = [time.perf_counter()]
    for _ in range(WARM_UP + TIMED):
        trainer.step([images])
        if gpu:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
    after = torch.cuda.max_memory_allocated(device) if gpu else resident("VmHWM")
    return Cost(size, batch, after - before, (times[-1] - times[WARM_UP]) / TIMED)


def resident(field: str) -> int:
    """This process's resident memory, bytes: ``"VmRSS"``, now; ``"VmHWM"``, at its peak.

    Not getrusage's peak, in which Linux counts what the process had before it became this program.

    Raises:
        InputError: this is not Linux.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError as error:
        raise InputError("memory on the CPU is read from /proc, which only Linux has; use --device cuda") from error
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


HEADER = f"{'network':<12}{'size':>12}{'batch':>7}{'peak, GB':>10}{'s/iteration':>13}  published, GB"


def line(network: str, cost: Cost) -> str:
    """A line below :data:`HEADER`; GB are 2**30 bytes. Where it applies, with what mmsegmentation published."""
    near = all(abs(a - b) <= 1 for a, b in zip(cost.size, PUBLISHED_SIZE, strict=True))
    comparable = near and cost.batch == PUBLISHED_BATCH
    known = [weights for weights in VARIANTS if weights.training_gb is not None and comparable]
    published = ", ".join(f"{weights.net} {weights.training_gb:.2f}" for weights in known)
    size = f"{cost.size[0]}x{cost.size[1]}"
    text = f"{network:<12}{size:>12}{cost.batch:>7}{cost.peak / 2**30:>10.2f}{cost.seconds:>13.2f}  {published}"
    return text.rstrip()
