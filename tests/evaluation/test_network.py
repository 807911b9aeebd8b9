"""Which backend computes an evaluation, and that the scores are the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.network import EAGER, NATIVE, Network, Threads, open_network
from evaluation.protocols import ModelInput
from icnet_common.errors import InputError
from pytorch_icnet import load
from pytorch_icnet.imaging.normalization import CAFFE
from pytorch_icnet.runtime.cache import Unavailable
from pytorch_icnet.runtime.engine import BUILDERS
from pytorch_icnet.runtime.request import Request

from ..nets import seeded, write_caffemodel

CPU = torch.device("cpu")
SIZE = (65, 97)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_caffemodel(tmp_path_factory.mktemp("weights") / "w.caffemodel", seeded(merged=False))


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Request) -> None:
        raise Unavailable("not here")

    monkeypatch.setitem(BUILDERS, NATIVE, refuse)


def scores_of(weights: Path, size: tuple[int, int] = SIZE, **options: Any) -> tuple[torch.Tensor, Network]:
    network = open_network(weights, CPU, input_size=SIZE, **options)
    blob = 200 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) - 100
    with torch.inference_mode():
        expected = load(weights).double().quarter_scores(blob.double())[0]  # type: ignore[operator]
    found = network.logits(blob, ModelInput(size, "matlab", CAFFE)).planes
    assert float((found.double() - expected).abs().max() / expected.abs().max()) < 1e-5
    return found, network


@pytest.mark.parametrize("options", [{}, {"backend": EAGER}, {"rewrite": False, "backend": EAGER}], ids=str)
def test_scores_are_the_networks(options: dict[str, Any], weights: Path) -> None:
    scores_of(weights, **options)


def test_without_own_kernels_pytorch_computes(no_native: None, weights: Path) -> None:
    _, network = scores_of(weights)
    assert network.as_data()["backend"] == EAGER
    with pytest.raises(InputError, match="backend native cannot be used: not here"):
        open_network(weights, CPU, input_size=SIZE, backend=NATIVE)


def test_sizes_that_the_kernels_do_not_take(weights: Path) -> None:
    """One of several scales, say."""
    scores_of(weights, size=(66, 98))


def test_the_number_of_threads_does_not_matter(weights: Path) -> None:
    one, network = scores_of(weights, processes=64)
    many, _ = scores_of(weights, processes=1)
    assert torch.equal(one, many)
    threads = Threads.of(network, processes=1)
    assert threads.forward == 1 or network.backend == EAGER
