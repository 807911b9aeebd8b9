"""From a trained net to Caffe's files and back: the same weights, the same scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from converter import load_caffe
from icnet_common.errors import InputError
from prototxt import read_weights
from pytorch_icnet import ICNet, icnet, load
from training import to_caffe
from training.build import initialize

SIZE = (97, 129)


@pytest.fixture(scope="module")
def model() -> ICNet:
    torch.manual_seed(1)
    net = ICNet(4, merged=False, width=0.2, aux=True)
    initialize(net)
    net.train()
    for _ in range(10):
        net(torch.randn(2, 3, *SIZE))
    net.card = replace(net.card, input_size=SIZE)
    return net.eval()


def test_scores_of_the_files_are_the_nets(model: ICNet, tmp_path: Path) -> None:
    written = to_caffe.write_caffe_models(tmp_path, "icnet", model)
    names = ["icnet.prototxt", "icnet.caffemodel", "icnet_bnnomerge.prototxt", "icnet_bnnomerge.caffemodel"]
    assert [path.name for path in written] == names
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = model(x)
        unmerged = load_caffe(written[2], written[3])(x)
        merged = load_caffe(written[0], written[1])(x)
        own = load(written[3])(x)
    assert torch.equal(own, expected)
    assert (unmerged - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (merged - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_auxiliary_heads_come_along(model: ICNet, tmp_path: Path) -> None:
    written = to_caffe.write_caffe_models(tmp_path, "icnet", model)
    assert {"conv6_sub2", "conv6_sub4"} <= set(read_weights(written[3]))
    again = icnet(written[3], merged=False, aux=True)
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(again.state_dict()[key], value), key


def test_weights_that_change_on_the_way_are_not_written(
    model: ICNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(net: ICNet) -> to_caffe.Blobs:
        blobs = original(net)
        blobs["conv_sub2"][0][0, 0, 0, 0] += 1
        return blobs

    original = to_caffe.caffe_blobs
    monkeypatch.setattr(to_caffe, "caffe_blobs", damaged)
    with pytest.raises(InputError, match=r"read again 'conv_sub2\.weight'"):
        to_caffe.write_caffe_models(tmp_path, "icnet", model)
    assert list(tmp_path.iterdir()) == []
