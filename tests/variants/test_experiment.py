"""The stride experiment: one file of pytorch-semseg, evaluated as published and as Caffe's net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from converter.cli import main as convert
from evaluation.cli import main as evaluate
from evaluation.protocols import ModelInput
from pytorch_icnet.imaging.images import read_label_map
from pytorch_icnet.imaging.normalization import CAFFE
from pytorch_icnet.predictor import Predictor, Prepared
from pytorch_icnet.variants.semseg import SemSegICNet
from training.data import source_of
from training.scenes import write_scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with labels, its list, and seeded weights as pytorch-semseg saves them."""
    root = tmp_path_factory.mktemp("experiment")
    write_scenes(root, 1, size=(64, 128))
    (entry,) = source_of(root).entries
    (root / "list.txt").write_text(f"{entry.image} {entry.label}\n")
    torch.manual_seed(0)
    model = SemSegICNet(batch_norm=False)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for name, module in model.named_modules():
        if name.endswith("cb3.cb_unit.0"):
            module.weight.data *= 0.25
    torch.save({"model_state": {f"module.{key}": v for key, v in model.state_dict().items()}}, root / "semseg.pkl")
    return root


def labels(folder: Path, out: Path, weights: str, *options: str) -> tuple[np.ndarray[Any, Any], Any]:
    """The label map of the scene, and the report."""
    fixed = ["--list", str(folder / "list.txt"), "--data-root", str(folder), "--save-root", str(out)]
    given = [*fixed, "--weights", str(folder / weights), "--json", str(out.with_suffix(".json")), "--device", "cpu"]
    done = CliRunner().invoke(evaluate, [*given, *options])
    assert done.exit_code == 0, done.output
    (found,) = (out / "gray").iterdir()
    return read_label_map(found), json.loads(out.with_suffix(".json").read_text())


@pytest.mark.slow
def test_the_stride_experiment(folder: Path, tmp_path: Path) -> None:
    """The faithful form is what Caffe's net gives with the same weights; the published form is something else."""
    caffe = ["--caffe-faithful", "--output", str(folder / "caffe.safetensors")]
    done = CliRunner().invoke(convert, [str(folder / "semseg.pkl"), *caffe])
    assert done.exit_code == 0, done.output
    official = ("--protocol", "official")
    faithful, report = labels(folder, tmp_path / "faithful", "semseg.pkl", "--caffe-faithful", *official)
    icnet, _ = labels(folder, tmp_path / "icnet", "caffe.safetensors", "--no-rewrite", "--backend", "eager", *official)
    published, _ = labels(folder, tmp_path / "published", "semseg.pkl", *official)
    assert report["caffe_faithful"] is True
    assert (faithful != icnet).mean() < 5e-4
    assert (published != icnet).mean() > 3e-3


def test_a_network_of_its_own_protocol(folder: Path) -> None:
    network = Predictor(folder / "semseg.pkl", backend="eager")
    assert (network.card.protocol, network.spec.pixels, network.spec.input_size) == ("semseg", CAFFE, (1025, 2049))
    assert network.spec.fit((64, 128)) == (1025, 2049) and network.spec.fit((1026, 2049)) == (1057, 2049)
    size = (1025, 2049)
    view = ModelInput(size, "opencv", CAFFE)
    logits = network.forward(Prepared(size, {view: torch.zeros(1, 3, *size)})).logits[view]
    assert logits.quarter and logits.full_size == size
    with torch.no_grad():
        assert torch.allclose(logits.full(), network.module(torch.zeros(1, 3, *size))[0], atol=1e-4)
