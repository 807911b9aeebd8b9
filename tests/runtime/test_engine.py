"""Every backend against the plain network in float64, and what the engine says when it cannot."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from converter.graph import Weights, translate
from converter.layers.interp import Interp
from icnet_common.errors import InputError
from pytorch_icnet import ICNet, load
from pytorch_icnet.runtime import BACKENDS, Engine, engine
from pytorch_icnet.runtime import engine as build_engine
from pytorch_icnet.runtime.cache import Cache
from pytorch_icnet.runtime.engine import open_weights
from pytorch_icnet.runtime.native.compiler import cpp_compiler
from pytorch_icnet.runtime.torch_backends import Doubled
from pytorch_icnet.weights.caffe import fitting_net, resized_net

from ..nets import blobs_of, seeded, write_caffemodel
from . import judging
from .judging import gap, judged

SIZE = (65, 97)
LIMIT = {"fp32": 3e-6, "bf16": 0.03}
"""Largest difference from float64 over the largest score: some roundings of 2^-24, or of 2^-9."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of the file, so that each thing is compiled once."""
    return tmp_path_factory.mktemp("compiled") / "cache"


def image(size: tuple[int, int] = SIZE, batch: int = 1) -> torch.Tensor:
    return judging.image(size, batch)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (9, 17)], ids=str)
def test_the_compilers_zoom_is_the_layer(size: tuple[int, int]) -> None:
    x = image(size, batch=2).double()
    found = Doubled()(x)
    assert gap(found, Interp(zoom=2)(x)) < 1e-15
    assert size == (1, 1) or not torch.equal(found, Doubled()(x.flip(-1, -2)))


@pytest.fixture(scope="module")
def net() -> ICNet:
    return seeded(width=0.25)


def available(net: nn.Module, backend: str, cache: Path, precision: str = "fp32", **options: object) -> Engine:
    """The engine, or skip the test with the reason why there is none here."""
    if backend == "torch" and cpp_compiler() is None:
        pytest.skip("needs a C++ compiler")
    try:
        return engine(net, backend=backend, precision=precision, size=SIZE, threads=2, cache_dir=cache, **options)  # type: ignore[arg-type]
    except InputError as error:
        if "cannot be used" not in str(error):
            raise
        pytest.skip(str(error))


CASES = [
    pytest.param(backend, precision, marks=pytest.mark.slow if backend == "torch" else ())
    for backend in BACKENDS
    for precision in ("fp32", "bf16")
    if (backend, precision) != ("torch", "bf16")  # half a minute more, and fp32 goes the same way
]


@pytest.mark.parametrize(("backend", "precision"), CASES)
def test_scores_are_the_networks(backend: str, precision: str, net: ICNet, cache: Path) -> None:
    ready = available(net, backend, cache, precision)
    x = image(batch=2)
    kept = x.clone()
    scores = ready(x)
    assert gap(scores, judged(net, x)) < LIMIT[precision]
    assert torch.equal(ready(x), scores) and torch.equal(x, kept)
    assert scores.dtype == torch.float32 and scores.is_contiguous()
    assert ready.backend == backend or backend == "auto"
    assert ready.quarter and ready.as_data()["rewritten"] and not ready.notes


@pytest.mark.slow
def test_a_network_is_compiled_once(net: ICNet, cache: Path) -> None:
    available(net, "torch", cache)
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*.pt2")}
    available(copy.deepcopy(net), "torch", cache)
    assert before == {file: file.stat().st_mtime_ns for file in cache.glob("*.pt2")} != {}


def test_scores_of_other_weights_are_noticed(net: ICNet, cache: Path) -> None:
    """The negative control."""
    ready = engine(net, backend="eager", size=SIZE, cache_dir=cache)
    other = copy.deepcopy(net)
    other.conv6_cls.weight.data *= 1.001
    assert gap(ready(image()), judged(other, image())) > 1e-4


@pytest.mark.parametrize("rewrite", [True, False])
def test_full_resolution_and_the_plain_net(rewrite: bool, net: ICNet, cache: Path) -> None:
    ready = engine(net, backend="eager", size=SIZE, cache_dir=cache, rewrite=rewrite, full=True)
    with torch.inference_mode():
        reference = copy.deepcopy(net).double()(image().double())
    assert gap(ready(image()), reference) < LIMIT["fp32"]
    assert not ready.quarter and ready.rewritten == rewrite


def test_the_callers_scores_stay(net: ICNet, cache: Path) -> None:
    """The next call does not write into them."""
    ready = engine(net, size=SIZE, cache_dir=cache, backend="eager")
    first = ready(image())
    kept = first.clone()
    ready(-image())
    assert torch.equal(first, kept)


def test_the_network_stays_as_it_is(net: ICNet, cache: Path) -> None:
    before = copy.deepcopy(net.state_dict())
    engine(net, precision="bf16", backend="eager", size=SIZE, cache_dir=cache)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_converted_graph(cache: Path) -> None:
    net = seeded(merged=False)
    blobs = blobs_of(net)
    graph = translate(resized_net(fitting_net(blobs, "test"), SIZE), Weights(blobs))
    ready = engine(graph, backend="eager", size=SIZE, cache_dir=cache)
    with torch.inference_mode():
        reference = copy.deepcopy(net).double()(image().double())
    assert gap(ready(image()), reference) < LIMIT["fp32"] and not ready.quarter


def test_weights_from_a_file_and_from_the_cache(net: ICNet, cache: Path, tmp_path: Path) -> None:
    path = write_caffemodel(tmp_path / "w.caffemodel", net)
    reference = judged(net, image())
    for _ in range(2):
        ready = engine(path, size=SIZE, cache_dir=cache, backend="eager")
        module = ready.request.module
        assert isinstance(module, ICNet) and module.card.weights_data()["file"] == "w.caffemodel"
        assert gap(ready(image()), reference) < LIMIT["fp32"]


def test_without_a_compiler_eager_runs_with_a_note(net: ICNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    ready = engine(net, size=SIZE, cache_dir=tmp_path / "cache", backend="torch")
    assert ready.backend == "eager"
    assert len(ready.notes) == 1 and "C++ compiler" in ready.notes[0] and "eager runs instead" in ready.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp64"}, "precision 'fp64' is unknown"),
        ({"precision": "tf32"}, "needs a GPU"),
        ({"backend": "caffe"}, "backend 'caffe' is unknown"),
        ({"size": (64, 97)}, "64x97"),
        ({"backend": "native", "rewrite": False}, "backend native cannot be used"),
        ({"backend": "native", "precision": "fp16"}, "backend native cannot be used"),
        ({"backend": "onnxruntime", "precision": "fp16"}, "backend onnxruntime cannot be used"),
        ({"backend": "openvino", "precision": "fp16"}, "backend openvino cannot be used"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], message: str, net: ICNet, cache: Path) -> None:
    with pytest.raises(InputError, match=message):
        build_engine(net, **{"size": SIZE, "cache_dir": cache, **options})  # type: ignore[arg-type]


def test_images_of_another_size_are_refused(net: ICNet, cache: Path) -> None:
    ready = engine(net, size=SIZE, cache_dir=cache, backend="eager")
    with pytest.raises(InputError, match="takes images of"):
        ready(image((65, 65)))
    with pytest.raises(InputError, match="takes images of"):
        ready(image()[0])


def test_a_network_without_a_size_needs_one(cache: Path) -> None:
    layer = nn.Conv2d(3, 2, 1)
    with pytest.raises(InputError, match="input size"):
        engine(layer, cache_dir=cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ready = engine(layer, size=(5, 7), cache_dir=cache, backend="eager")
    assert ready(image((5, 7))).shape == (1, 2, 5, 7)


def test_weights_open_without_a_place_to_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_caffemodel(tmp_path / "w.caffemodel", seeded())

    def refuse(*_: object) -> None:
        raise InputError("a read-only folder")

    monkeypatch.setattr("pytorch_icnet.weights.checkpoints.write_checkpoint", refuse)
    cache = Cache(tmp_path / "cache")
    state = open_weights(weights, cache).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in load(weights).state_dict().items())
    assert list(cache.folder.iterdir()) == []
