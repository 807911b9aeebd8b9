"""Samples: in order, reproducible, padded with the mean and void, and what happens to damaged ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from icnet_common.errors import InputError
from pytorch_icnet.imaging.images import write_label_map
from pytorch_icnet.imaging.normalization import CAFFE
from training.augment import Augmentation, distort
from training.data import CorruptedSamples, Numbers, Sample, Samples, collate, loader, source_of
from training.recipes.recipe import DataSection
from training.scenes import write_scenes

OPTIONS = DataSection(crop=(65, 97), scale=(0.5, 2.0), workers=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_scenes(root, 5, size=(64, 128))
    return root


def samples_of(root: Path, options: DataSection = OPTIONS, seed: int = 3) -> Samples:
    return Samples(source_of(root), Augmentation(options), seed, options.allow_corrupted)


def test_every_pass_shows_each_image_once_in_a_new_order(root: Path) -> None:
    samples = samples_of(root)
    passes = [[samples.index(5 * epoch + i) for i in range(5)] for epoch in range(4)]
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in passes)
    assert len({tuple(each) for each in passes}) > 1


def test_a_sample_follows_from_its_number_alone(root: Path) -> None:
    first = samples_of(root)
    forward = [first[n] for n in range(7)]
    second = samples_of(root)
    for n in (6, 0, 3):
        assert torch.equal(second[n].blob, forward[n].blob) and torch.equal(second[n].labels, forward[n].labels)
    other = samples_of(root, seed=4)
    assert not all(torch.equal(other[n].blob, forward[n].blob) for n in range(7))


def test_workers_change_nothing(root: Path) -> None:
    plain, beside = (list(loader(samples_of(root), Numbers(0, 2, 2), workers)) for workers in (0, 2))
    for a, b in zip(plain, beside, strict=True):
        assert torch.equal(a.blobs, b.blobs) and a.names == b.names


def test_processes_and_passes_share_a_batch() -> None:
    whole = [n for part in Numbers(3, 5, 8) for n in part]
    shared = [list(Numbers(3, 5, 8, accumulate=2, rank=rank, size=2)) for rank in range(2)]
    assert whole == list(range(24, 40))
    assert sorted(n for each in shared for part in each for n in part) == whole
    assert [len(each) for each in shared] == [4, 4] == [len(Numbers(3, 5, 8, 2, 0, 2))] * 2
    with pytest.raises(InputError, match="multiple of 1 passes x 3"):
        Numbers(0, 1, 8, size=3)


def test_whole_images_are_caffes_blobs(root: Path) -> None:
    source = source_of(root)
    rgb, labels = source.read(0)
    blob, target = Augmentation(OPTIONS, random=False)(rgb, labels, np.random.default_rng(0))
    assert torch.equal(blob, CAFFE.blob(rgb)[0]) and np.array_equal(target.numpy(), labels)


def test_padding_is_the_mean_and_void() -> None:
    options = dataclasses.replace(OPTIONS, scale=(0.5, 0.5), mirror=0.0)
    rgb, labels = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.uint8)
    blob, target = Augmentation(options)(rgb, labels, np.random.default_rng(0))
    assert blob.shape == (3, 65, 97) and target.shape == (65, 97)
    assert not blob[:, 32:].any() and not blob[:, :, 32:].any() and (blob[:, :32, :32] != 0).all()
    assert (target[32:] == 255).all() and (target[:, 32:] == 255).all() and not target[:32, :32].any()


def test_image_and_labels_move_together() -> None:
    """The gray value of each pixel is its label, so whatever is done, they must still agree away from borders."""
    labels = np.kron(np.arange(8, dtype=np.uint8).reshape(2, 4), np.ones((32, 32), np.uint8))
    rgb = np.repeat(labels[..., None] * 30, 3, axis=2)
    augmentation = Augmentation(dataclasses.replace(OPTIONS, mirror=0.5))
    seen = set()
    for seed in range(8):
        blob, target = augmentation(rgb, labels, np.random.default_rng(seed))
        gray = blob[0] + CAFFE.mean[2]
        known = (target != 255).numpy()
        wrong = np.abs(gray.numpy() - target.numpy() * 30.0)[known] > 15
        assert wrong.mean() < 0.06
        seen.add(tuple(target[0, :60:6].tolist()))
    assert len(seen) > 4


def test_labels_stay_labels(root: Path) -> None:
    samples = samples_of(root)
    allowed = {*range(19), 255}
    for n in range(5):
        assert {*samples[n].labels.flatten().tolist()} <= allowed


def test_crops_of_one_class_are_drawn_again() -> None:
    labels = np.zeros((200, 400), np.uint8)
    labels[:, 300:] = 1
    rgb = np.zeros((200, 400, 3), np.uint8)
    options = dataclasses.replace(OPTIONS, scale=(1.0, 1.0))

    def mixed(share: float) -> int:
        augmentation = Augmentation(dataclasses.replace(options, max_class_share=share))
        targets = (augmentation(rgb, labels, np.random.default_rng(seed))[1] for seed in range(40))
        return sum(0 < int(target.sum()) < target.numel() for target in targets)

    assert mixed(0.75) > mixed(1.0)


def test_colours_are_distorted_within_bounds() -> None:
    rgb = np.full((8, 8, 3), (120, 90, 60), np.uint8)
    assert np.array_equal(distort(rgb, 0.0, np.random.default_rng(0)), rgb)
    several = {tuple(distort(rgb, 0.5, np.random.default_rng(seed))[0, 0].tolist()) for seed in range(10)}
    assert len(several) > 5


def test_images_beside_labels(tmp_path: Path) -> None:
    for name, value in (("b", 1), ("a", 0)):
        image = tmp_path / "images" / "train" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((33, 33, 3), 10 * value, np.uint8))
        write_label_map(tmp_path / "labels" / "train" / f"{name}.png", np.full((33, 33), value, np.uint8))
    source = source_of(tmp_path)
    assert [entry.image for entry in source.entries] == ["images/train/a.png", "images/train/b.png"]
    assert source.read(1)[1].max() == 1


def damaged(tmp_path: Path) -> Path:
    lines = write_scenes(tmp_path, 4, size=(64, 128))
    image = tmp_path / lines[2].split()[0]
    image.write_bytes(image.read_bytes()[:500])
    return image


def test_damaged_samples_are_stood_in_for_and_named(tmp_path: Path) -> None:
    image = damaged(tmp_path)
    samples = samples_of(tmp_path, dataclasses.replace(OPTIONS, allow_corrupted=1))
    batch = collate([samples[n] for n in range(4)])
    assert len(batch.failures) >= 1 and all(str(image) in failure for failure in batch.failures)
    assert all(not image.name.endswith(name.rpartition("/")[2]) for name in batch.names)
    noted = CorruptedSamples(1)
    assert len(noted.note(batch.failures)) == 1 and noted.note(batch.failures) == []
    with pytest.raises(InputError, match="cannot be read, more than") as caught:
        noted.note(["other.png: damaged"])
    assert image.name in str(caught.value) and "other.png" in str(caught.value)


def test_damaged_samples_end_the_training_by_default(tmp_path: Path) -> None:
    image = damaged(tmp_path)
    samples = samples_of(tmp_path)
    with pytest.raises(InputError, match=image.name):
        for n in range(4):
            samples[n]


def test_lists_without_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.png\n")
    with pytest.raises(InputError, match="has no labels"):
        source_of(tmp_path, path)


def test_sizes_that_do_not_fit_together() -> None:
    samples = [
        Augmentation(OPTIONS, random=False)(
            np.zeros((n, 40, 3), np.uint8), np.zeros((n, 40), np.uint8), np.random.default_rng(0)
        )
        for n in (33, 34)
    ]
    with pytest.raises(InputError, match="different sizes"):
        collate([Sample(*each, "x.png", ()) for each in samples])
