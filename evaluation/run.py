"""A prediction run: the model, what an interrupted run has left to do, and the time that each stage took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prototxt.errors import InputError
from pytorch_icnet import console

from .lists import Entry, locate
from .pipeline import STAGES, Outputs, predict
from .report import write_json

Say = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """A network, ready on its device, and what belongs to it."""

    network: nn.Module
    device: torch.device
    input_size: tuple[int, int]
    num_classes: int
    provenance: dict[str, Any]

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {
            "weights": self.provenance,
            "input_size": list(self.input_size),
            "num_classes": self.num_classes,
            "device": str(self.device),
            "device_name": console.device_name(self.device),
            "threads": torch.get_num_threads(),
        }


def open_model(
    weights: Path, device: str, *, input_size: tuple[int, int] | None = None, num_classes: int | None = None
) -> Model:
    """Load weights of any supported kind, and let the GPU compute in full float32 and repeatably from now on.

    Args:
        weights: the file.
        device: see :func:`pytorch_icnet.console.device`.
        input_size: height and width of the blobs; None: those that belong to the weights.
        num_classes: None: the model's.

    Raises:
        InputError: the file cannot be used, or is for another number of classes.
    """
    import pytorch_icnet

    target = console.device(device)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    network = pytorch_icnet.load(weights)
    classes = int(getattr(network, "num_classes", num_classes or 0))
    if num_classes is not None and num_classes != classes:
        raise InputError(f"{weights}: scores {classes} classes, but --num-classes is {num_classes}")
    size = input_size or getattr(network, "input_size", None)
    if size is None:
        raise InputError(f"{weights}: says nothing of an input size; give --input-size H W")
    provenance = dict(getattr(network, "provenance", None) or {})
    return Model(network.to(target).eval(), target, (int(size[0]), int(size[1])), classes, provenance)


def run(
    model: Model, entries: Sequence[Entry], data_root: Path, outputs: Outputs, *, resume: bool, say: Say
) -> dict[str, Any]:
    """Predict ``entries``; returns the time that it took, for the report.

    ``run.json`` in the root of the outputs says what made them.

    Args:
        model: see :func:`open_model`.
        entries: lines of a list, whose images exist.
        data_root: the folder that the list's paths start from.
        outputs: where the files go.
        resume: keep the images whose files are whole. Refused where another model or input size made them.
        say: is told of what was kept, and of files that are not of this run.
    """
    _mark(model, outputs.root, resume=resume, say=say)
    left = list(entries)
    if resume:
        left = [entry for entry in entries if not outputs.complete(entry.stem, locate(data_root, entry.image))]
        say(f"{len(entries) - len(left)} of {len(entries)} images are whole in {outputs.root} and kept")
    start = time.perf_counter()
    totals = dict.fromkeys(STAGES, 0.0)
    works = predict(model.network, left, data_root, outputs, input_size=model.input_size, num_classes=model.num_classes)
    with closing(works):
        for work in console.progress(works, total=len(left), description="predict"):
            for stage, seconds in work.seconds.items():
                totals[stage] += seconds
    stale = {path.stem for path in (outputs.root / "gray").glob("*.png")} - {entry.stem for entry in entries}
    if stale:
        say(f"{outputs.root / 'gray'}: {len(stale)} PNG files are not of this run and are not scored")
    return {
        "images": len(left),
        "kept": len(entries) - len(left),
        "wall_s": time.perf_counter() - start,
        "mean_ms": {stage: 1000 * total / len(left) if left else None for stage, total in totals.items()},
    }


def _mark(model: Model, root: Path, *, resume: bool, say: Say) -> None:
    """Write what makes the outputs; before resuming, see that it is the same as last time."""
    path = root / "run.json"
    made_by = {
        "weights_sha256": model.provenance.get("sha256"),
        "input_size": list(model.input_size),
        "num_classes": model.num_classes,
    }
    if resume and path.exists():
        try:
            before = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path}: damaged; remove it, or leave out --resume") from error
        if before != made_by:
            raise InputError(
                f"{root}: holds results of other weights or another input size; give another --save-root, "
                "or leave out --resume to overwrite them"
            )
    elif resume and (root / "gray").exists():
        say(f"{root}: nothing says which weights made the results that are kept")
    write_json(path, made_by)
