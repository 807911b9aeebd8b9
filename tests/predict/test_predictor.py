"""The predictor against the steps that it joins, taken one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from icnet_common.errors import InputError
from pytorch_icnet import ICNet
from pytorch_icnet import predictor as predictor_module
from pytorch_icnet.datasets.classes import plain_table
from pytorch_icnet.icnet import SIZES
from pytorch_icnet.imaging import postprocess, preprocess, probabilities
from pytorch_icnet.predict import Predictor

from ..nets import seeded

Bytes = NDArray[np.uint8]

INPUT = (65, 97)


def photo(height: int = 60, width: int = 100, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def net() -> ICNet:
    """With scores of a few units, so that probabilities are no mere zeros and ones."""
    model = seeded()
    with torch.no_grad():
        scores = model(preprocess(photo(), INPUT))
        model.conv6_cls.weight /= scores.std() / 2
    return model


@pytest.fixture(scope="module")
def official(net: ICNet) -> Predictor:
    return Predictor(net, input_size=INPUT, backend="eager")


def quarter(net: ICNet, image: Bytes, size: tuple[int, int]) -> torch.Tensor:
    with torch.inference_mode():
        return net.quarter_scores(preprocess(image, size))


def test_official_rule(net: ICNet, official: Predictor) -> None:
    image = photo()
    scores = quarter(net, image, INPUT)
    expected = probabilities(scores, (60, 100), full_size=INPUT).transpose(2, 0, 1)
    found = official.probabilities(image)
    assert found.dtype == np.float32 and found.shape == (19, 60, 100) and found.flags.c_contiguous
    assert np.abs(found - expected).max() < 1e-4
    labels = official.labels(image)
    assert labels.dtype == np.uint8 and np.array_equal(labels, found.argmax(0))
    assert np.mean(labels == postprocess(scores, (60, 100), full_size=INPUT)) > 0.99


def test_scores_lie_on_the_image(net: ICNet, official: Predictor) -> None:
    image = photo(*INPUT)
    with torch.inference_mode():
        expected = net(preprocess(image, INPUT))[0].numpy()
    assert np.abs(official.scores(image) - expected).max() < 1e-3 * np.abs(expected).max()
    assert official.scores(photo(30, 50)).shape == (19, 30, 50)


def test_native_feeds_each_image_at_the_next_legal_size(net: ICNet) -> None:
    native = Predictor(net, native=True, backend="eager")
    for height, width in ((60, 100), (33, 65), (120, 40)):
        image = photo(height, width)
        (view, blob), *others = native.prepare(image).blobs.items()
        assert not others and view.size == tuple(blob.shape[2:]) == SIZES.fit((height, width))
        scores = quarter(net, image, view.size)
        full = (4 * scores.shape[-2] - 3, 4 * scores.shape[-1] - 3)
        labels = native.labels(image)
        assert labels.shape == (height, width)
        assert np.mean(labels == postprocess(scores, (height, width), full_size=full)) > 0.99


@pytest.mark.parametrize(
    ("size", "legal"),
    [
        ((1024, 2048), (1025, 2049)),
        ((33, 34), (33, 34)),
        ((1, 32), (1, 33)),
        ((66, 105), (66, 129)),
        ((1030, 9), (1030, 33)),
    ],
)
def test_the_size_that_fits(size: tuple[int, int], legal: tuple[int, int]) -> None:
    assert SIZES.fit(size) == legal


def test_native_refuses_what_is_too_large_for_one_pass(net: ICNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "MAX_INPUT", 97 * 97)
    native = Predictor(net, native=True, backend="eager")
    native.labels(photo(90, 90))
    with pytest.raises(InputError, match=r"97x100 is too large .* sliding windows"):
        native.labels(photo(90, 100))


def test_engines_are_kept_for_the_sizes_used_last(net: ICNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "ENGINES", 4)
    native = Predictor(net, native=True, backend="eager")
    sizes = [(33, 32 * k + 1) for k in range(1, 6)]
    engines = [native.engine(size) for size in sizes]
    assert native.engine(sizes[1]) is engines[1]
    assert native.engine(sizes[0]) is not engines[0]


def test_threads_get_their_own_results(official: Predictor) -> None:
    images = [photo(40 + k, 70, seed=k) for k in range(12)]
    alone = [official.labels(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(official.labels, images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_window_of_the_image_is_the_whole_image(official: Predictor) -> None:
    image = photo()
    whole = official.probabilities(image)
    for window in ((60, 100), (99, 1000)):
        assert np.array_equal(official.sliding(image, window), whole)
        assert np.array_equal(official.sliding_labels(image, window), official.labels(image))


def test_windows_are_averaged(official: Predictor) -> None:
    image = photo(70, 100)
    total = np.zeros((19, 70, 100))
    count = np.zeros((70, 100))
    for top in (0, 20, 30):  # stride 20; the last one is moved back to 30
        for left in (0, 25, 50):
            total[:, top : top + 40, left : left + 50] += official.probabilities(
                np.ascontiguousarray(image[top : top + 40, left : left + 50])
            )
            count[top : top + 40, left : left + 50] += 1
    found = official.sliding(image, (40, 50), 0.5)
    assert np.abs(found - total / count).max() < 1e-6
    assert np.array_equal(found, official.sliding(image, (40, 50), (20, 25)))
    assert np.array_equal(official.sliding_labels(image, (40, 50), 0.5), found.argmax(0))
    assert np.abs(found - official.sliding(image, (40, 50), 0.0)).max() > 1e-3


@pytest.mark.parametrize("overlap", [-0.1, 1.0, (40, 0), (-1, 0)])
def test_impossible_overlaps(official: Predictor, overlap: float | tuple[int, int]) -> None:
    with pytest.raises(InputError, match="overlap"):
        official.sliding(photo(), (40, 50), overlap)


def test_classes_go_with_the_network(official: Predictor) -> None:
    assert official.num_classes == 19 and official.classes.names[0] == "road"
    assert Predictor(seeded(num_classes=4), input_size=INPUT).classes.names == plain_table(4).names
    with pytest.raises(InputError, match="scores 4 classes, but the table has 5"):
        Predictor(seeded(num_classes=4), input_size=INPUT, classes=plain_table(5))


def test_impossible_images(official: Predictor) -> None:
    for wrong in (photo().astype(np.float32), photo()[..., 0], photo()[:0]):
        with pytest.raises(ValueError, match="expected an image of HxWx3, uint8"):
            official.labels(wrong)  # type: ignore[arg-type]


def test_illegal_input_size(net: ICNet) -> None:
    with pytest.raises(InputError, match="nearest legal"):
        Predictor(net, input_size=(64, 96))


def test_weights_from_a_file(tmp_path: Path, net: ICNet, official: Predictor) -> None:
    torch.save(net.state_dict(), tmp_path / "net.pt")
    loaded = Predictor(tmp_path / "net.pt", input_size=INPUT, backend="eager", cache_dir=tmp_path / "cache")
    assert np.array_equal(loaded.labels(photo()), official.labels(photo()))
