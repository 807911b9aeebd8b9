"""mmsegmentation's ICNet against mmsegmentation's own outputs: networks, label maps, losses, gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from evaluation.cli import main
from evaluation.protocols import MULTI_SCALE, Logits, Protocol, ProtocolSettings, protocol
from pytorch_icnet.imaging.images import read_image, read_label_map
from pytorch_icnet.imaging.normalization import IMAGENET, Normalization
from pytorch_icnet.imaging.windows import Grid, bands
from pytorch_icnet.variants import mmseg
from pytorch_icnet.variants.mmseg import MMSegICNet
from tests.golden import shared
from training.losses import CascadeLoss
from training.recipes.recipe import read_recipe

from . import goldens, mmseg_golden
from .mmseg_golden import DEPTHS, FOLDERS, SIZES, arrays

JUDGE = 1e-5
"""Of float64 against float64 that was rounded to float32 for storage."""


def scores(model: MMSegICNet, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of each head without the batch's axis, and the full-size ones as they were stored."""
    with torch.inference_mode():
        decode, first, zeroth = model.cascade_scores(x)
        full = model(x)
    return {
        "decode_head": decode[0],
        "auxiliary_head1": first[0],
        "auxiliary_head0": zeroth[0],
        "logits_full_sub3": full[0, :, ::3, ::3],
    }


def differing(labels: npt.NDArray[Any], depth: int, name: str) -> float:
    """The share of pixels whose label is not the golden one."""
    return goldens.differing(labels, goldens.labels(FOLDERS[depth], name))


@pytest.mark.parametrize("depth", DEPTHS)
def test_keys_shapes_and_parameters(depth: int) -> None:
    model = MMSegICNet(depth)
    assert goldens.keys_of(model) == goldens.published_keys(FOLDERS[depth])
    assert goldens.parameters(model) == goldens.data(FOLDERS[depth], "meta.json")["counts"]["parameters"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_scores(depth: int, size: tuple[int, int]) -> None:
    name, expected = f"{size[0]}x{size[1]}", arrays(depth)
    model = mmseg_golden.network(depth)
    for head, values in scores(model, mmseg_golden.image(size)).items():
        assert goldens.distance(values, expected[f"{name}/{head}_ref64"]) < JUDGE, head
    model = model.float()
    found = scores(model, mmseg_golden.image(size, torch.float32))
    for head in ("decode_head", "auxiliary_head0", "auxiliary_head1"):
        assert goldens.distance(found[head], expected[f"{name}/{head}"]) < mmseg_golden.TOLERANCE[depth], head
    with torch.inference_mode():
        labels = model(mmseg_golden.image(size, torch.float32))[0].argmax(0).to(torch.uint8).numpy()
    assert differing(labels, depth, f"label_{name}.png") <= 1e-4


def slid(depth: int, overlap: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Scores of windows of 128x160 in the middle input, CxHxW."""
    model, x = mmseg_golden.network(depth), mmseg_golden.image((193, 321))
    grid = Grid.over((193, 321), (128, 160), overlap)

    def scored(top: int, left: int) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(x[..., top : top + 128, left : left + 160])[0].float())

    return np.concatenate([band for _, band in bands(grid, 19, scored)], 1)


@pytest.mark.parametrize("depth", DEPTHS)
def test_sliding_windows(depth: int) -> None:
    """``mode="slide"``, windows every 85 rows and 107 columns."""
    found = slid(depth, (43, 53))
    assert goldens.distance(found[:, ::3, ::3], arrays(depth)["slide_193x321/logits_sub3_ref64"]) < JUDGE
    assert differing(found.argmax(0), depth, "label_slide_193x321.png") <= 1e-4


def test_other_windows_are_seen() -> None:
    found = slid(18, (43, 63))
    assert goldens.distance(found[:, ::3, ::3], arrays(18)["slide_193x321/logits_sub3_ref64"]) > 0.1


def prepared(ours: Protocol, model: MMSegICNet, name: str) -> tuple[list[Logits], tuple[int, int]]:
    """An image's views through the network in its own precision, and the image's size."""
    rgb = read_image(shared("golden", "peers", "inputs") / name)
    size = (rgb.shape[0], rgb.shape[1])
    dtype = next(model.parameters()).dtype
    with torch.inference_mode():
        logits = [Logits(model(view.blob(rgb).to(dtype))[0], view.size) for view in ours.inputs(size)]
    return logits, size


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
def test_an_image_through_the_protocol(depth: int) -> None:
    """192x384 is enlarged to 1024x2048 first."""
    ours, model = protocol("mmseg"), mmseg_golden.network(depth, torch.float32)
    logits, size = prepared(ours, model, "image_192x384.png")
    assert logits[0].input_size == (1024, 2048)
    assert differing(ours.finish(logits, size).labels, depth, "label_image_192x384_whole.png") <= 1e-4
    (judged,), _ = prepared(ours, model.double(), "image_192x384.png")
    found = F.interpolate(judged.planes[None], size, mode="bilinear", align_corners=False)[0]
    # The pixels themselves are float32.
    assert goldens.distance(found[:, ::3, ::3], arrays(depth)["image_192x384/logits_sub3_ref64"]) < 5 * JUDGE


@pytest.mark.parametrize("depth", DEPTHS)
def test_augmented_image_through_the_protocol(depth: int) -> None:
    """Twelve views: six sizes relative to the image's own, each also mirrored."""
    ours, model = (
        protocol("mmseg", ProtocolSettings(scales=MULTI_SCALE, flip=True)),
        mmseg_golden.network(depth, torch.float32),
    )
    logits, size = prepared(ours, model, "image_201x333.png")
    assert len(logits) == 12
    expected = arrays(depth)["tta/prob_sub3_ref64"]
    found = torch.from_numpy(ours.probabilities(logits, size)).permute(2, 0, 1)[:, ::3, ::3]
    assert goldens.distance(found, expected) < 1e-3
    assert differing(ours.finish(logits, size).labels, depth, "label_image_201x333_tta12.png") <= 1e-4
    logits, _ = prepared(ours, model.double(), "image_201x333.png")
    found = torch.from_numpy(ours.probabilities(logits, size)).permute(2, 0, 1)[:, ::3, ::3]
    assert goldens.distance(found, expected) < JUDGE
    unturned = [logits[place ^ 1] for place in range(12)]
    wrong = torch.from_numpy(ours.probabilities(unturned, size)).permute(2, 0, 1)[:, ::3, ::3]
    assert goldens.distance(wrong, expected) > 0.01


@pytest.mark.parametrize(
    ("name", "options", "label"),
    [
        pytest.param("image_192x384", (), "whole", marks=pytest.mark.slow),
        ("image_201x333", ("--scales", ",".join(map(str, MULTI_SCALE)), "--flip"), "tta12"),
    ],
)
def test_icnet_eval_from_file_to_file(tmp_path: Path, name: str, options: tuple[str, ...], label: str) -> None:
    torch.save({"meta": {}, "state_dict": mmseg_golden.state(18)}, tmp_path / "w.pth")
    (tmp_path / "list.txt").write_text(f"{name}.png {name}_labelTrainIds.png\n")
    files = ("--list", str(tmp_path / "list.txt"), "--data-root", str(shared("golden", "peers", "inputs")))
    where = ("--weights", str(tmp_path / "w.pth"), "--save-root", str(tmp_path / "out"), "--device", "cpu")
    result = CliRunner().invoke(main, [*files, *where, *options])
    assert result.exit_code == 0, result.output
    labels = read_label_map(tmp_path / "out" / "gray" / f"{name}.png")
    assert differing(labels, 18, f"label_{name}_{label}.png") <= 1e-4


@pytest.mark.parametrize(
    ("what", "limit"),
    [("pixels of another mean", 1e-3), ("another resize", 1e-3), ("blue first", 1e-2), ("mean of the scores", 1e-2)],
)
def test_augmentation_done_otherwise_is_seen(what: str, limit: float) -> None:
    pixels = {
        "pixels of another mean": Normalization("RGB", (123.68, 116.779, 103.939), IMAGENET.std),
        "blue first": Normalization("BGR", IMAGENET.mean, IMAGENET.std),
    }.get(what, IMAGENET)
    ours = protocol("mmseg", ProtocolSettings(scales=MULTI_SCALE, flip=True, pixels=pixels))
    model = mmseg_golden.network(18, torch.float32)
    logits, size = prepared(ours, model, "image_201x333.png")
    if what == "another resize":
        rgb = read_image(shared("golden", "peers", "inputs") / "image_201x333.png")
        blobs = [
            IMAGENET.blob(np.asarray(cv2.resize(rgb, view.size[::-1], interpolation=cv2.INTER_AREA), np.uint8))
            for view in ours.inputs(size)
        ]
        with torch.inference_mode():
            logits = [
                Logits(model(blob.flip(-1) if view.flip else blob)[0], view.size)
                for blob, view in zip(blobs, ours.inputs(size), strict=True)
            ]
    found = torch.from_numpy(ours.probabilities(logits, size)).permute(2, 0, 1)
    if what == "mean of the scores":
        resized = [F.interpolate(each.planes[None], size, mode="bilinear")[0] for each in logits[::2]]
        found = torch.stack(resized).mean(0).softmax(0)
    assert goldens.distance(found[:, ::3, ::3], arrays(18)["tta/prob_sub3_ref64"]) > limit


@pytest.mark.parametrize("depth", DEPTHS)
def test_losses_gradients_and_statistics(depth: int) -> None:
    """One forward and backward pass in float64, without dropout, as the golden one."""
    model, (blobs, labels) = mmseg_golden.network(depth).train(), mmseg_golden.training_batch()
    for head in model.auxiliary_head:
        assert isinstance(head, mmseg.MMSegHead) and head.dropout.p == 0.1
        head.dropout.p = 0.0
    heads = model.cascade_scores(blobs)
    names = ("decode_head", "auxiliary_head1", "auxiliary_head0")
    for name, values in zip(names, heads, strict=True):
        assert goldens.distance(values, arrays(depth)[f"train/{name}_ref64"]) < JUDGE, name
        assert goldens.distance(values, arrays(depth)[f"train/{name}"]) < mmseg_golden.TOLERANCE[depth], name

    criterion = CascadeLoss(**vars(read_recipe(f"mmseg-r{depth}-80k").loss))
    recorded = goldens.data(FOLDERS[depth], "meta.json")["train"]
    terms = criterion.branches(heads, labels)
    for term, weight, key in zip(terms, criterion.weights, ("decode", "aux_1", "aux_0"), strict=True):
        assert weight * term.item() == pytest.approx(recorded["losses_ref64"][f"{key}.loss_ce"], rel=1e-8)
    loss = criterion(heads, labels)
    assert loss.item() == pytest.approx(recorded["total_ref64"], rel=1e-8)

    loss.backward()
    expected = goldens.data(FOLDERS[depth], "train_grads_bn.json")
    goldens.grown_norms(model, expected, 1e-7)


def test_losses_otherwise_are_seen() -> None:
    model, (blobs, labels) = mmseg_golden.network(18).eval(), mmseg_golden.training_batch()
    with torch.inference_mode():
        heads = model.cascade_scores(blobs)
    options = vars(read_recipe("mmseg-r18-80k").loss)
    published = CascadeLoss(**options)(heads, labels).item()
    for change in ({"average": "labelled"}, {"align_corners": True}, {"compare": "labels"}):
        assert abs(CascadeLoss(**{**options, **change})(heads, labels).item() / published - 1) > 1e-3


def _eps(model: MMSegICNet) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-6


def _dilation(model: MMSegICNet) -> None:
    first = model.get_submodule("backbone.backbone.layer4.0.conv1")
    assert isinstance(first, nn.Conv2d)
    first.padding = first.dilation = (4, 4)


def _pooling(model: MMSegICNet) -> None:
    model.backbone.backbone.maxpool.ceil_mode = False


def _fusion(model: MMSegICNet) -> None:
    model.neck.cff_24.conv_high[2] = nn.Identity()


def _order(model: MMSegICNet) -> None:
    model.backbone.psp_modules = nn.ModuleList(reversed(list(model.backbone.psp_modules)))


@pytest.mark.parametrize("change", [_eps, _dilation, _pooling, _fusion, _order])
def test_changed_networks_are_seen(change: object) -> None:
    model, size = mmseg_golden.network(18), (193, 321)
    change(model)  # type: ignore[operator]
    found = scores(model, mmseg_golden.image(size))["decode_head"]
    assert goldens.distance(found, arrays(18)["193x321/decode_head_ref64"]) > 100 * JUDGE


@pytest.mark.parametrize("what", ["corners", "sizes"])
def test_other_resizes_are_seen(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "corners":
        monkeypatch.setattr(
            mmseg, "resized", lambda x, size: F.interpolate(x, size, mode="bilinear", align_corners=True)
        )
    else:
        monkeypatch.setattr(mmseg, "halved", lambda x: mmseg.resized(x, (x.shape[-2] // 2, x.shape[-1] // 2)))
    found = scores(mmseg_golden.network(18), mmseg_golden.image((193, 321)))
    assert goldens.distance(found["decode_head"], arrays(18)["193x321/decode_head_ref64"]) > 0.1
    if what == "corners":
        assert goldens.distance(found["logits_full_sub3"], arrays(18)["193x321/logits_full_sub3_ref64"]) > 0.1
