"""liminn's ICNet gives what its own code gave: scores, training, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evaluation.data.labels import read_truth
from evaluation.protocols import Logits, ProtocolSettings, protocol
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.imaging.inputs import ModelInput
from pytorch_icnet.imaging.normalization import TORCHVISION
from pytorch_icnet.variants.liminn import LiminnICNet
from training.losses import CascadeLoss
from training.schedules import Poly

from ..golden import shared
from . import goldens

FOLDER = "liminn"
SIZES = {(128, 256): 2, (129, 257): 0, (193, 321): 1}
"""And the seeds of their images."""


@cache
def net() -> LiminnICNet:
    return goldens.load_strict(LiminnICNet())


def outputs(model: LiminnICNet, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """All outputs for one image, as the goldens keep them."""
    dtype = model.head.conv_cls.weight.dtype
    with torch.no_grad():
        full, quarter, eighth, sixteenth = model.outputs(goldens.image(1, 3, *size, seed=SIZES[size]).to(dtype))
    return {"full_sub3": full[0, :, ::3, ::3], "sub4": quarter[0], "sub8": eighth[0], "sub16": sixteenth[0]}


def test_keys_shapes_and_order() -> None:
    model = LiminnICNet()
    assert goldens.keys_of(model) == goldens.published_keys(FOLDER)
    assert goldens.parameters(model) == goldens.data(FOLDER, "meta.json")["counts"]["parameters"] == 28_298_376


@pytest.mark.parametrize("size", SIZES)
def test_scores(size: tuple[int, int]) -> None:
    theirs = goldens.arrays(FOLDER)
    name = f"{size[0]}x{size[1]}"
    in_float64 = outputs(goldens.load_strict(LiminnICNet()).double(), size)
    in_float32 = outputs(net(), size)
    for output, values in in_float64.items():
        assert goldens.distance(values, theirs[f"{name}/{output}_ref64"]) < 1e-5, output
        assert goldens.distance(in_float32[output], theirs[f"{name}/{output}_ref64"]) < 1e-2, output
    for output in ("sub8", "sub16"):
        assert goldens.distance(in_float32[output], theirs[f"{name}/{output}"]) < 1e-2, output


@pytest.mark.parametrize("size", SIZES)
def test_label_maps(size: tuple[int, int]) -> None:
    """``forward`` gives the first output, which for sizes that are no multiple of 32 is larger than the image."""
    with torch.no_grad():
        scores = net()(goldens.image(1, 3, *size, seed=SIZES[size]))
    known = goldens.data(FOLDER, "meta.json")["eval"][f"{size[0]}x{size[1]}"]["outputs"]["full"]
    assert list(scores.shape) == known["shape"]
    theirs = goldens.labels(FOLDER, f"label_{size[0]}x{size[1]}.png")
    assert goldens.differing(scores[0].argmax(0).numpy(), theirs) <= max(1e-4, 3 / theirs.size)


def test_the_branch_that_nothing_uses_changes_nothing() -> None:
    x = goldens.image(1, 3, 128, 256, seed=2)
    wasteful = goldens.load_strict(LiminnICNet(published_mistakes=True))
    with torch.no_grad():
        assert torch.equal(wasteful(x), net()(x))


def unaligned(model: Any) -> None:
    fusion = model.head.cff_12

    def forward(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = fusion.conv_low(F.interpolate(low, high.shape[-2:], mode="bilinear", align_corners=False))
        return (low + fusion.conv_high(high)).relu(), fusion.conv_low_cls(low)

    fusion.forward = forward


def late_dilation(model: Any) -> None:
    first = model.pretrained.layer4[0].conv2
    first.dilation = first.padding = (4, 4)


def early_stride(model: Any) -> None:
    block = model.pretrained.layer2[0]
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def small_epsilon(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-6


@pytest.mark.parametrize("broken", [unaligned, late_dilation, early_stride, small_epsilon])
def test_wrong_nets_are_told_apart(broken: Callable[[Any], None]) -> None:
    """Negative controls: the goldens see each well-known way to get this net wrong."""
    model = goldens.load_strict(LiminnICNet()).double()
    broken(model)
    theirs = goldens.arrays(FOLDER)["129x257/full_sub3_ref64"]
    assert goldens.distance(outputs(model, (129, 257))["full_sub3"], theirs) > 1e-4


def test_the_pools_rounding_is_seen() -> None:
    model = goldens.load_strict(LiminnICNet())
    model.pretrained.maxpool.ceil_mode = True
    assert outputs(model, (129, 257))["sub16"].shape != goldens.arrays(FOLDER)["129x257/sub16"].shape


def trained(*, published_mistakes: bool) -> tuple[LiminnICNet, dict[str, torch.Tensor]]:
    """One forward and backward pass in float64 with the published loss."""
    model = goldens.load_strict(LiminnICNet(published_mistakes=published_mistakes)).double().train()
    _, quarter, eighth, sixteenth = model(goldens.image(2, 3, 128, 256, seed=11).double())
    CascadeLoss((1, 0.4, 0.4), label_resize="bilinear", ignore=-1)((quarter, eighth, sixteenth), target()).backward()
    return model, {"sub4": quarter.detach(), "sub8": eighth.detach(), "sub16": sixteenth.detach()}


def target() -> torch.Tensor:
    return goldens.targets((2, 128, 256), 21, -1)


def test_training_as_published() -> None:
    model, scores = trained(published_mistakes=True)
    theirs, known = goldens.arrays(FOLDER), goldens.data(FOLDER, "meta.json")["train"]
    assert goldens.distance(scores["sub4"][:, :, ::2, ::2], theirs["train/sub4_ref64"]) < 1e-5
    assert goldens.distance(scores["sub8"], theirs["train/sub8_ref64"]) < 1e-5
    assert goldens.distance(scores["sub16"], theirs["train/sub16_ref64"]) < 1e-5
    published = CascadeLoss((1, 0.4, 0.4), label_resize="bilinear", ignore=-1)
    branches = [branch.item() for branch in published.branches(list(scores.values()), target())]
    assert branches == pytest.approx(known["unweighted_terms_ref64"], rel=1e-8)
    assert published(list(scores.values()), target()).item() == pytest.approx(known["loss_ref64"], rel=1e-8)
    goldens.grown_norms(model, goldens.data(FOLDER, "train_grads_bn.json"), 1e-8)


def test_training_without_the_mistakes() -> None:
    """The same gradients; the statistics of the late stages no longer see the image at a half."""
    model, _ = trained(published_mistakes=False)
    reference = goldens.data(FOLDER, "train_grads_bn.json")
    wrong = goldens.wrong_buffers(model, reference, 1e-8)
    assert wrong and all(key.startswith(("pretrained.layer3.", "pretrained.layer4.")) for key in wrong)
    assert int(model.get_buffer("pretrained.layer4.0.bn1.num_batches_tracked")) == 1
    assert int(model.get_buffer("pretrained.layer2.0.bn1.num_batches_tracked")) == 2
    goldens.grown_norms(model, {**reference, "bn_after": norms_of(model)}, 1e-8)


def norms_of(model: LiminnICNet) -> dict[str, float]:
    return {key: float(buffer.double().norm()) for key, buffer in model.named_buffers()}


def test_blended_labels_are_only_on_request() -> None:
    """Taking the nearest label is another loss, and names no class that was not there."""
    _, scores = trained(published_mistakes=True)
    known = goldens.data(FOLDER, "meta.json")["train"]["loss_ref64"]
    nearest = CascadeLoss((1, 0.4, 0.4), ignore=-1)(list(scores.values()), target()).item()
    assert abs(nearest - known) > 1e-3


def test_evaluate_py() -> None:
    """Three images in the order in which the published program found them: its figures and its label maps."""
    known = goldens.data(FOLDER, "meta.json")["evaluate_py"]
    root = shared("golden", "peers", "inputs", "mini_cityscapes_128x256")
    ours = protocol("liminn", ProtocolSettings(input_size=(128, 256), pixels=net().card.pixels))
    tally = ours.tally()
    for index, file in enumerate(known["image_order_os_walk"]):
        stem = file.removesuffix("_leftImg8bit.png")
        rgb = read_image(root / "leftImg8bit" / "val" / "frankfurt" / file)
        truth = read_truth(root / "gtFine" / "val" / "frankfurt" / f"{stem}_gtFine_labelIds.png")
        (view,) = ours.inputs((128, 256))
        with torch.no_grad():
            logits = Logits(net()(view.blob(rgb))[0], view.size)
        prediction = ours.finish([logits], (128, 256))
        assert goldens.differing(prediction.labels, goldens.labels(FOLDER, f"evaluate_{stem}_label.png")) < 1e-4
        tally.add(index, ours.measure(prediction, truth, stem))
    result = tally.result()
    assert result["mean_iou"] == pytest.approx(known["logged_average_mIoU"], abs=1e-6)
    assert result["pixel_accuracy"] == pytest.approx(known["logged_average_pixAcc"], abs=1e-4)
    assert result["final_mean_iou"] == pytest.approx(known["final_cumulative"][1], abs=1e-6)
    assert goldens.distance(result.classes.columns["iou"], np.array(known["class_iou_final"])) < 1e-5


@pytest.mark.slow
def test_the_forks_inference() -> None:
    """A still image of any size, enlarged by Pillow to Cityscapes' and never brought back."""
    rgb = read_image(shared("golden", "peers", "inputs", "image_192x384.png"))
    with torch.no_grad():
        scores = net()(ModelInput((1024, 2048), "pillow", TORCHVISION).blob(rgb))
    theirs = goldens.labels(FOLDER, "label_image_192x384_fork_1024x2048.png")
    assert goldens.differing(scores[0].argmax(0).numpy(), theirs) < 1e-4


def test_poly_decay() -> None:
    """The published program steps its schedule before each forward pass, so that it begins one step down."""
    rates = goldens.data(FOLDER, "meta.json")["poly_lr"]["lrs"]
    schedule = Poly(100, 0.9)
    for iteration, (slow, fast) in enumerate(rates, start=1):
        assert (0.01 * schedule.factor(iteration), 0.1 * schedule.factor(iteration)) == pytest.approx((slow, fast))


# --- without the goldens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "expected"), [((64, 96), (64, 96)), ((65, 97), (72, 104)), ((40, 40), (40, 40))])
def test_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = LiminnICNet(3).eval()
    with torch.no_grad():
        assert tuple(model(torch.randn(1, 3, *size)).shape[-2:]) == expected


def test_the_late_stages_run_once() -> None:
    torch.manual_seed(0)
    for mistakes, calls in ((False, 1), (True, 2)):
        seen: list[int] = []
        model = LiminnICNet(3, published_mistakes=mistakes).eval()
        model.pretrained.layer4.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        with torch.no_grad():
            model(torch.randn(1, 3, 64, 64))
        assert len(seen) == calls
