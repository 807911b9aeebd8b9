"""Proof that an ICNet has lost nothing: the hand-written net and the converted graph check each other."""

from __future__ import annotations

import torch

from converter.activations import activations
from converter.compare import differences
from converter.graph import translate
from converter.match import Weights
from converter.verify import Verification
from prototxt import Net

from ..icnet import ICNet, folded
from .caffe import Blobs, resized_net

CHECKED_SIZE = (129, 257)
"""Height and width of the seeded image on which every layer is compared."""


def verify(model: ICNet, net: Net, blobs: Blobs) -> list[Verification]:
    """Compare the converted graph with ``model``, and ``model`` with its folded form where it has batch normalisation.

    Args:
        model: the hand-written net with the weights under test.
        net: the deploy net that the weights belong to.
        blobs: the weights as Caffe stores them.

    Returns:
        One or two comparisons, on a seeded image of :data:`CHECKED_SIZE`.
    """
    generator = torch.Generator().manual_seed(0)
    image = 50 * torch.randn(1, 3, *CHECKED_SIZE, generator=generator)
    graph = translate(resized_net(net, CHECKED_SIZE), Weights(blobs))
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
