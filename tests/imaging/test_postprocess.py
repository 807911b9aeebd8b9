"""postprocess gives the label map of the official evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from pytorch_icnet.imaging import imresize, plain, postprocess, probabilities
from pytorch_icnet.imaging.plain import first_maximum, interp_columns, interp_rows, softmax

from .matlab_reference import FIXTURES, assert_same_bits, formula_scores, sha256, slow_imresize

Labels = npt.NDArray[np.uint8]

FULL = (65, 97)
SIZE = (64, 95)


def random_scores(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (19, height, width)).astype(np.float32))


def caffe_interp(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Caffe's Interp with zoom 4, a sample at a time, float32."""
    classes, height, width = scores.shape
    result = np.empty((classes, 4 * height - 3, 4 * width - 3), np.float32)
    for y in range(result.shape[1]):
        for x in range(result.shape[2]):
            below, right = int(y // 4 < height - 1), int(x // 4 < width - 1)
            ly, lx = np.float32(y % 4 / 4), np.float32(x % 4 / 4)
            corner = scores[:, y // 4 :, x // 4 :]
            upper = (1 - lx) * corner[:, 0, 0] + lx * corner[:, 0, right]
            lower = (1 - lx) * corner[:, below, 0] + lx * corner[:, below, right]
            result[:, y, x] = (1 - ly) * upper + ly * lower
    return result


def judge(scores: torch.Tensor, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The probabilities in float64, HxWxC, from independent parts."""
    full = F.interpolate(scores[None].double(), FULL, mode="bilinear", align_corners=True)[0]
    planes = full.softmax(dim=0).numpy()
    return np.stack([slow_imresize(plane, size, "bilinear", None) for plane in planes], axis=2)


def test_the_fixture_but_for_one_tie() -> None:
    case = FIXTURES["logits_formula"]
    labels = postprocess(torch.from_numpy(formula_scores()), (1024, 2048))
    assert labels.shape == (1024, 2048)
    assert labels.dtype == np.uint8
    # The original does not subtract the maximum; at this pixel classes 12 and 18 are one unit in the last
    # place apart, so either is right.
    assert labels[421, 903] in (12, 18)
    labels[421, 903] = 18
    assert np.bincount(labels.ravel(), minlength=19).tolist() == case["label_hist"]
    assert sha256(labels) == case["label_1024x2048_sha256"]


def shortcut_no_antialiasing(scores: npt.NDArray[np.float32], size: tuple[int, int]) -> Labels:
    full = interp_rows(interp_columns(scores), 0, 4 * scores.shape[1] - 3)
    return first_maximum(imresize(softmax(full).transpose(1, 2, 0), size, antialias=False))


def shortcut_scores_not_probabilities(scores: npt.NDArray[np.float32], size: tuple[int, int]) -> Labels:
    full = interp_rows(interp_columns(scores), 0, 4 * scores.shape[1] - 3)
    return first_maximum(imresize(full.transpose(1, 2, 0), size))


def shortcut_align_corners(scores: npt.NDArray[np.float32], size: tuple[int, int]) -> Labels:
    full = F.interpolate(torch.from_numpy(scores)[None], size, mode="bilinear", align_corners=True)
    return full[0].argmax(dim=0).numpy().astype(np.uint8)


@pytest.mark.parametrize(
    "shortcut", [shortcut_no_antialiasing, shortcut_scores_not_probabilities, shortcut_align_corners]
)
def test_shortcuts_are_noticed(shortcut: Callable[..., Labels]) -> None:
    scores = formula_scores()[:, 100:165, 200:329]
    ours = postprocess(torch.from_numpy(scores), (256, 512), full_size=(257, 513))
    with pytest.raises(AssertionError, match="samples differ"):
        assert_same_bits(shortcut(scores, (256, 512)), ours)
    assert (shortcut(scores, (256, 512)) != ours).sum() > 2


def test_interp_is_caffes() -> None:
    scores = random_scores(5, 7).numpy()
    expected = caffe_interp(scores)
    assert_same_bits(interp_rows(interp_columns(scores), 0, 17), expected)
    assert_same_bits(interp_rows(interp_columns(scores), 6, 13), expected[:, 6:13])


def test_quarter_is_full_size_after_interp() -> None:
    quarter = random_scores(17, 25)
    full = torch.from_numpy(caffe_interp(quarter.numpy()))
    assert_same_bits(probabilities(quarter, SIZE, full_size=FULL), probabilities(full, SIZE, full_size=FULL))
    labels = postprocess(quarter, SIZE, full_size=FULL)
    assert_same_bits(postprocess(full, SIZE, full_size=FULL), labels)
    assert_same_bits(postprocess(full[None], SIZE, full_size=FULL), labels)
    assert_same_bits(first_maximum(probabilities(quarter, SIZE, full_size=FULL)), labels)


@pytest.mark.parametrize("size", [SIZE, (65, 97), (33, 40), (130, 120), (1, 1)])
def test_against_float64(size: tuple[int, int]) -> None:
    quarter = random_scores(17, 25)
    expected = judge(quarter, size)
    ours = probabilities(quarter, size, full_size=FULL)
    assert ours.shape == (*size, 19)
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() < 5e-7
    best = np.sort(expected, axis=2)
    clear = best[..., -1] - best[..., -2] > 1e-6
    labels = postprocess(quarter, size, full_size=FULL)
    assert np.array_equal(labels[clear], expected.argmax(axis=2)[clear])
    assert clear.mean() > 0.999


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    quarter = random_scores(17, 25)
    whole = probabilities(quarter, SIZE, full_size=FULL)
    monkeypatch.setattr(plain, "_BLOCK_ROWS", 3)
    assert_same_bits(probabilities(quarter, SIZE, full_size=FULL), whole)


def test_first_of_equals_and_nan() -> None:
    values = np.array([[1, 2, 2], [np.nan, 0, 1], [np.nan, np.nan, np.nan], [0, np.nan, 0]], np.float32)
    assert first_maximum(values).tolist() == [1, 2, 0, 0]


def test_large_scores_do_not_overflow() -> None:
    scores = torch.zeros(3, 9, 9)
    scores[1], scores[2] = 200, 300
    assert np.array_equal(postprocess(scores, (8, 8), full_size=(9, 9)), np.full((8, 8), 2, np.uint8))


def test_scores_that_are_not_finite() -> None:
    scores = torch.full((3, 9, 9), float("nan"))
    assert np.array_equal(postprocess(scores, (9, 9), full_size=(9, 9)), np.zeros((9, 9), np.uint8))


def test_half_precision_and_gradients_are_accepted() -> None:
    scores = random_scores(17, 25).half()
    expected = postprocess(scores.float(), SIZE, full_size=FULL)
    assert_same_bits(postprocess(scores.requires_grad_(), SIZE, full_size=FULL), expected)


@pytest.mark.parametrize(
    "shape",
    [(19, 16, 25), (19, 33, 49), (2, 19, 17, 25), (17, 25), (1, 1, 19, 17, 25), (257, 17, 25), (0, 17, 25)],
)
def test_wrong_scores(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="scores"):
        postprocess(torch.zeros(shape), SIZE, full_size=FULL)
