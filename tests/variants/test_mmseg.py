"""mmsegmentation's ICNet without its goldens: its keys, its files, its sizes, its beginning."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from icnet_common.errors import InputError, WeightsError
from pytorch_icnet.imaging.normalization import IMAGENET
from pytorch_icnet.variants import mmseg
from pytorch_icnet.variants.mmseg import MMSegICNet

State = dict[str, torch.Tensor]

KEYS = {
    18: (240, 201, 25_174_393, "2322fcba652a7ae9"),
    50: (438, 366, 47_827_833, "33e443f8d4d6fe5f"),
    101: (744, 621, 66_819_961, "6239b38a8ac9ca8c"),
}
"""By depth: keys, those without ``num_batches_tracked``, parameters, and a sum of keys and shapes in their order."""

PLACES = [(0, 0, 0), (5, 64, 98), (11, 32, 50), (18, 17, 81)]

SCORES = [-0.2863998031, 1.4657303959, -0.4405898614, 0.3687101855]
"""Of :func:`small` at some places, when the network agreed with mmsegmentation's own outputs."""


def small(num_classes: int = 19, *, aux: bool = True) -> MMSegICNet:
    """Depth 18 with weights that follow from their keys, in eval mode and float64."""
    model = MMSegICNet(18, num_classes, aux=aux).double().eval()
    for key, value in model.state_dict().items():
        random = np.random.default_rng(zlib.crc32(key.encode()))
        if value.dim() == 4:
            value.copy_(torch.from_numpy(random.normal(size=value.shape) * np.sqrt(2 / value[0].numel())))
        elif key.endswith(("weight", "running_var")):
            value.copy_(torch.from_numpy(random.uniform(0.5, 1, value.shape)))
        elif value.dim() == 1:
            value.copy_(torch.from_numpy(random.normal(size=value.shape) * 0.1))
    return model


def image(height: int = 65, width: int = 99) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(1, 3, height, width)))


@pytest.mark.parametrize("depth", KEYS)
def test_keys_and_shapes_in_their_order(depth: int) -> None:
    with torch.device("meta"):
        model = MMSegICNet(depth)
    state = model.state_dict()
    text = "\n".join(f"{key} {tuple(value.shape)}" for key, value in state.items())
    counted = [key for key in state if not key.endswith("num_batches_tracked")]
    parameters = sum(value.numel() for value in model.parameters())
    sha256 = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert (len(state), len(counted), parameters, sha256) == KEYS[depth]


def test_scores_stay() -> None:
    with torch.inference_mode():
        scores = small()(image())
    assert scores.shape == (1, 19, 65, 99)
    found = [float(scores[0, channel, row, column]) for channel, row, column in PLACES]
    assert found == pytest.approx(SCORES, abs=1e-9)


@pytest.mark.parametrize("aux", [True, False])
@pytest.mark.parametrize("classes", [19, 3])
def test_a_state_says_what_it_is_of(classes: int, aux: bool) -> None:
    model = small(classes, aux=aux)
    state: State = dict(model.state_dict())
    assert mmseg.matches(state)
    built = mmseg.build(state)
    assert (built.depth, built.num_classes, built.aux, built.training) == (18, classes, aux, False)
    assert (built.card.input_size, built.card.pixels, built.card.protocol) == ((1024, 2048), IMAGENET, "mmseg")
    assert all(value.dtype == torch.float32 for value in built.parameters())
    with torch.inference_mode():
        assert torch.equal(built.double()(image()), small_float(model)(image()))


def small_float(model: MMSegICNet) -> nn.Module:
    """With its weights rounded as a file rounds them."""
    return model.float().double()


def test_old_prefix_and_missing_counts() -> None:
    model = small()
    state = {
        key.replace("backbone.backbone.", "backbone.resnet."): value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert not any(key.startswith("backbone.backbone.") for key in state) and mmseg.matches(state)
    with torch.inference_mode():
        assert torch.equal(mmseg.build(state).double()(image()), small_float(model)(image()))


def test_other_networks_do_not_match() -> None:
    state: State = dict(small().state_dict())
    for key in ("neck.cff_24.conv_low.conv.weight", "backbone.backbone.stem.0.weight"):
        assert not mmseg.matches({name: value for name, value in state.items() if name != key})
    assert not mmseg.matches({**state, "decode_head.conv_seg.weight": torch.zeros(19)})
    assert not mmseg.matches({"conv6_cls.weight": torch.zeros(19, 128, 1, 1)})


def test_states_that_are_not_whole() -> None:
    state: State = dict(small().state_dict())
    del state["neck.cff_12.conv_low.bn.bias"]
    state["backbone.conv_sub2.conv.weight"] = torch.zeros(256, 64, 1, 1)
    state["more"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        mmseg.build(state)
    assert str(caught.value) == (
        "not the weights of mmsegmentation's ICNet: missing: neck.cff_12.conv_low.bn.bias; unknown: more; "
        "wrong shapes: backbone.conv_sub2.conv.weight [256, 64, 1, 1], expected [256, 128, 1, 1]"
    )
    shorter = {key: value for key, value in small().state_dict().items() if ".layer4.1." not in key}
    with pytest.raises(WeightsError, match="of no known ResNet"):
        mmseg.build(shorter)


def test_shapes_without_content_take_no_memory() -> None:
    """A file of some bytes may claim any number of classes."""
    state: State = dict(small().state_dict())
    state["decode_head.conv_seg.weight"] = torch.zeros(1).expand(1 << 40, 128, 1, 1)
    with pytest.raises(WeightsError, match=r"wrong shapes: decode_head\.conv_seg\.bias"):
        mmseg.build(state)


def test_smallest_size() -> None:
    model = small()
    with torch.inference_mode():
        assert model(image(14, 15)).shape == (1, 19, 14, 15)
        with pytest.raises(InputError, match="13x20: expected at least 14x14"):
            model(image(13, 20))


def test_cascade_scores() -> None:
    with torch.inference_mode():
        decode, first, zeroth = small().cascade_scores(image())
    assert (decode.shape, first.shape, zeroth.shape) == ((1, 19, 9, 13), (1, 19, 9, 13), (1, 19, 5, 7))


def test_a_beginning() -> None:
    """No residual branch adds anything, scores are small, convolutions keep the variance of gradients."""
    torch.manual_seed(0)
    model = MMSegICNet(18)
    mmseg.initialize(model)
    state = model.state_dict()
    for block in ("layer1.0", "layer3.1", "layer4.0"):
        assert not state[f"backbone.backbone.{block}.bn2.weight"].any()
        assert state[f"backbone.backbone.{block}.bn1.weight"].all()
    assert state["decode_head.conv_seg.weight"].std().item() == pytest.approx(0.01, rel=0.1)
    assert not state["decode_head.conv_seg.bias"].any()
    weight = state["backbone.psp_bottleneck.conv.weight"]
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    again = MMSegICNet(18)
    torch.manual_seed(0)
    MMSegICNet(18)
    mmseg.initialize(again)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
