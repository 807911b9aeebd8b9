"""The fused forms of postprocess give the plain form's label map, and the certificates that they rest on hold."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_icnet.imaging import implementations, plain, postprocess
from pytorch_icnet.imaging.fused import tiles, torch_labels
from pytorch_icnet.imaging.imresize import plan

from .matlab_reference import FIXTURES, assert_same_bits, formula_scores, sha256, slow_imresize

U = 2.0**-24

FUSED = [
    pytest.param("numba", marks=pytest.mark.skipif(not implementations.installed("numba"), reason="needs numba")),
    "torch",
]
every_form = pytest.mark.parametrize("form", FUSED)


def numba_labels() -> ModuleType:
    pytest.importorskip("numba")
    return import_module("pytorch_icnet.imaging.fused.numba_labels")


def noisy(shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32))


def smooth(shape: tuple[int, int, int], seed: int, grain: int = 9) -> torch.Tensor:
    """Regions of about ``grain`` scores across."""
    classes, height, width = shape
    coarse = noisy((classes, height // grain + 2, width // grain + 2), seed)
    return F.interpolate(coarse[None], (height, width), mode="bicubic", align_corners=False)[0]


def full(scores: torch.Tensor) -> tuple[int, int]:
    return plain.zoomed(scores.shape[1]), plain.zoomed(scores.shape[2])


def assert_as_plain(scores: torch.Tensor, size: tuple[int, int], form: str, full_size: tuple[int, int]) -> None:
    expected = postprocess(scores, size, full_size=full_size, form="plain")
    assert_same_bits(postprocess(scores, size, full_size=full_size, form=form), expected)


@every_form
@pytest.mark.parametrize("kind", [noisy, smooth])
@pytest.mark.parametrize("seed", range(10))
def test_seeded_maps(form: str, kind: Callable[..., torch.Tensor], seed: int) -> None:
    assert_as_plain(kind((19, 65, 129), seed), (256, 512), form, (257, 513))


@every_form
def test_at_full_size(form: str) -> None:
    scores = smooth((19, 257, 513), 1)
    assert_as_plain(scores, (1024, 2048), form, (1025, 2049))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [noisy, smooth])
@pytest.mark.parametrize("seed", range(10))
def test_many_at_full_size(kind: Callable[..., torch.Tensor], seed: int) -> None:
    numba_labels()
    assert_as_plain(kind((19, 257, 513), seed), (1024, 2048), "numba", (1025, 2049))


@every_form
def test_the_fixture_but_for_one_tie(form: str) -> None:
    labels = postprocess(torch.from_numpy(formula_scores()), (1024, 2048), form=form)
    assert labels[421, 903] in (12, 18)
    labels[421, 903] = 18
    assert sha256(labels) == FIXTURES["logits_formula"]["label_1024x2048_sha256"]


@every_form
@pytest.mark.parametrize("size", [(64, 95), (65, 97), (33, 40), (130, 120), (1, 1)])
def test_against_float64(form: str, size: tuple[int, int]) -> None:
    scores = noisy((7, 17, 25), 4)
    whole = F.interpolate(scores[None].double(), (65, 97), mode="bilinear", align_corners=True)[0]
    expected = np.stack([slow_imresize(p, size, "bilinear", None) for p in whole.softmax(dim=0).numpy()], axis=2)
    best = np.sort(expected, axis=2)
    clear = best[..., -1] - best[..., -2] > 1e-6
    labels = postprocess(scores, size, full_size=(65, 97), form=form)
    assert np.array_equal(labels[clear], expected.argmax(axis=2)[clear])
    assert clear.mean() > 0.999


sizes = st.integers(1, 50)
score_maps = st.fixed_dictionaries(
    {
        "classes": st.sampled_from([1, 2, 3, 19, 33, 150, 256]),
        "corners": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "grid": st.sampled_from([0.0, 0.25, 2.0**-7]),
        "magnitude": st.sampled_from([1e-6, 1.0, 20.0, 1e4, 1e9, 1e38]),
        "offset": st.sampled_from([0.0, 1e3, -3e7]),
        "agreement": st.sampled_from([0.0, 0.5, 0.98]),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def scores_of(case: dict[str, Any]) -> torch.Tensor:
    """Scores of many kinds: of any size, far from zero, on a coarse grid (hence with ties), in regions."""
    rng = np.random.default_rng(case["seed"])
    shape = (case["classes"], *case["corners"])
    values = rng.uniform(-1, 1, shape)
    same = rng.random(shape[1:]) < case["agreement"]
    values[:, same] = values[:, :1, 0]
    values = values * case["magnitude"] + case["offset"]
    if case["grid"]:
        values = np.round(values / case["grid"]) * case["grid"]
    return torch.from_numpy(values.astype(np.float32))


@every_form
@settings(max_examples=150, deadline=None)
@given(case=score_maps, size=st.tuples(sizes, sizes))
def test_any_quarter_scores(form: str, case: dict[str, Any], size: tuple[int, int]) -> None:
    scores = scores_of(case)
    assert_as_plain(scores, size, form, full(scores))


@every_form
@settings(max_examples=40, deadline=None)
@given(case=score_maps, size=st.tuples(sizes, sizes))
def test_any_scores_of_full_size(form: str, case: dict[str, Any], size: tuple[int, int]) -> None:
    assert_as_plain(scores_of(case), size, form, case["corners"])


@every_form
@pytest.mark.parametrize(("corners", "outputs"), [(10, 5), (11, 3), (12, 6)])
def test_any_tile_between_most_corners(form: str, corners: int, outputs: int) -> None:
    """Rows of tiles that need one more row of scores than others with as many sources."""
    scores = noisy((3, corners, corners), 14)
    assert_as_plain(scores, (outputs, outputs), form, full(scores))


@pytest.mark.slow
def test_no_kernel_leaves_its_arrays(tmp_path: Path) -> None:
    """The same with numba checking every index, which it does not otherwise."""
    numba_labels()
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    tests = [Path(__file__), Path(__file__).with_name("test_fused_blob.py")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, tests), "-k", "any and numba"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert " passed" in made.stdout


@every_form
@settings(max_examples=40, deadline=None)
@given(
    wrong=st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38]), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(sizes, sizes),
)
def test_scores_that_are_not_finite(form: str, wrong: list[float], seed: int, size: tuple[int, int]) -> None:
    scores = smooth((5, 7, 8), seed)
    for place, value in zip(np.random.default_rng(seed).integers(0, scores.numel(), len(wrong)), wrong, strict=True):
        scores.view(-1)[place] = value
    assert_as_plain(scores, size, form, full(scores))


@every_form
def test_ties_everywhere_and_in_a_corner(form: str) -> None:
    scores = smooth((4, 33, 33), 0)
    scores[2, :20, :20] = scores[1, :20, :20]
    assert_as_plain(scores, (128, 128), form, (129, 129))
    assert_as_plain(torch.zeros(4, 33, 33), (128, 128), form, (129, 129))


@every_form
def test_layouts_and_precisions(form: str) -> None:
    scores = smooth((19, 17, 25), 5)
    expected = postprocess(scores, (64, 95), full_size=(65, 97), form="plain")
    for same in (scores[None], scores[None].to(memory_format=torch.channels_last), scores.double()):
        assert_same_bits(postprocess(same, (64, 95), full_size=(65, 97), form=form), expected)
    assert_as_plain(scores.bfloat16(), (64, 95), form, (65, 97))


@every_form
def test_threads_do_not_matter(form: str) -> None:
    scores = smooth((19, 65, 129), 6, grain=4)
    before = torch.get_num_threads()
    try:
        maps = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            maps.append(postprocess(scores, (256, 512), full_size=(257, 513), form=form))
    finally:
        torch.set_num_threads(before)
    for other in maps[1:]:
        assert_same_bits(other, maps[0])


# The certificates.


def adversary(gap: tuple[float, float], spread: float, offset: float = 0.0) -> torch.Tensor:
    """Class 1 is above class 0 by something in ``gap``, which on the way to probabilities gets lost here and there."""
    rng = np.random.default_rng(7)
    first = np.float32(offset + spread * rng.uniform(-1, 1, (9, 9)))
    second = first + np.float32(rng.uniform(*gap, (9, 9)))
    return torch.from_numpy(np.stack([first, second, first - np.float32(10)]))


ADVERSARIES = {
    "ties after rounding": adversary((2e-8, 2e-8), spread=1e-3),
    "far from zero": adversary((2, 2), spread=1e3, offset=2.0**24),
    "nearly equal": adversary((-2e-7, 2e-7), spread=1e-3),
}
TOO_SMALL = pytest.mark.parametrize(
    ("which", "margin", "relative"), [("ties after rounding", 0, 2**-20), ("far from zero", 2**-10, 0)]
)


@every_form
@pytest.mark.parametrize("which", ADVERSARIES)
@pytest.mark.parametrize("size", [(32, 32), (33, 33), (50, 20)])
def test_the_margin_is_wide_enough(form: str, which: str, size: tuple[int, int]) -> None:
    assert_as_plain(ADVERSARIES[which], size, form, (33, 33))


@TOO_SMALL
def test_a_smaller_margin_is_noticed(
    which: str, margin: float, relative: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_labels, "MARGIN", margin)
    monkeypatch.setattr(torch_labels, "RELATIVE", relative)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_as_plain(ADVERSARIES[which], (33, 33), "torch", (33, 33))


@TOO_SMALL
def test_a_smaller_margin_is_noticed_when_compiled(
    which: str, margin: float, relative: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = numba_labels()
    monkeypatch.setattr(compiled, "MARGIN", np.float32(margin))
    monkeypatch.setattr(compiled, "RELATIVE", np.float32(relative))
    with pytest.raises(AssertionError, match="samples differ"):
        assert_as_plain(ADVERSARIES[which], (33, 33), "numba", (33, 33))


@every_form
def test_pixels_without_doubt_are_noticed(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating alone decides near ties otherwise than the plain form."""
    monkeypatch.setattr(tiles.Tiling, "doubt", lambda self, classes: -1.0)
    monkeypatch.setattr(tiles.Candidate, "finish", lambda self, *_: self.labels)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_as_plain(ADVERSARIES["nearly equal"], (32, 32), form, (33, 33))


@every_form
@pytest.mark.parametrize("size", [(20, 20), (90, 90)])
def test_tiles_of_single_cells_are_noticed(form: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate from the cell (r // 4, c // 4) alone is only right where the size hardly changes."""
    monkeypatch.setattr(torch_labels, "_CACHED", 1)  # no more rows of tiles together than necessary
    scores = smooth((3, 9, 9), 8, grain=3) * 10
    assert_as_plain(scores, size, form, (33, 33))
    whole = tiles.axis

    def narrow(*arguments: Any) -> tiles.Axis:
        result = whole(*arguments)
        cell = np.minimum(result.tiles[:-1] // 4, 7)
        return result._replace(corners=np.stack([cell, cell + 1], axis=1).astype(np.int32))

    monkeypatch.setattr(tiles, "axis", narrow)
    tiles.tiling.cache_clear()
    try:
        with pytest.raises(AssertionError, match="samples differ"):
            assert_as_plain(scores, size, form, (33, 33))
    finally:
        tiles.tiling.cache_clear()


@settings(max_examples=200, deadline=None)
@given(corners=st.integers(1, 40), outputs=st.integers(1, 200), zoom=st.sampled_from([1, 4]))
def test_tiles_depend_on_their_corners_alone(corners: int, outputs: int, zoom: int) -> None:
    """Changing any other corner leaves an output as it is, and every output belongs to one tile."""
    length = plain.zoomed(corners, zoom)
    taps = plan((length, 1), (outputs, 1)).rows
    axis = tiles.axis(taps, length, zoom)
    assert axis.tiles[0] == 0
    assert axis.tiles[-1] == outputs
    assert (np.diff(axis.tiles) > 0).all()
    interp = np.zeros((length, corners))
    for y in range(length):
        interp[y, y // zoom] += 1 - y % zoom / zoom
        interp[y, min(y // zoom + 1, corners - 1)] += y % zoom / zoom
    resize = np.zeros((outputs, length))
    np.add.at(resize, (np.arange(outputs)[:, None], taps.indices), taps.weights)
    influence = resize @ interp
    tile = np.repeat(np.arange(len(axis.corners)), np.diff(axis.tiles))
    for output in range(outputs):
        first, last = axis.corners[tile[output]]
        assert not influence[output, :first].any()
        assert not influence[output, last + 1 :].any()
        assert influence[output].sum() == pytest.approx(1)
        sources = axis.first[output] + np.arange(len(axis.weights))
        assert axis.sources[tile[output], 0] <= sources[0]
        assert sources[-1] <= axis.sources[tile[output], 1] < length
        packed = np.zeros(length)
        packed[sources] = axis.weights[:, output]
        assert np.abs(packed - resize[output]).max() < U


def test_an_output_of_cityscapes_reads_one_cell() -> None:
    for axis in tiles.tiling((1025, 2049), (1024, 2048), 4)[:2]:
        assert (np.diff(axis.tiles) == 4).all()
        assert (axis.corners == np.stack([np.arange(len(axis.corners)), np.arange(len(axis.corners)) + 1], 1)).all()


def test_most_tiles_of_a_smooth_map_are_certified() -> None:
    scores = smooth((19, 65, 129), 3, grain=30)
    geometry = tiles.tiling((257, 513), (256, 512), 4)
    tops = torch_labels._tile_tops(torch_labels._clear_tops(scores), geometry.rows, geometry.columns)
    assert (tops >= 0).float().mean() > 0.8
    compiled = numba_labels()
    theirs = np.empty(scores.shape[1:], np.int16)
    assert compiled._clear_tops(scores.numpy(), 0, len(theirs), tiles.MARGIN, tiles.RELATIVE, theirs)
    assert np.array_equal(theirs, torch_labels._clear_tops(scores).numpy())


def exponentials(form: str, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if form == "plain":
        return np.exp(x)
    if form == "torch":
        return torch.from_numpy(x).exp().numpy()
    one = numba_labels()._exponential
    return np.array([one(value) for value in x])


@pytest.mark.parametrize("form", ["plain", *FUSED])
def test_exponentials_are_as_good_as_the_proof_needs(form: str) -> None:
    rng = np.random.default_rng(9)
    x = np.concatenate([-rng.uniform(0, 87, 20000), -rng.uniform(0, 1, 20000), -(2.0 ** -np.arange(60)), [0.0, -87]])
    x = x.astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(exponentials(form, x) / exact - 1).max() < 8 * U
    assert (exponentials(form, np.array([-87.5, -104, -3e38], np.float32)) < 2.0**-120).all()
    assert exponentials(form, np.zeros(1, np.float32)) == 1


def test_interpolated_scores_have_the_plain_forms_bits() -> None:
    """So numba has not contracted a product and a sum into one operation."""
    compiled = numba_labels()
    scores = noisy((3, 17, 33), 10).numpy()
    geometry = tiles.tiling((65, 129), (64, 128), 4)
    strip, work = compiled._memory(3, geometry)
    used, last = np.int64(0), np.int64(-2)
    for j in range(len(geometry.columns.corners)):
        used, last = compiled._append(strip, np.int64(used), np.int64(last), geometry.columns, j, 4, 33)
    first, stop = geometry.rows.sources[5]
    compiled._interpolate(scores, 4, first, stop, strip, np.int64(used), work)
    expected = plain.interp_rows(plain.interp_columns(scores), first, stop + 1)
    assert used == 129
    assert_same_bits(work.exponentials[:, : stop + 1 - first, :used], expected)
    assert_same_bits(work.highest[: stop + 1 - first, :used], expected.max(axis=0))


@pytest.mark.parametrize("size", [(64, 95), (65, 97), (30, 200)])
@pytest.mark.parametrize("zoom", [1, 4])
def test_single_pixels_have_the_plain_forms_labels(size: tuple[int, int], zoom: int) -> None:
    scores = noisy((19, 17, 25), 11).round()  # many ties
    full_size = (65, 97) if zoom == 4 else (17, 25)
    planned = plan(full_size, size)
    pixels = np.random.default_rng(12).permutation(size[0] * size[1])
    labels = plain.label_pixels(scores, zoom, planned, pixels)
    assert_same_bits(labels, plain.label_rows(scores, zoom, planned, 0, size[0]).ravel()[pixels])


@pytest.mark.parametrize("form", ["plain", "numba"])
def test_memory_stays_small(form: str) -> None:
    """The probabilities of the whole map would take 160 MB."""
    if form == "numba":
        numba_labels()
    scores = noisy((19, 257, 513), 13)
    postprocess(scores[:, :9, :9], (32, 32), full_size=(33, 33), form=form)  # compiled, imported, cached
    tracemalloc.start()
    try:
        if form == "plain":
            plain.label_rows(scores, 4, plan((1025, 2049), (1024, 2048)), 0, 64)
        else:
            postprocess(scores, (1024, 2048), form=form)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64e6


# Choosing.


def test_the_fastest_form_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "installed", lambda package: True)
    assert implementations.choose(None, torch.device("cpu")) == "numba"
    assert implementations.choose(None, torch.device("cuda")) == "triton"
    assert implementations.choose(None, torch.device("mps")) == "torch"
    assert implementations.choose(None, torch.device("mps"), instead="plain") == "plain"
    monkeypatch.setattr(implementations, "installed", lambda package: False)
    assert implementations.choose(None, torch.device("cpu")) == "torch"
    assert implementations.choose(None, torch.device("cpu"), instead="plain") == "plain"
    assert implementations.choose(None, torch.device("cuda")) == "torch"
    assert not torch.cuda.is_available() or postprocess(torch.zeros(2, 3, 3).cuda(), (8, 8), full_size=(9, 9)).any()


@pytest.mark.parametrize(
    ("form", "device", "present", "message"),
    [
        ("fast", "cpu", True, "form is one of plain, numba, torch, triton, not 'fast'"),
        ("numba", "cpu", False, "needs the package numba"),
        ("numba", "cuda", True, "is for the processor"),
        ("triton", "cpu", True, "is for a GPU"),
    ],
)
def test_wrong_forms(form: str, device: str, present: bool, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "installed", lambda package: present)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=message):
        implementations.choose(form, torch.device(device))


def test_a_package_that_cannot_be_imported_is_not_installed() -> None:
    assert implementations.installed("numpy")
    assert not implementations.installed("a_package_that_is_not_there")


def test_without_a_place_for_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    from pytorch_icnet.imaging.fused.compiled import compiled

    asked = []

    def njit(**options: bool) -> Callable[[Any], Any]:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(abs) is abs
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]
