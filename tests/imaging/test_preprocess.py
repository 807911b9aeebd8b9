"""preprocess makes the blob of the official evaluation, and its fast resize changes no bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_icnet.imaging import imresize, preprocess
from pytorch_icnet.imaging.imresize import BELOW_HALF, plan
from pytorch_icnet.imaging.preprocess import _grow_by_one, resize_image

from .matlab_reference import FIXTURES, assert_same_bits, formula_image, sha256


def test_blob() -> None:
    blob = preprocess(formula_image())
    assert (tuple(blob.shape), blob.dtype) == ((1, 3, 1025, 2049), torch.float32)
    for place, (red, green, blue) in FIXTURES["image_formula"]["samples"].items():
        y, x = map(int, place.split(","))
        expected = [
            np.float32(blue) - np.float32(103.939),
            np.float32(green) - np.float32(116.779),
            np.float32(red) - np.float32(123.68),
        ]
        assert blob[0, :, y, x].tolist() == [float(value) for value in expected]


def test_other_sizes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (45, 31, 3), dtype=np.uint8)
    blob = preprocess(image, (33, 65))
    rgb = blob[0].flip(0).permute(1, 2, 0).numpy() + np.array([123.68, 116.779, 103.939], np.float32)
    assert_same_bits(rgb.round().astype(np.uint8), imresize(image, (33, 65)))


def test_fast_resize_at_cityscapes_size() -> None:
    expected = FIXTURES["image_formula"]["out_1025x2049x3_sha256"]
    assert sha256(resize_image(formula_image(), (1025, 2049))) == expected
    image = np.random.default_rng(1).integers(0, 256, (1024, 2048, 3), dtype=np.uint8)
    assert_same_bits(resize_image(image, (1025, 2049)), imresize(image, (1025, 2049)))


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 60), wider=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_fast_resize_at_any_size(height: int, wider: int, seed: int) -> None:
    shape = (height, height + wider, 3)
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    size = (height + 1, height + wider + 1)
    assert_same_bits(_grow_by_one(image, plan(shape[:2], size)), imresize(image, size))


@pytest.mark.parametrize("length", [1024, 2048])
def test_fast_rounding_for_every_pair_of_samples(length: int) -> None:
    """For each output position and each pair of samples: truncating after BELOW_HALF is rounding."""
    first, second = (grid.ravel().astype(np.float64) for grid in np.mgrid[:256, :256])
    for weights in plan((length, length), (length + 1, length + 1)).rows.weights:
        total = first * weights[0] + second * weights[1]
        whole = np.trunc(total)
        rounded = whole + (total - whole >= 0.5)
        assert np.array_equal((total + BELOW_HALF).astype(np.uint8), rounded)


def test_portrait_takes_the_plain_road() -> None:
    """Growing by one, a portrait image is resampled along the rows first, which the fast form does not do."""
    image = np.random.default_rng(2).integers(0, 256, (60, 30, 3), dtype=np.uint8)
    expected = imresize(image, (61, 31))
    assert_same_bits(resize_image(image, (61, 31)), expected)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_same_bits(_grow_by_one(image, plan((60, 30), (61, 31))), expected)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((4, 4, 3), np.float32), TypeError),
        (np.zeros((4, 4), np.uint8), ValueError),
        (np.zeros((4, 4, 4), np.uint8), ValueError),
    ],
)
def test_wrong_images(image: npt.NDArray[np.uint8], error: type[Exception]) -> None:
    with pytest.raises(error):
        preprocess(image)
