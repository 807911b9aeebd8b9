"""Files of weights: told apart by content, refused in one line."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from icnet_common.errors import InputError
from prototxt import write_weights
from pytorch_icnet import ICNet, icnet, load
from pytorch_icnet.card import card_of
from pytorch_icnet.weights.checkpoints import read_checkpoint, write_checkpoint
from pytorch_icnet.weights.known import KNOWN_WEIGHTS, by_file, by_md5

from ..nets import blobs_of, net_of, seeded, write_caffemodel

IMAGE = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> ICNet:
    return seeded(merged=False, num_classes=7, aux=True)


def test_caffemodel_safetensors_and_pth_are_one_net(tmp_path: Path, model: ICNet) -> None:
    caffemodel = write_caffemodel(tmp_path / "a.caffemodel", model)
    write_checkpoint(tmp_path / "a.safetensors", read_checkpoint(caffemodel))
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "a.pth"
    )
    with torch.no_grad():
        expected = model(IMAGE)
        for suffix in ("caffemodel", "safetensors", "pth"):
            file = (tmp_path / f"a.{suffix}").rename(tmp_path / f"{suffix}.bin")
            loaded = load(file)
            assert isinstance(loaded, ICNet) and not loaded.training and not loaded.merged
            assert loaded.num_classes == 7 and loaded.card.input_size == (1025, 2049)
            assert torch.equal(loaded(IMAGE), expected), suffix


def test_provenance_goes_with_the_weights(tmp_path: Path, model: ICNet) -> None:
    caffemodel = write_caffemodel(tmp_path / "a.caffemodel", model)
    original = read_checkpoint(caffemodel)
    write_checkpoint(tmp_path / "b.safetensors", original)
    loaded = load(tmp_path / "b.safetensors")
    assert isinstance(loaded, ICNet) and loaded.card.provenance == original.provenance
    assert card_of(loaded).weights_data()["file"] == "a.caffemodel"
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["pytorch_icnet"])["architecture"] == "icnet"


def test_auxiliary_heads_are_kept_for_training_only(tmp_path: Path, model: ICNet) -> None:
    file = write_caffemodel(tmp_path / "a.caffemodel", model)
    assert not hasattr(load(file), "conv6_sub4")
    trained = icnet(file, merged=False, aux=True)
    assert torch.equal(trained.conv6_sub4.weight, model.conv6_sub4.weight)


def test_the_form_asked_for(tmp_path: Path, model: ICNet) -> None:
    file = write_caffemodel(tmp_path / "a.caffemodel", model)
    assert icnet(file).merged and not icnet(file, merged=False).merged
    merged = write_caffemodel(tmp_path / "m.caffemodel", icnet(file))
    assert icnet(merged).merged
    with pytest.raises(InputError, match="cannot be taken out"):
        icnet(merged, merged=False)


def test_pruned_channels_follow_the_file(tmp_path: Path) -> None:
    model = seeded(channels={"conv4_2_1x1_reduce": 3, "conv5_1_3x3": 5})
    loaded = load(write_caffemodel(tmp_path / "a.caffemodel", model))
    with torch.no_grad():
        assert torch.equal(loaded(IMAGE), model(IMAGE))


def test_a_given_pyramid_is_stored(tmp_path: Path, model: ICNet) -> None:
    pyramid = {
        "pool1": (3, 4, 3, 4),
        "pool2": (2, 2, 1, 2),
        "pool3": (1, 2, 1, 1),
        "pool6": (1, 1, 1, 1),
        "interp": (3, 4),
    }
    checkpoint = read_checkpoint(write_caffemodel(tmp_path / "a.caffemodel", model))
    checkpoint.pyramid = pyramid
    write_checkpoint(tmp_path / "b.safetensors", checkpoint)
    model.pyramid = pyramid
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "b.safetensors")(IMAGE), model(IMAGE))


class Harmful:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.victim,))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Harmful(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="could run code"):
        load(tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Harmful(tmp_path / "ran")))
    with pytest.raises(InputError):
        load(tmp_path / "bare.pth")
    assert not (tmp_path / "ran").exists()


def damaged(name: str, whole: bytes) -> bytes:
    return {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "text": b'name: "net"\ninput: "data"\n',
        "zip": b"PK\x03\x04 and nothing more",
        "safetensors": struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"' + bytes(20),
        "noise": bytes(range(256)) * 8,
    }[name]


@pytest.mark.parametrize("name", ["empty", "half", "html", "text", "zip", "safetensors", "noise"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, model: ICNet, name: str) -> None:
    whole = write_caffemodel(tmp_path / "a.caffemodel", model).read_bytes()
    file = tmp_path / "damaged.caffemodel"
    file.write_bytes(damaged(name, whole))
    with pytest.raises(InputError) as error:
        load(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_missing_and_unknown_keys_are_all_named(tmp_path: Path, model: ICNet) -> None:
    state = model.state_dict()
    del state["conv_sub4.weight"], state["conv1_sub1/bn.bias"]
    state["strange.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"missing: conv1_sub1/bn.bias, conv_sub4.weight; unknown: strange.weight"):
        load(tmp_path / "a.pth")


def test_a_layer_missing_from_a_caffemodel_is_named(tmp_path: Path, model: ICNet) -> None:
    blobs = blobs_of(model)
    net = net_of(blobs)
    del blobs["conv4_3_3x3"], blobs["conv_sub2/bn"]
    blobs["conv6_cls"] = blobs["conv6_cls"][:1]
    write_weights(tmp_path / "a.caffemodel", net, blobs)
    with pytest.raises(
        InputError, match=r"conv4_3_3x3, conv_sub2/bn; 1 do not fit: 'conv6_cls' \(1 blobs, expected 2\)"
    ):
        load(tmp_path / "a.caffemodel")


def test_known_weights() -> None:
    assert len({known.md5 for known in KNOWN_WEIGHTS}) == len(KNOWN_WEIGHTS) == 5
    known = by_file("icnet_cityscapes_train_30k.caffemodel")
    assert known is not None and by_md5(known.md5.upper()) is known
    assert (known.mean_iou, known.pixel_accuracy, known.input_size) == (67.7, 94.5, (1025, 2049))
