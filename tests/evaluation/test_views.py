"""What each protocol feeds a network, and what it makes of the scores."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from evaluation.protocols import MULTI_SCALE, PROTOCOLS, Logits, Protocol, ProtocolSettings, protocol
from pytorch_icnet.imaging import imresize, postprocess, preprocess
from pytorch_icnet.imaging.images import read_image, read_label_map
from pytorch_icnet.imaging.inputs import ModelInput, pillow_nearest
from pytorch_icnet.imaging.normalization import CAFFE, IMAGENET, TORCHVISION, UNIT_BGR, Normalization
from tests.golden import shared

Size = tuple[int, int]

IMAGE = np.random.default_rng(3).integers(0, 256, (40, 72, 3), dtype=np.uint8)
SIZE = (40, 72)
CLASSES = 5


def smooth(size: Size, seed: int = 0, channels: int = CLASSES) -> torch.Tensor:
    """Scores CxHxW that vary over some pixels."""
    coarse = torch.randn(1, channels, 7, 11, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(4 * coarse, size, mode="bicubic")[0]


def network(blob: torch.Tensor) -> torch.Tensor:
    """A stand-in: a convolution whose scores depend on colours and places."""
    weight = torch.randn(CLASSES, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    return F.conv2d(blob / blob.std(), weight, padding=1)[0]


def finished(ours: Protocol) -> npt.NDArray[np.uint8]:
    """The label map of the image from the stand-in's scores."""
    logits = (Logits(network(view.blob(IMAGE)), view.size) for view in ours.inputs(SIZE))
    return ours.finish(logits, SIZE).labels


@pytest.mark.parametrize("name", PROTOCOLS)
def test_label_maps_have_their_size(name: str) -> None:
    ours = protocol(name, ProtocolSettings(input_size=(33, 65)))
    labels = finished(ours)
    assert labels.shape == ours.label_size(SIZE) == ((33, 65) if name == "semseg" else SIZE)
    assert labels.dtype == np.uint8
    logits = [Logits(network(view.blob(IMAGE)), view.size) for view in ours.inputs(SIZE)]
    probabilities = ours.probabilities(logits, SIZE)
    assert probabilities.shape == (*labels.shape, CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert (probabilities.argmax(-1) == labels).mean() > 0.999, "logits and their softmax differ by ties alone"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_views_are_told_apart_and_shared(name: str) -> None:
    ours = protocol(name)
    views = ours.inputs(SIZE)
    assert views == protocol(name).inputs(SIZE)
    assert len(set(views)) == len(views)
    assert json.loads(json.dumps(ours.as_data())) == ours.as_data()


def test_official_and_cityscapes_share_a_forward_pass() -> None:
    assert protocol("official").inputs(SIZE) == protocol("cityscapes").inputs(SIZE)
    assert set(protocol("official").inputs(SIZE)).isdisjoint(protocol("supervisely").inputs(SIZE))


def test_official_is_the_imaging() -> None:
    ours = protocol("official", ProtocolSettings(input_size=(33, 65)))
    (view,) = ours.inputs(SIZE)
    blob = view.blob(IMAGE)
    assert torch.equal(blob, preprocess(IMAGE, (33, 65)))
    quarter = smooth((9, 17))
    labels = ours.finish([Logits(quarter, view.size, quarter=True)], SIZE).labels
    assert np.array_equal(labels, postprocess(quarter, SIZE, full_size=(33, 65)))


@pytest.mark.parametrize(
    ("pixels", "formula"),
    [
        (CAFFE, lambda r, g, b: (b - 103.939, g - 116.779, r - 123.68)),
        (IMAGENET, lambda r, g, b: ((r - 123.675) / 58.395, (g - 116.28) / 57.12, (b - 103.53) / 57.375)),
        (
            TORCHVISION,
            lambda r, g, b: ((r / 255 - 0.485) / 0.229, (g / 255 - 0.456) / 0.224, (b / 255 - 0.406) / 0.225),
        ),
        (UNIT_BGR, lambda r, g, b: (b / 255, g / 255, r / 255)),
    ],
)
def test_pixels(pixels: Normalization, formula: Callable[..., tuple[npt.NDArray[np.float64], ...]]) -> None:
    expected = np.stack(formula(*IMAGE.astype(np.float64).transpose(2, 0, 1)))
    blob = pixels.blob(IMAGE)
    assert blob.dtype == torch.float32
    np.testing.assert_allclose(blob[0].numpy(), expected, rtol=2e-6, atol=2e-6 * np.abs(expected).max())


def test_mirrored_views() -> None:
    plain, mirrored = (ModelInput((33, 65), "opencv", IMAGENET, flip).blob(IMAGE) for flip in (False, True))
    assert torch.equal(plain.flip(-1), mirrored)
    assert not torch.equal(plain, mirrored)


def test_the_weights_pixels_win() -> None:
    for name in PROTOCOLS:
        assert all(
            view.pixels == TORCHVISION for view in protocol(name, ProtocolSettings(pixels=TORCHVISION)).inputs(SIZE)
        )


def test_sizes_that_the_network_takes() -> None:
    grid = ProtocolSettings(fit=lambda size: ((size[0] + 30) // 32 * 32 + 1, (size[1] + 30) // 32 * 32 + 1))
    assert [view.size for view in protocol("liminn", grid).inputs((1024, 2048))] == [(1025, 2049)]
    assert [view.size for view in protocol("mmseg", grid).inputs((1024, 2048))] == [(1025, 2049)]


def test_mmseg_fits_any_image_into_its_box() -> None:
    sizes = {
        size: protocol("mmseg").inputs(size)[0].size for size in [(1024, 2048), (192, 384), (201, 333), (600, 400)]
    }
    assert sizes == {
        (1024, 2048): (1024, 2048),
        (192, 384): (1024, 2048),
        (201, 333): (1024, 1696),
        (600, 400): (1536, 1024),
    }


def test_mmseg_resizes_logits() -> None:
    ours = protocol("mmseg")
    planes = smooth((64, 128))
    resized = F.interpolate(planes[None].double(), SIZE, mode="bilinear", align_corners=False)[0]
    labels = ours.finish([Logits(planes, (64, 128))], SIZE).labels
    assert np.array_equal(labels, resized.argmax(0).numpy())
    probabilities_resized = F.interpolate(planes.softmax(0)[None], SIZE, mode="bilinear", align_corners=False)[0]
    assert not np.array_equal(labels, probabilities_resized.argmax(0).numpy()), "the order matters"


def test_mmseg_multi_scale() -> None:
    """The mean of the softmax over all views, mirrored ones turned back."""
    ours = protocol("mmseg", ProtocolSettings(scales=MULTI_SCALE, flip=True))
    views = ours.inputs(SIZE)
    assert [(view.size, view.flip) for view in views[:4]] == [
        ((20, 36), False), ((20, 36), True), ((30, 54), False), ((30, 54), True),
    ]  # fmt: skip
    assert len(views) == 12
    scores = [network(view.blob(IMAGE)) for view in views]
    total = torch.zeros(CLASSES, *SIZE, dtype=torch.float64)
    for view, planes in zip(views, scores, strict=True):
        turned = planes.double().flip(-1) if view.flip else planes.double()
        total += F.interpolate(turned[None], SIZE, mode="bilinear", align_corners=False)[0].softmax(0) / 12
    logits = [Logits(planes, view.size) for view, planes in zip(views, scores, strict=True)]
    np.testing.assert_allclose(ours.probabilities(logits, SIZE).transpose(2, 0, 1), total, atol=1e-6)
    assert (ours.finish(logits, SIZE).labels == total.argmax(0).numpy()).mean() > 0.999
    unturned = [logits[i ^ 1] for i in range(12)]
    assert np.abs(ours.probabilities(unturned, SIZE).transpose(2, 0, 1) - total.numpy()).max() > 0.01


def test_mmseg_published_sizes_and_pixels_of_each_view() -> None:
    """Its own test-time augmentation printed size and checksum of the resized image (blue, green, red) of each view."""
    folder = shared("golden", "peers")
    image = read_image(folder / "inputs" / "image_201x333.png")
    recorded = json.loads((folder / "mmseg_r18" / "meta.json").read_text())["tta12_image_201x333"]["views"]
    plain = Normalization("BGR")
    ours = protocol("mmseg", ProtocolSettings(scales=MULTI_SCALE, flip=True, pixels=plain)).inputs((201, 333))
    for view, theirs in zip(ours, recorded, strict=True):
        blob = view.blob(image)[0].numpy().astype(np.uint8)
        assert [*view.size] == theirs["img_shape"]
        assert zlib.crc32(blob.tobytes()) == theirs["uint8_crc32"], theirs


def test_liminn_at_the_images_own_size() -> None:
    ours = protocol("liminn")
    (view,) = ours.inputs(SIZE)
    assert (view.size, view.pixels) == (SIZE, TORCHVISION)
    planes = smooth(SIZE)
    prediction = ours.finish([Logits(planes, SIZE)], SIZE)
    assert np.array_equal(prediction.labels, planes.argmax(0).numpy())
    assert prediction.truncated is not None
    assert np.array_equal(prediction.truncated, planes.long().argmax(0).numpy())
    assert (prediction.truncated != prediction.labels).mean() > 0.02


def test_semseg_averages_logits() -> None:
    ours = protocol("semseg", ProtocolSettings(input_size=(33, 65)))
    plain, mirrored = smooth((33, 65), 0), smooth((33, 65), 1)
    labels = ours.finish([Logits(plain, (33, 65)), Logits(mirrored, (33, 65))], SIZE).labels
    assert np.array_equal(labels, ((plain + mirrored.flip(-1)) / 2).argmax(0).numpy())
    assert not np.array_equal(labels, (plain.softmax(0) + mirrored.flip(-1).softmax(0)).argmax(0).numpy())
    single = protocol("semseg", ProtocolSettings(input_size=(33, 65), flip=False))
    assert np.array_equal(single.finish([Logits(plain, (33, 65))], SIZE).labels, plain.argmax(0).numpy())


def test_semseg_resizes_images_as_scipy_did() -> None:
    """Its ``test.py`` printed the sum of an image that was grown from 1024x2048."""
    folder = shared("golden", "peers")
    recorded = json.loads((folder / "semseg_icnetBN" / "meta.json").read_text())["test_py"]
    image = seeded_image(1024, 2048, 60)
    (view,) = protocol("semseg", ProtocolSettings(pixels=Normalization("BGR"), flip=False)).inputs((1024, 2048))
    assert int(view.blob(image).sum(dtype=torch.float64)) == recorded["resized_uint8_sum"]
    matlab = ModelInput(view.size, "matlab", view.pixels).blob(image)
    assert int(matlab.sum(dtype=torch.float64)) != recorded["resized_uint8_sum"]


def test_semseg_resizes_labels_as_scipy_did() -> None:
    folder = shared("golden", "peers")
    validate = json.loads((folder / "semseg_icnetBN" / "meta.json").read_text())["validate_py"]
    recorded = validate["eval_flip"]["gt_of_frame0_at_1025x2049"]
    city = folder / "inputs" / "mini_cityscapes_128x256" / "gtFine" / "val" / "frankfurt"
    labels = read_label_map(city / "frankfurt_000000_000000_gtFine_labelIds.png")
    train_ids = protocol("semseg").settings.table.to_train_id[labels]
    resized = pillow_nearest(train_ids, (1025, 2049)).astype(np.int64)
    void = resized == 255
    assert (int(resized[~void].sum()), int(void.sum())) == (recorded["sum"], recorded["void"])
    matlab = imresize(train_ids, (1025, 2049), "nearest")
    assert int((matlab == 255).sum()) != recorded["void"]


def seeded_image(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """The peers' image of a seed: noise in blocks of 1, 4, 16 and 64 pixels."""
    random = np.random.default_rng(seed)
    planes = np.zeros((3, height, width))
    for block in (1, 4, 16, 64):
        coarse = random.normal(size=(1, 3, -(-height // block), -(-width // block)))[0]
        planes += coarse.repeat(block, 1).repeat(block, 2)[:, :height, :width]
    values = (planes / 2).astype(np.float32).transpose(1, 2, 0).astype(np.float64)
    return np.clip(np.rint(127.5 + 50 * values), 0, 255).astype(np.uint8)


def test_supervisely_resizes_probabilities_with_a_cubic_kernel() -> None:
    ours = protocol("supervisely", ProtocolSettings(input_size=(33, 65)))
    assert [view.resize for view in ours.inputs(SIZE)] == ["opencv"]
    planes = 3 * smooth((33, 65))
    probabilities = ours.probabilities([Logits(planes, (33, 65))], SIZE)
    softmax = planes.double().softmax(0).numpy()
    expected = np.stack([cv2.resize(plane, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for plane in softmax], axis=-1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert probabilities.min() < 0 or probabilities.max() > 1, "the kernel overshoots"


def test_quarter_scores_become_full_ones() -> None:
    quarter = smooth((9, 17))
    logits = Logits(quarter, (33, 65), quarter=True)
    assert logits.full_size == (33, 65)
    assert torch.allclose(logits.full()[:, ::4, ::4], quarter, atol=1e-6)
    assert Logits(quarter, (9, 17)).full() is quarter


def test_other_numbers_of_views_are_refused() -> None:
    ours = protocol("mmseg", ProtocolSettings(flip=True))
    with pytest.raises(ValueError, match="zip"):
        ours.probabilities([Logits(smooth(SIZE), SIZE)], SIZE)
