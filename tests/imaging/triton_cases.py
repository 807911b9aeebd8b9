"""What the Triton kernels have to do; run by ``test_fused_triton.py`` in a process of its own.

Triton decides when it is imported whether kernels are compiled or interpreted (``TRITON_INTERPRET=1``).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytorch_icnet.imaging import imresize, postprocess, preprocess
from pytorch_icnet.imaging.fused import tiles, triton_labels
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET
from pytorch_icnet.imaging.preprocess import image_blob

from .matlab_reference import assert_same_bits

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def scores(classes: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Half of them in two large regions, so that some tiles are certified and some are not."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 3, (classes, height, width))
    values[:, : height // 2] = values[:, :1, :1]
    values[:, height // 2 :, : width // 2] = values[:, -1:, -1:]
    return torch.from_numpy(values.astype(np.float32))


def assert_as_plain(values: torch.Tensor, size: tuple[int, int], full_size: tuple[int, int]) -> None:
    expected = postprocess(values, size, full_size=full_size, form="plain")
    assert_same_bits(postprocess(values.to(DEVICE), size, full_size=full_size, form="triton"), expected)


@pytest.mark.parametrize("classes", [1, 2, 9])
@pytest.mark.parametrize("size", [(16, 48), (17, 49), (19, 61)])
def test_quarter_scores(classes: int, size: tuple[int, int]) -> None:
    assert triton_labels.fits(tiles.tiling((17, 49), size, 4))
    assert_as_plain(scores(classes, 5, 13), size, (17, 49))


def test_scores_of_full_size() -> None:
    assert triton_labels.fits(tiles.tiling((17, 49), (16, 48), 1))
    assert_as_plain(scores(3, 17, 49), (16, 48), (17, 49))


def test_shrinking_is_left_to_torch() -> None:
    assert not triton_labels.fits(tiles.tiling((17, 49), (9, 49), 4))
    assert_as_plain(scores(3, 5, 13), (9, 49), (17, 49))
    assert_as_plain(scores(3, 1, 1), (1, 1), (1, 1))


def test_ties_and_near_ties() -> None:
    values = scores(4, 5, 13)
    values[2, 3:, :5] = values[1, 3:, :5]
    values[1] = values[0] + torch.from_numpy(np.random.default_rng(1).uniform(-2e-7, 2e-7, (5, 13)))
    assert_as_plain(values, (16, 48), (17, 49))
    assert_as_plain(torch.zeros(3, 5, 13), (16, 48), (17, 49))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_scores_that_are_not_finite(value: float) -> None:
    for place in ((0, 0, 0), (2, 4, 12), (1, 2, 7)):
        values = scores(3, 5, 13)
        values[place] = value
        assert_as_plain(values, (16, 48), (17, 49))


def test_the_kernel_alone_is_right_but_for_near_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not leave all the work to the plain form; and without its help, near ties go wrong."""
    values = scores(9, 5, 13)
    geometry = tiles.tiling((17, 49), (16, 48), 4)
    made = triton_labels.candidate(values.to(DEVICE), geometry)
    assert made is not None
    assert len(made.uncertain) < 3
    expected = postprocess(values, (16, 48), full_size=(17, 49), form="plain")
    assert (made.labels != expected).sum() <= len(made.uncertain)

    values = torch.zeros(3, 5, 13)
    values[1] = torch.from_numpy(np.random.default_rng(2).uniform(-2e-7, 2e-7, (5, 13)))
    assert_as_plain(values, (16, 48), (17, 49))
    monkeypatch.setattr(tiles.Candidate, "finish", lambda self, *_: self.labels)
    monkeypatch.setattr(triton_labels, "may_list", lambda pixels: pixels)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_as_plain(values, (16, 48), (17, 49))


@pytest.mark.parametrize(("margin", "relative", "offset", "gap"), [(0, 2**-20, 0, 2e-8), (2**-10, 0, 2.0**24, 2)])
def test_a_smaller_margin_is_noticed(
    margin: float, relative: float, offset: float, gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    first = np.float32(offset + (1e3 if offset else 1e-3) * rng.uniform(-1, 1, (5, 13)))
    values = torch.from_numpy(np.stack([first, first + np.float32(gap), first - np.float32(10)]))
    assert_as_plain(values, (17, 49), (17, 49))
    monkeypatch.setattr(triton_labels, "MARGIN", margin)
    monkeypatch.setattr(triton_labels, "RELATIVE", relative)
    with pytest.raises(AssertionError, match="samples differ"):
        assert_as_plain(values, (17, 49), (17, 49))


@pytest.mark.parametrize("size", [(33, 65), (20, 30), (40, 100), (100, 70), (32, 64), (9, 11)])
def test_blobs(size: tuple[int, int]) -> None:
    image = np.random.default_rng(4).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    for pixels in (CAFFE, IMAGENET):
        made = image_blob(torch.from_numpy(image).to(DEVICE), size, pixels, form="triton")
        assert_same_bits(made.cpu().numpy(), pixels.blob(imresize(image, size)).numpy())


def test_blobs_of_arrays_come_from_the_processor() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    if DEVICE == "cuda":
        with pytest.raises(ValueError, match="is for a GPU"):
            preprocess(image, (9, 9), form="triton")
    assert preprocess(torch.from_numpy(image).to(DEVICE), (9, 9)).device.type == DEVICE
