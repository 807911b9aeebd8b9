"""pytorch-semseg's and Supervisely's ICNet give what their own code gave, and differ from Caffe's by one stride."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from evaluation.cli import main
from evaluation.data.labels import read_truth
from evaluation.protocols import Logits, ModelInput, ProtocolSettings, protocol
from icnet_common.errors import InputError
from pytorch_icnet import ICNet
from pytorch_icnet.card import ModelCard
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.imaging.inputs import pillow_nearest
from pytorch_icnet.imaging.normalization import CAFFE, UNIT_BGR
from pytorch_icnet.pyramid import REFERENCE_SIZE, windows
from pytorch_icnet.variants import names
from pytorch_icnet.variants.semseg import SemSegICNet, from_icnet, to_icnet
from pytorch_icnet.variants.tiles import tiled_probabilities
from training.losses import CascadeLoss

from ..golden import shared
from . import goldens

ORIGINAL, COPY = "semseg_icnetBN", "sly_icnet_bn"
FULL = (1025, 2049)
ROWS = [0, 1, 2, 3, 510, 1023, 1024]
NOISE = 1e-3


@cache
def net(*, caffe_faithful: bool = False) -> SemSegICNet:
    return goldens.load_strict(SemSegICNet(caffe_faithful=caffe_faithful))


@cache
def full_scores(seed: int) -> torch.Tensor:
    """float32 CxHxW at 1025x2049."""
    with torch.no_grad():
        scores: torch.Tensor = net()(goldens.image(1, 3, *FULL, seed=seed))[0]
    return scores


@pytest.mark.parametrize("folder", [ORIGINAL, COPY])
def test_keys_shapes_and_order(folder: str) -> None:
    ours = SemSegICNet()
    assert goldens.keys_of(ours) == goldens.published_keys(folder)
    assert goldens.parameters(ours) == goldens.data(folder, "meta.json")["counts"]["parameters"]


def test_counts() -> None:
    """With and without batch normalisation, as the published classes print them."""
    with_norms, without = SemSegICNet(), SemSegICNet(batch_norm=False)
    assert (len(with_norms.state_dict()), goldens.parameters(with_norms)) == (408, 7_757_945)
    assert (len(without.state_dict()), goldens.parameters(without)) == (140, 7_742_649)
    assert all(key.endswith((".weight", ".bias")) for key in without.state_dict())


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_in_float32(seed: int) -> None:
    theirs, ours = goldens.arrays(ORIGINAL), full_scores(seed)
    assert goldens.distance(ours[:, ::9, ::9], theirs[f"1025x2049_s{seed}/logits_sub9_ref64"]) < NOISE
    assert goldens.distance(ours[:, ROWS, ::13], theirs[f"1025x2049_s{seed}/logits_rows_ref64"]) < NOISE
    assert goldens.differing(ours.argmax(0).numpy(), goldens.labels(ORIGINAL, f"label_1025x2049_s{seed}.png")) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_in_float64(seed: int) -> None:
    theirs = goldens.arrays(ORIGINAL)
    with torch.no_grad():
        ours = goldens.load_strict(SemSegICNet()).double()(goldens.image(1, 3, *FULL, seed=seed).double())[0]
    assert goldens.distance(ours[:, ::9, ::9], theirs[f"1025x2049_s{seed}/logits_sub9_ref64"]) < 1e-5
    assert goldens.distance(ours[:, ROWS, ::13], theirs[f"1025x2049_s{seed}/logits_rows_ref64"]) < 1e-5


def test_mean_with_the_mirror_image() -> None:
    with torch.no_grad():
        mirrored = net()(goldens.image(1, 3, *FULL, seed=0).flip(-1))[0].flip(-1)
    ours = ((full_scores(0) + mirrored) / 2)[:, ::27, ::27]
    assert goldens.distance(ours, goldens.arrays(ORIGINAL)["1025x2049_s0/flipmean_sub27"]) < 2 * NOISE


def test_the_stride_is_what_the_goldens_show() -> None:
    """Negative control: with Caffe's stride, all else equal, the scores are others."""
    with torch.no_grad():
        ours = net(caffe_faithful=True)(goldens.image(1, 3, *FULL, seed=0))[0]
    theirs = goldens.arrays(ORIGINAL)["1025x2049_s0/logits_sub9_ref64"]
    assert goldens.distance(ours[:, ::9, ::9], theirs) > theirs.std()


def trained(
    folder: str, *, published_mistakes: bool
) -> tuple[SemSegICNet, dict[str, torch.Tensor], float, list[float]]:
    """One forward and backward pass in float64: the net, its scores, its loss and the loss of each branch."""
    model = goldens.load_strict(SemSegICNet(published_mistakes=published_mistakes)).double().train()
    settings = goldens.data(folder, "meta.json")["train"]
    label = goldens.targets((2, 193, 321), 22, settings["ignore_index"])
    scores = model(goldens.image(2, 3, 193, 321, seed=12).double())
    weights = torch.tensor(0.4).pow(torch.arange(3)).tolist()  # as published, in float32
    criterion = CascadeLoss(weights, compare="logits", ignore=settings["ignore_index"])
    loss = criterion(scores, label)
    loss.backward()
    outputs = dict(zip(("sub124", "sub24", "sub4"), scores, strict=True))
    branches = [branch.item() for branch in criterion.branches(scores, label)]
    return model, outputs, loss.item(), branches


@pytest.mark.parametrize(("folder", "mistakes"), [(ORIGINAL, True), (COPY, False)])
def test_training(folder: str, mistakes: bool) -> None:
    model, outputs, loss, branches = trained(folder, published_mistakes=mistakes)
    theirs, known = goldens.arrays(folder), goldens.data(folder, "meta.json")["train"]
    assert goldens.distance(outputs["sub124"][:, :, ::2, ::2], theirs["train/sub124_ref64"]) < 1e-5
    assert goldens.distance(outputs["sub24"], theirs["train/sub24_ref64"]) < 1e-5
    assert goldens.distance(outputs["sub4"], theirs["train/sub4_ref64"]) < 1e-5
    assert loss == pytest.approx(known["loss_ref64"], rel=1e-8)
    assert branches == pytest.approx(known["unweighted_terms_ref64"], rel=1e-8)
    goldens.grown_norms(model, goldens.data(folder, "train_grads_bn.json"), 1e-9)


def test_the_second_update_is_only_on_request() -> None:
    """Without it the net is Supervisely's; pytorch-semseg's statistics differ in that block alone, twice counted."""
    model, *_ = trained(ORIGINAL, published_mistakes=False)
    wrong = goldens.wrong_buffers(model, goldens.data(ORIGINAL, "train_grads_bn.json"), 1e-9)
    assert wrong and all(key.startswith("res_block3_identity.") for key in wrong)
    assert int(model.get_buffer("res_block3_identity.layers.0.cbr1.cbr_unit.1.num_batches_tracked")) == 1


def test_accuracy_of_supervisely() -> None:
    """Of the finest branch, as the plugin logs it."""
    _, outputs, *_ = trained(COPY, published_mistakes=False)
    label = goldens.targets((2, 193, 321), 22, 255)
    resized = F.interpolate(outputs["sub124"], (193, 321), mode="bilinear", align_corners=True)
    ours = float((resized.argmax(1) == label)[label != 255].double().mean())
    assert ours == pytest.approx(goldens.data(COPY, "meta.json")["train"]["accuracy_ref64"], abs=1e-12)


@pytest.mark.parametrize("flip", [True, False])
def test_validate_py(flip: bool) -> None:
    """The published evaluation's figures and first label map, through the protocol."""
    root = shared("golden", "peers", "inputs", "mini_cityscapes_128x256")
    ours = protocol("semseg", ProtocolSettings(input_size=FULL, pixels=UNIT_BGR, flip=flip))
    tally = ours.tally()
    for index in range(3):
        stem = f"frankfurt_000000_00000{index}"
        rgb = read_image(root / "leftImg8bit" / "val" / "frankfurt" / f"{stem}_leftImg8bit.png")
        truth = read_truth(root / "gtFine" / "val" / "frankfurt" / f"{stem}_gtFine_labelIds.png")
        prediction = ours.finish([scores_of(net(), rgb, view) for view in ours.inputs((128, 256))], (128, 256))
        tally.add(index, ours.measure(prediction, truth, stem))
        if index == 0:
            name = f"validate_{'flip' if flip else 'noflip'}_{stem}.png"
            assert goldens.differing(prediction.labels, goldens.labels(ORIGINAL, name)) < 1e-4
    known = goldens.data(ORIGINAL, "meta.json")["validate_py"]["eval_flip" if flip else "no_eval_flip"]
    result = tally.result()
    assert result["mean_iou"] == pytest.approx(known["score"]["Mean IoU : \t"], abs=2e-6)
    assert result["pixel_accuracy"] == pytest.approx(known["score"]["Overall Acc: \t"], abs=2e-6)
    assert goldens.distance(result.classes.columns["iou"], np.array(list(known["class_iou"].values()))) < 5e-6


@pytest.mark.slow
def test_icnet_eval_with_other_colours(tmp_path: Path) -> None:
    """``validate.py``'s figures from file to file; without the option the net is fed the official means."""
    torch.save({"model_state": net().state_dict()}, tmp_path / "w.pkl")
    root = shared("golden", "peers", "inputs", "mini_cityscapes_128x256")
    known = goldens.data(ORIGINAL, "meta.json")["validate_py"]["no_eval_flip"]["score"]
    data = ("--split", "val", "--data-root", str(root), "--weights", str(tmp_path / "w.pkl"), "--device", "cpu")
    found = {}
    for pixels in ((), ("--pixels", "unit-bgr")):
        where = ("--save-root", str(tmp_path / f"out{len(pixels)}"), "--json", str(tmp_path / "r.json"))
        done = CliRunner().invoke(main, [*data, *where, "--protocol", "semseg", "--no-flip", *pixels])
        assert done.exit_code == 0, done.output
        found[bool(pixels)] = json.loads((tmp_path / "r.json").read_text())["scores"]["mean_iou"]
    assert found[True] == pytest.approx(known["Mean IoU : \t"], abs=1e-5)
    assert abs(found[False] - known["Mean IoU : \t"]) > 1e-3


def scores_of(model: nn.Module, rgb: np.ndarray, view: ModelInput) -> Logits:
    with torch.no_grad():
        return Logits(model(view.blob(rgb))[0], view.size)


def test_test_py() -> None:
    """One image as ``test.py`` predicts it: Pillow's resizing, the official means, the label map resized back."""
    rgb = goldens.rules().seeded_image(1024, 2048, 60)
    ours = protocol("semseg", ProtocolSettings(input_size=FULL, pixels=CAFFE, flip=False))
    prediction = ours.finish([scores_of(net(), rgb, view) for view in ours.inputs((1024, 2048))], (1024, 2048))
    found = pillow_nearest(prediction.labels, (1024, 2048))
    assert goldens.differing(found, goldens.labels(ORIGINAL, "label_testpy_1024x2048.png")) < 1e-4


def test_supervisely_predicts_an_image() -> None:
    rgb = read_image(shared("golden", "peers", "inputs", "image_201x333.png"))
    ours = protocol("supervisely", ProtocolSettings(input_size=FULL))
    (view,) = ours.inputs((201, 333))
    scores = scores_of(net(), rgb, view)
    probabilities = ours.probabilities([scores], (201, 333))
    theirs = goldens.arrays(COPY)
    assert goldens.distance(probabilities[::3, ::3], theirs["image_201x333/prob_sub3_ref64"]) < 5e-3
    assert goldens.distance(probabilities[::3, ::3], theirs["image_201x333/prob_sub3"]) < 5e-3
    assert (
        goldens.differing(ours.finish([scores], (201, 333)).labels, goldens.labels(COPY, "label_image_201x333.png"))
        < 1e-4
    )


@pytest.mark.slow
def test_tile_predict() -> None:
    """As published later tiles overwrite earlier ones; averaged, which is the default, the seams differ."""
    x = goldens.image(1, 3, 1100, 2100, seed=61)
    ours = tiled_probabilities(net(), x, overwrite=True)[0]
    assert goldens.distance(ours[:, ::20, ::20], goldens.arrays(ORIGINAL)["tile/prob_sub20"]) < 1e-3
    theirs = goldens.labels(ORIGINAL, "label_tile_predict_1100x2100.png")
    assert goldens.differing(ours.argmax(0).numpy(), theirs) < 1e-4


class Still(nn.Module):
    """Scores that follow from the pixel alone, for tiles of a size; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.card = ModelCard(num_classes=2, input_size=(5, 7))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-2:] == self.card.input_size
        self.calls += 1
        return torch.cat([x, -x], 1)


def test_tiles_of_what_needs_no_tiles() -> None:
    """Where a net looks at single pixels, tiling changes nothing, however it is done."""
    x = torch.randn(2, 1, 9, 17, generator=torch.Generator().manual_seed(0))
    for options in ({}, {"overwrite": True}, {"mirror": False}):
        still = Still()
        torch.testing.assert_close(tiled_probabilities(still, x, **options), torch.cat([x, -x], 1).softmax(1))
        assert still.calls == 16 * (1 if options.get("mirror") is False else 2)
    position = Positioned()
    averaged, overwritten = (tiled_probabilities(position, x, overwrite=each) for each in (False, True))
    assert not torch.allclose(averaged, overwritten)


class Positioned(Still):
    """Scores that also follow from where in its tile a pixel is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + torch.arange(7.0))


# --- against Caffe's net ---------------------------------------------------------------------------------------------


def seeded(batch_norm: bool, *, caffe_faithful: bool) -> SemSegICNet:
    """Random weights and statistics that keep the signal's size."""
    torch.manual_seed(0)
    model = SemSegICNet(5, batch_norm, caffe_faithful=caffe_faithful).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model


IMAGE = torch.randn(1, 3, *FULL, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_faithful_form_is_caffes_net(batch_norm: bool) -> None:
    """At 1025x2049, where both have the prototxt's windows; as published it is another function."""
    with torch.no_grad():
        faithful = seeded(batch_norm, caffe_faithful=True)
        ours, caffe = faithful(IMAGE), to_icnet(faithful).double()(IMAGE)
        published = seeded(batch_norm, caffe_faithful=False)(IMAGE)
    assert float((ours - caffe).abs().max() / caffe.abs().max()) < 1e-12
    assert float((published - caffe).abs().max() / caffe.abs().max()) > 1e-3


def test_training_scores_of_the_faithful_form_are_caffes() -> None:
    """Given the same windows: those of training, size // bins, which fill features of 6x12 without rounding."""
    size = (161, 353)
    features = tuple((n - 1) // 32 + 1 for n in size)
    faithful = seeded(False, caffe_faithful=True).train()
    caffe = to_icnet(faithful).double()
    pyramid = {f"pool{bins}": tuple(n // bins for n in features) * 2 for bins in (1, 2, 3, 6)}
    assert caffe.pyramid is None and windows(*REFERENCE_SIZE)["pool6"] == (8, 15, 5, 10)
    caffe.pyramid = pyramid
    x = IMAGE[..., : size[0], : size[1]]
    with torch.no_grad():
        for ours, theirs in zip(faithful.cascade_scores(x), caffe.cascade_scores(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        published = seeded(False, caffe_faithful=False).train().cascade_scores(x)[0]
        assert float((published - faithful.cascade_scores(x)[0]).abs().max()) > 0.1


@pytest.mark.parametrize("batch_norm", [True, False])
def test_names_there_and_back(batch_norm: bool) -> None:
    model = seeded(batch_norm, caffe_faithful=False)
    back = from_icnet(to_icnet(model))
    ours, theirs = model.state_dict(), back.state_dict()
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        if not key.startswith(names.UNUSED):
            torch.testing.assert_close(theirs[key], value, msg=key)


def test_caffe_nets_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="aux=True"):
        from_icnet(ICNet())
    with pytest.raises(InputError, match="numbers of channels"):
        from_icnet(ICNet(width=0.5, aux=True))
    scaling = ICNet(aux=True)
    torch.nn.init.constant_(scaling.data_sub1.weight, 2)
    with pytest.raises(InputError, match="does not scale its input"):
        from_icnet(scaling)


@pytest.mark.parametrize(
    ("training", "size"),
    [(False, (513, 1025)), (False, (1024, 2048)), (False, (193, 321)), (True, (192, 320)), (True, (129, 257))],
)
def test_sizes_that_the_published_net_refuses(training: bool, size: tuple[int, int]) -> None:
    model = SemSegICNet().train(training)
    with pytest.raises(InputError, match=r"must be 32k\+1 and at least"):
        model(torch.zeros(1, 3, *size))
    assert SemSegICNet().card.sizes.fit(size) == FULL
    assert SemSegICNet().card.sizes.fit((1026, 2080)) == (1057, 2081)


@pytest.mark.parametrize("size", [(161, 161), (225, 257)])
def test_sizes_that_training_takes(size: tuple[int, int]) -> None:
    quarter, eighth, sixteenth = SemSegICNet(batch_norm=False).train()(torch.zeros(1, 3, *size))
    for scores, stride in ((quarter, 4), (eighth, 8), (sixteenth, 16)):
        assert tuple(scores.shape) == (1, 19, *((n - 1) // stride + 1 for n in size))
