"""Proof that an ICNet has lost nothing: the hand-written net and the converted graph check each other."""

from __future__ import annotations

import torch
from torch import fx

from converter.activations import activations
from converter.compare import differences
from converter.verify import Verification

from ..icnet import ICNet, folded

CHECKED_SIZE = (129, 257)
"""Height and width of the seeded image on which every layer is compared."""


def verify(model: ICNet, graph: fx.GraphModule) -> list[Verification]:
    """Compare the converted graph with ``model``, and ``model`` with its folded form where it has batch normalisation.

    Args:
        model: the hand-written net with the weights under test.
        graph: the converted net for images of :data:`CHECKED_SIZE`.

    Returns:
        One or two comparisons, on a seeded image.
    """
    generator = torch.Generator().manual_seed(0)
    image = 50 * torch.randn(1, 3, *CHECKED_SIZE, generator=generator)
    pyramid, model.pyramid = model.pyramid, None
    try:
        ours = activations(model, image)
        results = [Verification("converted graph and ICNet", differences(activations(graph, image), ours))]
        if not model.merged:
            results.append(
                Verification("folded and unfolded", differences(activations(folded(model), image), normalized(ours)))
            )
    finally:
        model.pyramid = pyramid
    return results


def normalized(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The activations of an unmerged net under the names of the merged one: a convolution's value is its BN's."""
    return {name: values.get(f"{name}/bn", value) for name, value in values.items()}
