"""Which backend computes where results must not depend on the machine, and that the scores are the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_common.errors import InputError
from pytorch_icnet import Predictor, load
from pytorch_icnet.imaging.inputs import ModelInput
from pytorch_icnet.imaging.normalization import CAFFE
from pytorch_icnet.pipeline import Threads, cores
from pytorch_icnet.predictor import Prepared
from pytorch_icnet.runtime.cache import Unavailable
from pytorch_icnet.runtime.engine import BUILDERS
from pytorch_icnet.runtime.request import Request

from ..nets import seeded, write_caffemodel

SIZE = (65, 97)


@pytest.fixture(scope="module")
def caffemodel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_caffemodel(tmp_path_factory.mktemp("weights") / "w.caffemodel", seeded(merged=False))


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Request) -> None:
        raise Unavailable("not here")

    monkeypatch.setitem(BUILDERS, "native", refuse)


def scores_of(weights: Path, size: tuple[int, int] = SIZE, **options: Any) -> tuple[torch.Tensor, Predictor]:
    predictor = Predictor(weights, input_size=SIZE, repeatable=True, **options)
    blob = 200 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) - 100
    with torch.inference_mode():
        expected = load(weights).double().quarter_scores(blob.double())[0]  # type: ignore[operator]
    view = ModelInput(size, "matlab", CAFFE)
    found = predictor.forward(Prepared(size, {view: blob})).logits[view].planes
    assert float((found.double() - expected).abs().max() / expected.abs().max()) < 1e-5
    return found, predictor


@pytest.mark.parametrize("options", [{}, {"backend": "eager"}, {"rewrite": False, "backend": "eager"}], ids=str)
def test_scores_are_the_networks(options: dict[str, Any], caffemodel: Path) -> None:
    scores_of(caffemodel, **options)


def test_without_own_kernels_pytorch_computes(no_native: None, caffemodel: Path) -> None:
    _, predictor = scores_of(caffemodel)
    assert predictor.as_data()["backend"] == "eager"
    assert Threads.of(predictor).forward == min(cores(), 8)
    wanted = Predictor(caffemodel, input_size=SIZE, backend="native", repeatable=True)
    with pytest.raises(InputError, match="backend native cannot be used: not here"):
        wanted.engine(SIZE)


def test_sizes_that_the_kernels_do_not_take(caffemodel: Path) -> None:
    """One of several scales, say."""
    scores_of(caffemodel, size=(66, 98))


def test_the_number_of_threads_does_not_matter(caffemodel: Path) -> None:
    one, predictor = scores_of(caffemodel, threads=1)
    many, _ = scores_of(caffemodel, threads=3)
    assert torch.equal(one, many)
    assert Threads.of(predictor).forward == 1 or predictor.as_data()["backend"] == "eager"
