"""BN folded into the convolution before it.

With z = W * x + b and y = s (z - m) / sqrt(v + e) + t, where s, t, m, v belong to the output channel,

    y = (s / sqrt(v + e) W) * x + (b - m) s / sqrt(v + e) + t,

which is a convolution with other weights and a bias. The products are taken in float64 and rounded once.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def fold(weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight and bias of the convolution that equals convolution and normalisation together.

    Args:
        weight: (O, I/group, *kernel).
        bias: (O,) or None.
        norm: with running statistics of O channels.

    Returns:
        Weight and bias in ``weight``'s dtype.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    shift = norm.bias.double() - norm.running_mean.double() * factor
    if bias is not None:
        shift = shift + bias.double() * factor
    scaled = weight.double() * factor.reshape(-1, *([1] * (weight.dim() - 1)))
    return scaled.to(weight.dtype), shift.to(weight.dtype)


def fold_batch_norm(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` in which every BN that directly follows a convolution is folded into it.

    Only where nothing else reads the convolution's top. The convolution keeps its name and its top then holds what the
    BN layer gave. For inference: the statistics become constants.
    """
    graph = copy.deepcopy(graph)
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        (source,) = node.all_input_nodes
        convolution = modules.get(str(source.target)) if source.op == "call_module" else None
        if not isinstance(convolution, _Convolution) or len(source.users) > 1:
            continue
        weight, bias = fold(convolution.weight.detach(), _detached(convolution.bias), norm)
        convolution.weight = nn.Parameter(weight)
        convolution.bias = nn.Parameter(bias)
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)
        graph.delete_submodule(str(node.target))
    graph.graph.lint()
    graph.recompile()
    return graph


def _detached(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.detach()
