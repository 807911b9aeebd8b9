"""The table of published weights, and what a file's name claims."""

from __future__ import annotations

import pytest

from evaluation.protocols import PROTOCOLS
from pytorch_icnet.imaging.normalization import NORMALIZATIONS
from pytorch_icnet.weights.known import (
    KNOWN_WEIGHTS,
    VARIANTS,
    KnownWeights,
    by_file,
    by_filename,
    by_md5,
    lookup,
    of_network,
)
from training.recipes.recipe import NETWORKS

ALL = (*KNOWN_WEIGHTS, *VARIANTS)


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.file)
def test_each_row_is_whole(known: KnownWeights) -> None:
    assert known.protocol in PROTOCOLS and known.pixels in NORMALIZATIONS
    assert known.protocol == "official" or known.net in NETWORKS
    assert 60 < known.mean_iou < 80 and known.num_classes == 19
    assert by_file(known.file) is known and of_network(known.net).count(known) == 1
    assert lookup(known.md5 or "0" * 32, known.file) is known


def test_mmsegmentation() -> None:
    rows = [known for known in VARIANTS if known.protocol == "mmseg"]
    assert len(rows) == len({known.file for known in rows}) == 12
    assert all(len(of_network(net)) == 4 for net in ("mmseg-r18", "mmseg-r50", "mmseg-r101"))
    assert [(known.fps, known.training_gb) for known in rows if known.fps] == [
        (27.12, 1.70),
        (20.08, 2.53),
        (16.95, 3.08),
    ]
    assert all(known.multi_scale_mean_iou and known.multi_scale_mean_iou > known.mean_iou for known in rows)
    assert all("_80k_" in known.file for known in rows if known.fps)


def test_scores() -> None:
    published, relative = KNOWN_WEIGHTS[0], VARIANTS[0]
    assert published.scores() == {"mean_iou": 67.7, "pixel_accuracy": 94.5}
    assert published.scores(multi_scale=True) == {}
    assert relative.scores() == {"mean_iou": 68.14} and relative.scores(multi_scale=True) == {"mean_iou": 70.16}


@pytest.mark.parametrize(
    ("name", "mean_iou"),
    [
        ("icnet_r18-d8_832x832_80k_cityscapes_20210925_225521-2e36638d.pth", 68.14),
        ("icnet_r50-d8_832x832_80k_cityscapes.pth", 68.91),
        ("icnet_r50-d8_4xb2-80k_cityscapes-832x832_latest.pth", 68.91),
        ("icnet_r101-d8-in1k-pre_4xb2-160k_cityscapes-832x832.pth", 76.15),
        ("icnet_r101-d8_in1k-pre_832x832_160k_cityscapes.pth", 76.15),
        ("icnet_resnet50_197_0.710_best_model.pth", 71.0),
    ],
)
def test_names_of_files(name: str, mean_iou: float) -> None:
    found = by_filename(name)
    assert found is not None and found.mean_iou == mean_iou


@pytest.mark.parametrize(
    "name", ["", "my_icnet.pth", "icnet_r34-d8_832x832_80k_cityscapes.pth", "icnet_r18-d8_832x832_20k_cityscapes.pth"]
)
def test_other_names(name: str) -> None:
    assert by_filename(name) is None and lookup("", name) is None


def test_names_of_the_originals_prove_nothing() -> None:
    """Their md5 is known, so a file with another one is another file."""
    assert by_filename(KNOWN_WEIGHTS[0].file) is None
    assert by_md5("") is None
