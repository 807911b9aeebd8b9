"""The fused forms of preprocess give the plain form's blob, to the last bit."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_icnet.imaging import implementations, imresize, preprocess
from pytorch_icnet.imaging.fused.tiles import tap_rows
from pytorch_icnet.imaging.imresize import Plan, plan
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Normalization
from pytorch_icnet.imaging.preprocess import image_blob

from .matlab_reference import assert_same_bits, formula_image

FUSED = [
    pytest.param("numba", marks=pytest.mark.skipif(not implementations.installed("numba"), reason="needs numba")),
    "torch",
]
every_form = pytest.mark.parametrize("form", FUSED)

sizes = st.integers(1, 70)


def random_image(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Half of it black or white, where rounding and saturation could go wrong."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    extremes = rng.choice(np.array([0, 255], np.uint8), image.shape)
    return np.where(rng.random(image.shape) < 0.5, image, extremes)


def assert_as_plain(rgb: npt.NDArray[np.uint8], size: tuple[int, int], form: str) -> None:
    expected = CAFFE.blob(imresize(rgb, size))
    assert_same_bits(preprocess(rgb, size, form=form).numpy(), expected.numpy())


@pytest.mark.parametrize("form", ["plain", *FUSED])
def test_at_cityscapes_size(form: str) -> None:
    assert_as_plain(formula_image(), (1025, 2049), form)


@every_form
@settings(max_examples=150, deadline=None)
@given(source=st.tuples(sizes, sizes), size=st.tuples(sizes, sizes), seed=st.integers(0, 2**32 - 1))
def test_any_size(form: str, source: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    assert_as_plain(random_image(*source, seed), size, form)


@every_form
@pytest.mark.parametrize("source", [(40, 60), (60, 40)])
def test_the_order_of_the_passes_matters(form: str, source: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped, it is noticed."""
    image, size = random_image(*source, 0), (source[0] + 1, source[1] + 1)
    expected = preprocess(image, size, form=form)
    assert_as_plain(image, size, form)
    planned = plan(source, size)
    swapped = Plan(planned.rows, planned.columns, not planned.rows_first)
    monkeypatch.setattr(f"pytorch_icnet.imaging.fused.{form}_blob.plan", lambda *_: swapped)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_same_bits(preprocess(image, size, form=form).numpy(), expected.numpy())


@every_form
@pytest.mark.parametrize(
    "pixels", [CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Normalization("GRB", (1, 2, 3), (4, 5, 6), 7)]
)
def test_any_colours(form: str, pixels: Normalization) -> None:
    image = random_image(30, 41, 1)
    expected = pixels.blob(imresize(image, (33, 65)))
    assert_same_bits(image_blob(image, (33, 65), pixels, form=form).numpy(), expected.numpy())


@every_form
def test_threads_and_layouts_do_not_matter(form: str) -> None:
    image = random_image(100, 80, 2)
    expected = preprocess(image, (129, 97), form="plain").numpy()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            assert_same_bits(preprocess(image, (129, 97), form=form).numpy(), expected)
    finally:
        torch.set_num_threads(before)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2)
    assert_same_bits(preprocess(turned, (129, 97), form=form).numpy(), expected)
    assert_same_bits(preprocess(image[:, ::-1][:, ::-1], (129, 97), form=form).numpy(), expected)
    assert_same_bits(preprocess(torch.from_numpy(image), (129, 97), form=form).numpy(), expected)
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_bits(preprocess(image, (129, 97), form=form).numpy(), expected)


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 300), outputs=st.integers(1, 300))
def test_lines_keep_every_weight_in_its_order(length: int, outputs: int) -> None:
    taps = plan((length, 1), (outputs, 1)).rows
    packed = tap_rows(taps)
    for output in range(outputs):
        used = taps.weights[output] != 0
        count = int(used.sum())
        assert np.array_equal(packed.indices[:count, output], taps.indices[output, used])
        assert np.array_equal(packed.weights[:count, output], taps.weights[output, used])
        assert not packed.weights[count:, output].any()
    assert packed.weights.sum(axis=0).max() <= 1 + 1e-12  # so that no sum of bytes can exceed 255


@pytest.mark.parametrize("form", ["plain", *FUSED])
@pytest.mark.parametrize("size", [(0, 5), (5,), (2.5, 3)])
def test_wrong_sizes(form: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"size is \(height, width\)"):
        preprocess(np.zeros((4, 4, 3), np.uint8), size, form=form)


@pytest.mark.parametrize("form", ["plain", *FUSED])
def test_empty_images(form: str) -> None:
    with pytest.raises(ValueError, match="HxWx3, not of shape"):
        preprocess(np.zeros((0, 4, 3), np.uint8), (5, 5), form=form)


def test_wrong_forms() -> None:
    with pytest.raises(ValueError, match="form is one of"):
        preprocess(np.zeros((4, 4, 3), np.uint8), (5, 5), form="c++")
