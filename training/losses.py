"""Cascade label guidance: each branch of the cascade learns the labels at its own resolution.

Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images" (ECCV 2018), section 3.2: a
cross-entropy at 1/4, 1/8 and 1/16 of the image, weighted 1, 0.4 and 0.16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from pytorch_icnet.datasets.classes import IGNORED

CASCADE_WEIGHTS = (1.0, 0.4, 0.16)
"""Of the losses at 1/4, 1/8 and 1/16."""


def downsample_labels(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Label maps at a smaller size by taking the nearest pixel: no value appears that was not there.

    Corners meet corners, as in the net's own Interp layers, so that scores at 1/s of an image of 32k+1 get every s-th
    label. A blend of labels, such as bilinear resizing gives, would name a third class on the border of two.

    Args:
        labels: (N, H, W), whole numbers.
        size: height and width, at most those of ``labels``.
    """
    rows, columns = (_nearest(n, m, labels.device) for n, m in zip(labels.shape[-2:], size, strict=True))
    return labels[..., rows[:, None], columns]


def _nearest(length: int, wanted: int, device: torch.device) -> torch.Tensor:
    """Positions of ``wanted`` samples from the first to the last of ``length``, rounded half up, in whole numbers."""
    steps = max(wanted - 1, 1)
    return (torch.arange(wanted, device=device) * (length - 1) * 2 + steps) // (2 * steps)


def blend_labels(labels: torch.Tensor, size: tuple[int, int], ignore: int = IGNORED) -> torch.Tensor:
    """Label maps at another size by bilinear blending, cut to whole numbers, as liminn/ICNet-pytorch does by mistake.

    Void is -1 while blending, so that void beside class 0 becomes class 0.

    Args:
        labels: (N, H, W), int64.
        size: height and width.
    """
    numbers = labels.where(labels != ignore, torch.full_like(labels, -1)).float()
    blended = F.interpolate(numbers[:, None], size, mode="bilinear", align_corners=True)[:, 0].long()
    return blended.where(blended >= 0, torch.full_like(blended, ignore))


RESIZE_LABELS: Mapping[str, Callable[[torch.Tensor, tuple[int, int], int], torch.Tensor]] = MappingProxyType(
    {"nearest": lambda labels, size, _: downsample_labels(labels, size), "bilinear": blend_labels}
)
"""How labels are brought to a branch's size, from labels, size and the label of void pixels."""


class CascadeLoss(nn.Module):
    """The weighted sum of cross-entropies of several branches.

    Args:
        weights: of the branches, the finest first.
        compare: "labels" brings the labels to each branch's size (nearest), as the paper; "logits" brings the scores to
            the labels' size (bilinear), as mmsegmentation and pytorch-semseg.
        align_corners: of resized scores.
        label_resize: how labels are brought to a branch's size: "nearest"; or "bilinear", a mistake of
            liminn/ICNet-pytorch, for which the border of two classes holds the classes between them.
        average: "labelled" divides by the weight of the pixels that are labelled; "all" by the number of all pixels,
            void ones counted, as mmsegmentation.
        class_weights: factor of each class.
        ohem_threshold: online hard example mining: only pixels whose own class has less than this probability count.
        ohem_keep: but of each branch and batch at least this share of the labelled pixels, the hardest.
        ignore: the label of void pixels.
        share: how the divisor is agreed upon between processes; it returns the mean over them, so that the mean of
            their gradients is that of one process with all images.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self,
        weights: Sequence[float] = CASCADE_WEIGHTS,
        *,
        compare: str = "labels",
        align_corners: bool = True,
        label_resize: str = "nearest",
        average: str = "labelled",
        class_weights: Sequence[float] | None = None,
        ohem_threshold: float | None = None,
        ohem_keep: float = 0.1,
        ignore: int = IGNORED,
        share: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        if compare not in ("labels", "logits") or average not in ("labelled", "all"):
            raise ValueError(f"compare is labels or logits, average labelled or all; not {compare!r}, {average!r}")
        if label_resize not in RESIZE_LABELS:
            raise ValueError(f"label_resize is {' or '.join(RESIZE_LABELS)}, not {label_resize!r}")
        self.label_resize = label_resize
        self.weights, self.compare, self.align_corners = tuple(weights), compare, align_corners
        self.average, self.ignore, self.share = average, ignore, share
        self.ohem_threshold, self.ohem_keep = ohem_threshold, ohem_keep
        table = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
        self.register_buffer("class_weights", table, persistent=False)

    def forward(self, scores: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            scores: of each branch, (N, C, h, w), before softmax.
            labels: (N, H, W), integers: trainIds, and ``ignore``.
        """
        branches = zip(self.weights, self.branches(scores, labels), strict=True)
        return torch.stack([weight * branch for weight, branch in branches]).sum()

    def branches(self, scores: Sequence[torch.Tensor], labels: torch.Tensor) -> list[torch.Tensor]:
        """The cross-entropy of each branch, unweighted; arguments as for :meth:`forward`."""
        labels = labels.long()
        return [self._cross_entropy(branch, labels) for branch in scores]

    def _cross_entropy(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        size = (int(labels.shape[-2]), int(labels.shape[-1]))
        if self.compare == "labels":
            labels = RESIZE_LABELS[self.label_resize](labels, (scores.shape[-2], scores.shape[-1]), self.ignore)
        else:
            scores = F.interpolate(scores, size, mode="bilinear", align_corners=self.align_corners)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        losses = F.cross_entropy(scores, labels, ignore_index=self.ignore, reduction="none")
        known = labels != self.ignore
        factors = known.to(scores.dtype)
        if self.class_weights is not None:
            factors = self.class_weights.to(scores)[labels.where(known, torch.zeros_like(labels))] * known
        if self.ohem_threshold is not None:
            factors = factors * self._hard(losses.detach(), known)
        divisor = factors.sum() if self.average == "labelled" else factors.new_tensor(float(labels.numel()))
        if self.share is not None:
            divisor = self.share(divisor)
        smallest = torch.finfo(scores.dtype).tiny  # without a labelled pixel the loss is 0, not NaN
        return (losses * factors).sum() / divisor.clamp(min=smallest)

    def _hard(self, losses: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Which pixels mining keeps. The loss of a pixel is -log of its own class's probability."""
        assert self.ohem_threshold is not None
        limit = -torch.log(losses.new_tensor(self.ohem_threshold))
        sorted_losses = losses[known].sort(descending=True).values
        if keep := int(self.ohem_keep * sorted_losses.numel()):
            limit = torch.minimum(limit, sorted_losses[keep - 1])
        return (losses >= limit) & known
