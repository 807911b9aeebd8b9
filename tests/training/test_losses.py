"""Cascade label guidance against closed forms, finite differences and deliberately wrong labels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pytorch_icnet import ICNet
from training.losses import CASCADE_WEIGHTS, CascadeLoss, downsample_labels

Scores = list[torch.Tensor]


@pytest.fixture()
def scores() -> Scores:
    torch.manual_seed(3)
    return [
        torch.randn(2, 5, n, 2 * n - 1, dtype=torch.float64, requires_grad=True)
        for n in (9, 5, 3)  # 1/4, 1/8 and 1/16 of 33x65
    ]


@pytest.fixture()
def labels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(0, 5, (2, 33, 65), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    return labels


@pytest.mark.parametrize(("stride", "size"), [(4, (9, 17)), (8, (5, 9)), (16, (3, 5))])
def test_labels_are_every_sth_pixel(labels: torch.Tensor, stride: int, size: tuple[int, int]) -> None:
    assert torch.equal(downsample_labels(labels, size), labels[:, ::stride, ::stride])


def test_labels_keep_their_corners_at_any_size(labels: torch.Tensor) -> None:
    small = downsample_labels(labels, (7, 1))
    assert torch.equal(small[:, [0, -1], 0], labels[:, [0, -1], 0])


def test_sum_of_plain_cross_entropies(scores: Scores, labels: torch.Tensor) -> None:
    expected = sum(
        weight * F.cross_entropy(branch, labels[:, ::stride, ::stride], ignore_index=255)
        for weight, stride, branch in zip(CASCADE_WEIGHTS, (4, 8, 16), scores, strict=True)
    )
    assert isinstance(expected, torch.Tensor)
    assert abs(float((CascadeLoss()(scores, labels) - expected).detach())) < 1e-12


def test_bilinear_labels_give_another_loss(scores: Scores, labels: torch.Tensor) -> None:
    """What one published port does: blended trainIds name classes that are not there."""
    resized = F.interpolate(labels[:, None].double(), (9, 17), mode="bilinear", align_corners=False)[:, 0].long()
    assert not torch.equal(resized, downsample_labels(labels, (9, 17)))
    border = torch.tensor([[[0, 0, 4, 4]]])
    blended = F.interpolate(border[:, None].double(), (1, 3), mode="bilinear", align_corners=True)[:, 0].long()
    assert 2 in blended and 2 not in downsample_labels(border, (1, 3))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_weights": (1.0, 2.0, 0.5, 3.0, 0.0)},
        {"average": "all"},
        {"compare": "logits"},
        {"ohem_threshold": 0.3, "ohem_keep": 0.4},
    ],
    ids=str,
)
@pytest.mark.parametrize("branch", range(3))
def test_gradients_agree_with_finite_differences(
    scores: Scores, labels: torch.Tensor, options: dict[str, object], branch: int
) -> None:
    loss = CascadeLoss(**options)  # type: ignore[arg-type]

    def of_branch(values: torch.Tensor) -> torch.Tensor:
        others = [each.detach() for each in scores]
        others[branch] = values
        total: torch.Tensor = loss(others, labels)
        return total

    assert torch.autograd.gradcheck(of_branch, (scores[branch],), fast_mode=True)


def test_void_has_no_gradient(scores: Scores, labels: torch.Tensor) -> None:
    CascadeLoss()(scores, labels).backward()
    gradient = scores[0].grad
    assert gradient is not None
    void = (labels[:, ::4, ::4] == 255)[:, None].expand_as(gradient)
    assert not gradient[void].any() and gradient[~void].all()


def test_void_alone_gives_zero(scores: Scores, labels: torch.Tensor) -> None:
    total = CascadeLoss()(scores, torch.full_like(labels, 255))
    assert total == 0


def test_class_weights_agree_with_torch(scores: Scores, labels: torch.Tensor) -> None:
    weights = (1.0, 2.0, 0.5, 3.0, 0.1)
    found = CascadeLoss(class_weights=weights).branches(scores, labels)[0]
    table = torch.tensor(weights, dtype=torch.float64)
    expected = F.cross_entropy(scores[0], labels[:, ::4, ::4], table, ignore_index=255)
    assert abs(float((found - expected).detach())) < 1e-12


def test_mining_keeps_the_hard_pixels() -> None:
    own = torch.tensor([0.9, 0.6, 0.2, 0.1], dtype=torch.float64)
    scores = torch.stack([own.log(), (1 - own).log()])[None, :, None]
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    for threshold, keep, kept in ((0.5, 0.1, (0.2, 0.1)), (0.15, 0.1, (0.1,)), (0.05, 0.75, (0.6, 0.2, 0.1))):
        found = CascadeLoss((1.0,), ohem_threshold=threshold, ohem_keep=keep)([scores], labels)
        assert math.isclose(float(found), -sum(map(math.log, kept)) / len(kept), rel_tol=1e-12)


def test_average_over_all_counts_void(scores: Scores, labels: torch.Tensor) -> None:
    labelled = CascadeLoss((1.0,)).branches(scores[:1], labels)[0]
    everything = CascadeLoss((1.0,), average="all").branches(scores[:1], labels)[0]
    share = (labels[:, ::4, ::4] != 255).double().mean()
    assert abs(float((everything - labelled * share).detach())) < 1e-12


def test_every_head_of_the_net_learns() -> None:
    torch.manual_seed(0)
    net = ICNet(5, merged=False, width=0.1, aux=True)
    scores = net.cascade_scores(torch.randn(2, 3, 65, 97))
    CascadeLoss()(scores, torch.randint(0, 5, (2, 65, 97))).backward()
    for head in (net.conv6_cls, net.conv6_sub2, net.conv6_sub4):
        assert head.weight.grad is not None and head.weight.grad.abs().sum() > 0
