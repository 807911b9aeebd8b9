"""imresize agrees with MATLAB to the last bit."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_icnet.imaging import imresize
from pytorch_icnet.imaging.imresize import BELOW_HALF, plan

from .matlab_reference import FIXTURES, assert_same_bits, formula_image, sha256, slow_imresize


@pytest.mark.parametrize("lengths", FIXTURES["taps_bilinear"])
def test_taps_are_matlabs(lengths: str) -> None:
    n, out = map(int, lengths.split("->"))
    expected = FIXTURES["taps_bilinear"][lengths]
    taps = plan((n, n), (out, out)).rows
    assert taps.weights.shape == (out, expected["columns"])
    for row, pair in expected["rows"].items():
        assert taps.indices[int(row)].tolist() == pair["idx"]
        assert [float(w).hex() for w in taps.weights[int(row)]] == pair["w"]
    assert sha256(taps.weights.astype("<f8")) == expected["sha256_weights_f8_C"]
    assert sha256(taps.indices.astype("<i8")) == expected["sha256_idx_i8_C"]


@pytest.fixture(scope="module")
def uint8_case() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    case = FIXTURES["uint8_8x10x3_to_9x11"]
    return np.array(case["in"], np.uint8), np.array(case["out"], np.uint8)


@pytest.fixture(scope="module")
def single_case() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    case = FIXTURES["single_9x11x3_to_8x10"]
    source, expected = (np.array(case[key], "<u4").view("<f4") for key in ("in_u4", "out_u4"))
    return source, expected


def test_uint8(uint8_case: tuple[Any, Any]) -> None:
    source, expected = uint8_case
    assert_same_bits(imresize(source, (9, 11)), expected)


def test_single(single_case: tuple[Any, Any]) -> None:
    source, expected = single_case
    assert_same_bits(imresize(source, (8, 10)), expected)


def test_cityscapes_size() -> None:
    case = FIXTURES["image_formula"]
    image = formula_image()
    assert sha256(image) == case["in_sha256"]
    resized = imresize(image, (1025, 2049))
    for place, values in case["samples"].items():
        assert resized[tuple(map(int, place.split(",")))].tolist() == values
    assert sha256(resized) == case["out_1025x2049x3_sha256"]


def rows_first(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return imresize(imresize(image, (size[0], image.shape[1])), size)


def rounded_once(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return (imresize(image.astype(np.float64), size) + 0.5).astype(np.uint8)


def opencv(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def align_corners(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    planes = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=True)
    array = resized[0].permute(1, 2, 0).numpy()
    return (array + 0.5).astype(np.uint8) if image.dtype == np.uint8 else array.astype(image.dtype)


def no_antialiasing(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return imresize(image, size, antialias=False)


@pytest.mark.parametrize("wrong", [rows_first, rounded_once, opencv, align_corners])
def test_shortcuts_for_uint8_are_noticed(uint8_case: tuple[Any, Any], wrong: Any) -> None:
    source, expected = uint8_case
    with pytest.raises(AssertionError, match="samples differ, the most by"):
        assert_same_bits(wrong(source, (9, 11)), expected)


@pytest.mark.parametrize("wrong", [opencv, align_corners, no_antialiasing])
def test_shortcuts_for_single_are_noticed(single_case: tuple[Any, Any], wrong: Any) -> None:
    source, expected = single_case
    with pytest.raises(AssertionError, match="samples differ, the most by"):
        assert_same_bits(wrong(source, (8, 10)), expected)


def test_number_of_samples_that_the_wrong_order_changes(uint8_case: tuple[Any, Any]) -> None:
    source, expected = uint8_case
    case = FIXTURES["uint8_8x10x3_to_9x11"]
    assert (rows_first(source, (9, 11)) != expected).sum() == case["out_if_rows_first_WRONG"]
    assert (rounded_once(source, (9, 11)) != expected).sum() == case["out_if_not_rounded_between_WRONG"]


@pytest.mark.parametrize("lengths", FIXTURES["nearest_indices"])
def test_nearest(lengths: str) -> None:
    n, out = map(int, lengths.split("->"))
    line = np.arange(n, dtype=np.uint8)[None]
    assert imresize(line, (1, out), "nearest")[0].tolist() == FIXTURES["nearest_indices"][lengths]
    assert imresize(line.T, (out, 1), "nearest")[:, 0].tolist() == FIXTURES["nearest_indices"][lengths]


def test_small_values() -> None:
    small = np.array([[1.0, 2.0], [3.0, 4.0]])
    grown = imresize(small, (4, 4))
    assert grown.tolist() == [
        [1, 1.25, 1.75, 2],
        [1.5, 1.75, 2.25, 2.5],
        [2.5, 2.75, 3.25, 3.5],
        [3, 3.25, 3.75, 4],
    ]
    assert imresize(grown, (2, 2)).tolist() == [[1.5625, 2.1875], [2.8125, 3.4375]]
    assert imresize(grown, (2, 2), antialias=False).tolist() == [[1.375, 2.125], [2.875, 3.625]]
    assert imresize(np.array([[100, 50, 0]], np.uint8), (1, 5)).tolist() == [[100, 80, 50, 20, 0]]
    line = np.array([[1.0, 4, 7, 4, 3, 6]])
    assert imresize(line, (1, 9), "nearest").tolist() == [[1, 4, 4, 7, 4, 4, 3, 6, 6]]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    source=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    size=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    method=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    antialias=st.sampled_from([None, True, False]),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
)
def test_against_slow_loops(
    seed: int,
    source: tuple[int, int],
    size: tuple[int, int],
    method: str,
    antialias: bool | None,
    dtype: type[Any],
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, source) if dtype is np.uint8 else random.standard_normal(source)
    image: npt.NDArray[Any] = values.astype(dtype)
    expected = slow_imresize(image, size, method, antialias)
    assert_same_bits(imresize(image, size, method, antialias), expected)
    stacked = imresize(np.stack([image, image[::-1]], axis=2), size, method, antialias)
    assert_same_bits(stacked[..., 0], expected)


@pytest.mark.parametrize("size", [(40, 61), (13, 90), (90, 13), (5, 5)])
def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).random((37, 29, 3), np.float32)
    whole = imresize(image, size)
    # The package offers the function under the module's name.
    monkeypatch.setattr(sys.modules["pytorch_icnet.imaging.imresize"], "BLOCK_BYTES", 1)
    assert_same_bits(imresize(image, size), whole)


def test_rounding_is_half_away_from_zero() -> None:
    for whole in range(256):
        half = whole + 0.5
        assert int(np.nextafter(half, 0) + BELOW_HALF) == whole
        assert int(half + BELOW_HALF) == whole + 1
    assert int(np.nextafter(0.5, 0) + 0.5) == 1, "the reason why one half itself is not added"
    assert imresize(np.array([[0, 1]], np.uint8), (1, 1)).item() == 1


def test_cubic_saturates() -> None:
    edge = np.repeat(np.array([[0, 255]], np.uint8), 4, axis=1)
    assert {0, 255} == set(imresize(edge, (1, 32), "bicubic")[0, [2, -3]].tolist())


def test_source_is_untouched() -> None:
    image = np.random.default_rng(0).random((6, 6))
    copy = image.copy()
    same = imresize(image, (6, 6))
    assert_same_bits(same, copy)
    same[:] = 0
    assert_same_bits(image, copy)


@pytest.mark.parametrize(
    ("array", "size", "method", "error"),
    [
        (np.zeros((2, 2), np.int32), (3, 3), "bilinear", TypeError),
        (np.zeros((2, 2), np.uint16), (3, 3), "bilinear", TypeError),
        (np.zeros(4), (3, 3), "bilinear", ValueError),
        (np.zeros((0, 2)), (3, 3), "bilinear", ValueError),
        (np.zeros((2, 2)), (0, 3), "bilinear", ValueError),
        (np.zeros((2, 2)), (2.5, 3), "bilinear", ValueError),
        (np.zeros((2, 2)), (3, 3, 3), "bilinear", ValueError),
        (np.zeros((2, 2)), (3, 3), "linear", ValueError),
    ],
)
def test_wrong_arguments(array: Any, size: Any, method: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        imresize(array, size, method)
