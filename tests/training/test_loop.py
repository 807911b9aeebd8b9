"""The loop: it learns, goes on exactly where it stopped, stops in order, and agrees with itself on two processes."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_common.config import as_data
from icnet_common.errors import InputError
from icnet_common.signals import GracefulShutdown
from pytorch_icnet import load
from pytorch_icnet.card import card_of
from training.build import start
from training.checkpoint import read_state
from training.data import Batch, source_of
from training.log import TrainingLog
from training.loop import BEST_WEIGHTS, LAST, LAST_WEIGHTS, DivergedError, Trainer
from training.recipes.recipe import Recipe, recipe_of
from training.scenes import write_scenes
from training.validate import input_size_for, validate

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "demo" / "icnet_demo.caffemodel"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_scenes(root, 5, size=(64, 128))
    return root


def recipe(**sections: dict[str, Any]) -> Recipe:
    plain: dict[str, dict[str, Any]] = {
        "model": {"width": 0.1},
        "data": {"crop": [65, 97], "workers": 0},
        "train": {"iterations": 6, "batch": 2, "validate_every": 100, "log_every": 1, "seed": 5},
    }
    merged = {name: {**plain.get(name, {}), **sections.get(name, {})} for name in {*plain, *sections}}
    return recipe_of(merged, "test")


def trainer(root: Path, out: Path, chosen: Recipe, *, val_source: bool = False, weights: Path | None = None) -> Trainer:
    source = source_of(root)
    begin = start(chosen, 19, weights)
    begin.model.card = replace(begin.model.card, input_size=(65, 129))
    return Trainer(chosen, begin, source, out, val_source=source if val_source else None)


def losses(out: Path) -> list[str]:
    with (out / "log.csv").open(newline="") as stream:
        return [row["loss"] for row in csv.DictReader(stream) if row["loss"]]


@pytest.mark.slow
def test_a_batch_overfits(root: Path, tmp_path: Path) -> None:
    chosen = recipe(
        model={"width": 0.25},
        optimizer={"name": "adamw", "lr": 0.003},
        schedule={"name": "constant"},
        train={"iterations": 300},
    )
    training = trainer(root, tmp_path, chosen)
    samples = [training.samples[n] for n in range(2)]
    batch = Batch(torch.stack([s.blob for s in samples]), torch.stack([s.labels for s in samples]), [], [])
    lowest = float("inf")
    for _ in range(300):
        lowest = min(lowest, training.step([batch]))
        training.iteration += 1
        if lowest < 0.05:
            break
    assert lowest < 0.05


@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": {"name": "adamw", "lr": 0.001, "clip": 1.0}, "train": {"ema": 0.9, "accumulate": 2}}],
    ids=["sgd", "adamw-ema-accumulate"],
)
def test_resumed_training_is_the_same_bit_for_bit(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    chosen = recipe(**options)
    whole = trainer(root, tmp_path / "whole", chosen)
    whole.run(log=TrainingLog(tmp_path / "whole", every=1, tensorboard=False))
    begun = trainer(root, tmp_path / "parts", chosen)
    begun.run(log=TrainingLog(tmp_path / "parts", every=1, tensorboard=False), until=3)
    torch.manual_seed(99)
    later = trainer(root, tmp_path / "parts", chosen)
    later.resume(tmp_path / "parts" / LAST)
    assert later.iteration == 3
    later.run(log=TrainingLog(tmp_path / "parts", first=3, every=1, tensorboard=False))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 6
    for key, value in whole.kept.state_dict().items():
        assert torch.equal(value, later.kept.state_dict()[key]), key


def test_steps_against_their_closed_form(root: Path, tmp_path: Path) -> None:
    """Caffe's SGD: v = m v + g + decay w, w = w - rate (1 - i / n)^0.9 v, with the rate and decay of each group."""
    options = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-2, "decay_norms": False, "new_lr_factor": 10.0}
    chosen = recipe(optimizer={**options, "new_layers": ["conv6_"]})
    training = trainer(root, tmp_path, chosen, weights=DEMO)
    parameters = dict(training.model.named_parameters())
    samples = [training.samples[n] for n in range(2)]
    batch = Batch(torch.stack([s.blob for s in samples]), torch.stack([s.labels for s in samples]), [], [])
    velocity = {key: torch.zeros_like(value) for key, value in parameters.items()}
    for iteration in range(3):
        training.iteration = iteration
        before = {key: value.detach().clone() for key, value in parameters.items()}
        training.step([batch])
        for key, value in parameters.items():
            decay = 1e-2 if value.dim() == 4 else 0.0
            rate = (0.1 if key.startswith("conv6_") else 0.01) * (1 - iteration / 6) ** 0.9
            assert value.grad is not None
            velocity[key] = 0.9 * velocity[key] + value.grad + decay * before[key]
            assert torch.allclose(value, before[key] - rate * velocity[key], rtol=1e-5, atol=1e-7), (iteration, key)
    assert not torch.equal(parameters["conv6_cls.bias"], before["conv6_cls.bias"])


def test_validation_keeps_the_best(root: Path, tmp_path: Path) -> None:
    training = trainer(root, tmp_path, recipe(train={"iterations": 4, "validate_every": 2}), val_source=True)
    log = TrainingLog(tmp_path, every=1, tensorboard=False)
    training.run(log=log)
    with (tmp_path / "log.csv").open(newline="") as stream:
        found = [float(row["mean_iou"]) for row in csv.DictReader(stream) if row["mean_iou"]]
    assert len(found) == 2 and abs(training.best - max(found)) < 1e-5
    best = load(tmp_path / BEST_WEIGHTS)
    figures = validate(best, source_of(root), torch.device("cpu"))  # type: ignore[arg-type]
    assert figures.mean_iou == training.best
    assert card_of(load(tmp_path / LAST_WEIGHTS)).input_size == (65, 129)


def test_state_is_tensors_and_plain_values(root: Path, tmp_path: Path) -> None:
    trainer(root, tmp_path, recipe()).save()
    assert read_state(tmp_path / LAST)["iteration"] == 0
    for damage in (b"", b"PK\x03\x04rest", (tmp_path / LAST).read_bytes()[:-100]):
        (tmp_path / "damaged.pt").write_bytes(damage)
        with pytest.raises(InputError, match="not the state of a training"):
            read_state(tmp_path / "damaged.pt")
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="--resume takes the"):
        read_state(tmp_path / "other.pt")


def test_another_net_cannot_be_resumed(root: Path, tmp_path: Path) -> None:
    trainer(root, tmp_path, recipe()).save()
    with pytest.raises(InputError, match="of another training"):
        trainer(root, tmp_path, recipe(model={"width": 0.2})).resume(tmp_path / LAST)


def test_a_loss_that_is_no_number_stops_and_names_the_batch(root: Path, tmp_path: Path) -> None:
    training = trainer(root, tmp_path, recipe())
    training.save()
    before = (tmp_path / LAST).read_bytes()
    with torch.no_grad():
        training.model.get_parameter("conv6_cls.weight").fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"iteration 1: the loss is nan with the batch leftImg8bit/train"):
        training.run()
    assert (tmp_path / LAST).read_bytes() == before


def test_asked_to_stop_it_saves(root: Path, tmp_path: Path) -> None:
    training = trainer(root, tmp_path, recipe())
    with GracefulShutdown() as shutdown:
        os.kill(os.getpid(), 15)
        training.run(shutdown)
    assert training.iteration == 1 and read_state(tmp_path / LAST)["iteration"] == 1


def test_frozen_statistics_stay(root: Path, tmp_path: Path) -> None:
    chosen = recipe(model={"batch_norm": "frozen"}, optimizer={"lr": 1e-3})
    training = trainer(root, tmp_path, chosen, weights=DEMO)
    before = {key: value.clone() for key, value in training.model.state_dict().items()}
    training.run(until=2)
    after, norm = training.model.state_dict(), "conv1_1_3x3_s2/bn"
    assert torch.equal(after[f"{norm}.running_mean"], before[f"{norm}.running_mean"])
    assert not torch.equal(after[f"{norm}.weight"], before[f"{norm}.weight"])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_is_near(root: Path, tmp_path: Path, precision: str) -> None:
    plain, mixed = trainer(root, tmp_path, recipe()), trainer(root, tmp_path, recipe(train={"precision": precision}))
    samples = [plain.samples[n] for n in range(2)]
    batch = Batch(torch.stack([s.blob for s in samples]), torch.stack([s.labels for s in samples]), [], [])
    a, b = plain.step([batch]), mixed.step([batch])
    assert a != b and abs(a - b) < 0.02 * a


def test_input_sizes() -> None:
    assert input_size_for((1024, 2048)) == (1025, 2049) and input_size_for((257, 500)) == (257, 513)


SCRIPT = """
import sys, torch
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {repo!r})
from evaluation.run.distributed import processes
from training.build import start
from training.data import source_of
from training.loop import Trainer
from training.recipes.recipe import read_recipe
root, out = Path(sys.argv[1]), Path(sys.argv[2])
chosen = read_recipe(out / "recipe.yaml")
with processes("cpu", 120) as group:
    begin = start(chosen, 19, sys.argv[3])
    begin.model.card = replace(begin.model.card, input_size=(65, 129))
    Trainer(chosen, begin, source_of(root), out, val_source=source_of(root), group=group).run()
"""


@pytest.mark.slow
def test_two_processes_are_one_with_both_their_batches(root: Path, tmp_path: Path) -> None:
    import yaml

    frozen: dict[str, Any] = {"model": {"batch_norm": "frozen"}, "optimizer": {"lr": 1e-4}}
    chosen = recipe(**frozen, train={"batch": 4, "iterations": 3})
    one = trainer(root, tmp_path, chosen, val_source=True, weights=DEMO)
    one.run()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "recipe.yaml").write_text(yaml.safe_dump(as_data(chosen)))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(repo=str(REPOSITORY)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(script), str(root), str(tmp_path / "two"), str(DEMO)]
    running = [
        subprocess.Popen(command, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=150) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    state = read_state(tmp_path / "two" / LAST)
    assert state["best"] == pytest.approx(one.best, abs=1e-3)
    worst = max(float((value - state["model"][key]).abs().max()) for key, value in one.model.state_dict().items())
    assert worst < 1e-5
    begun = start(chosen, 19, DEMO).model.state_dict()
    assert max(float((begun[key] - value).abs().max()) for key, value in state["model"].items()) > 1e-4
