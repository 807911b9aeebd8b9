"""Products with matrices: InnerProduct, Embed, and the recurrent LSTM and RNN (``recurrent_layer.cpp``).

Bottoms of the recurrent two: x (T, N, ...), cont (T, N), then optionally a static input (N, ...) for all steps, then
with ``expose_hidden`` the state to begin with. T steps of N independent streams; cont is 0 at a stream's first step,
where the state before counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, need_axes


class InnerProduct(nn.Module):
    """The axes from ``axis`` on, as one vector x, become W x + b.

    Args:
        weight: (outputs, inputs), or (inputs, outputs) if ``transposed``.
        bias: (outputs,) or None.
        axis: the first axis of the vector.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, axis: int = 1, *, transposed: bool = False):
        super().__init__()
        self.weight, self.bias = weight, bias
        self.axis, self.transposed = axis, transposed

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return F.linear(bottom.flatten(self.axis), self.weight.T if self.transposed else self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, axis={self.axis}" + (", transposed" if self.transposed else "")


@register("InnerProduct", bottoms=1, tops=1, limits="no normalize (face recognition's forks)")
def inner_product(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``inner_product_layer.cpp``: W x + b, where x is all that follows ``axis``.

    Blobs: weights (num_output, inputs), or with ``transpose`` (inputs, num_output); bias (num_output).
    """
    axis = canonical_axis(params.axis, len(shapes[0]))
    inputs, outputs = math.prod(shapes[0][axis:]), params.num_output
    if params.normalize:
        raise LayerError("normalize is not supported")
    weight = blobs.take((inputs, outputs) if params.transpose else (outputs, inputs), params.weight_filler)
    bias = blobs.take((outputs,), params.bias_filler) if params.bias_term else None
    return InnerProduct(weight, bias, axis, transposed=params.transpose)


class Embed(nn.Module):
    """The rows of ``weight`` (inputs, outputs) whose indices the bottom holds, plus ``bias`` (outputs,)."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(bottom.long(), self.weight)
        return rows if self.bias is None else rows + self.bias


@register("Embed", bottoms=1, tops=1)
def embed(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``embed_layer.cpp``: a row of the weights for each index in the bottom, plus a bias.

    Blobs: weights (input_dim, num_output), bias (num_output).
    """
    if params.num_output < 1 or params.input_dim < 1:
        raise LayerError(f"num_output {params.num_output} and input_dim {params.input_dim} must be at least 1")
    weight = blobs.take((params.input_dim, params.num_output), params.weight_filler)
    bias = blobs.take((params.num_output,), params.bias_filler) if params.bias_term else None
    return Embed(weight, bias)


State = tuple[torch.Tensor, ...]
_LIMITS = (
    "without expose_hidden each forward pass begins with a state of 0; Caffe keeps the last pass's where cont is 1"
)


class Recurrent(nn.Module):
    """What LSTM and RNN share: their inputs' part of the gates, and the loop over the steps.

    Args:
        weight_x: (rows, inputs), of x.
        bias: (rows,).
        weight_static: (rows, static inputs), or None without a static input.
        weight_h: (rows, outputs), of the hidden state before.
        weight_o, bias_o: (outputs, outputs) and (outputs,), of RNN's output; None for LSTM.
        exposed: the state is read from further bottoms and given as further tops.
    """

    states = 1

    def __init__(
        self,
        weight_x: nn.Parameter,
        bias: nn.Parameter,
        weight_static: nn.Parameter | None,
        weight_h: nn.Parameter,
        weight_o: nn.Parameter | None = None,
        bias_o: nn.Parameter | None = None,
        *,
        exposed: bool = False,
    ) -> None:
        super().__init__()
        self.weight_x, self.bias, self.weight_static, self.weight_h = weight_x, bias, weight_static, weight_h
        self.weight_o, self.bias_o = weight_o, bias_o
        self.exposed = exposed

    def forward(self, x: torch.Tensor, cont: torch.Tensor, *others: torch.Tensor) -> torch.Tensor | State:
        """Outputs (T, N, outputs); if exposed, also each state after the last step, (1, N, outputs)."""
        gates = F.linear(x.flatten(2), self.weight_x, self.bias)
        state: State
        if x.is_meta:  # only shapes are asked for: no need to walk through the steps
            state = (x.new_empty(1, x.shape[1], self.weight_h.shape[1]),) * self.states
            top = x.new_empty(*x.shape[:2], self.weight_h.shape[1])
            return (top, *state) if self.exposed else top
        if self.weight_static is not None:
            gates = gates + F.linear(others[0].flatten(1), self.weight_static)
        state = (x.new_zeros(x.shape[1], self.weight_h.shape[1]),) * self.states
        if self.exposed:
            state = tuple(other.flatten(0, 1) for other in others[-self.states :])
        outputs = []
        for step in range(x.shape[0]):
            output, state = self.step(gates[step], cont[step].unsqueeze(1), state)
            outputs.append(output)
        top = torch.stack(outputs)
        return (top, *(value.unsqueeze(0) for value in state)) if self.exposed else top

    def step(self, gates: torch.Tensor, cont: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One step: the inputs' part of the gates (N, rows), cont (N, 1) and the state, to the output and the state."""
        raise NotImplementedError


class LSTM(Recurrent):
    """c = f c' + i g, h = o tanh(c), with the gates i, f, o, g, in this order, from W_x x + W_h h' + b."""

    states = 2

    def step(self, gates: torch.Tensor, cont: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        hidden, cell = state
        i, f, o, g = (gates + F.linear(hidden * cont, self.weight_h)).chunk(4, 1)
        cell = cont * f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        return hidden, (hidden, cell)


class RNN(Recurrent):
    """h = tanh(W_x x + W_h h' + b); the output is tanh(W_o h + b_o)."""

    def step(self, gates: torch.Tensor, cont: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        assert self.weight_o is not None
        hidden = torch.tanh(gates + F.linear(state[0] * cont, self.weight_h))
        return torch.tanh(F.linear(hidden, self.weight_o, self.bias_o)), (hidden,)


@register("LSTM", bottoms=(2, 5), tops=(1, 3), limits=_LIMITS)
def lstm(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``lstm_layer.cpp``: h (T, N, num_output); with ``expose_hidden`` also the last h and c.

    Blobs, with rows for the gates i, f, o, g: W_x (4 outputs, inputs), b (4 outputs), for a static input its
    W_x (4 outputs, static inputs), W_h (4 outputs, outputs).
    """
    static = _check(params, shapes, layer, states=2)
    return LSTM(*_take(params, shapes, blobs, 4 * params.num_output, static), exposed=params.expose_hidden)


@register("RNN", bottoms=(2, 4), tops=(1, 2), limits=_LIMITS)
def rnn(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``rnn_layer.cpp``: outputs (T, N, num_output); with ``expose_hidden`` also the last hidden state.

    Blobs: W_x (outputs, inputs), b (outputs), for a static input its W_x (outputs, static inputs), W_h (outputs,
    outputs), W_o (outputs, outputs), b_o (outputs).
    """
    outputs = params.num_output
    static = _check(params, shapes, layer, states=1)
    taken = _take(params, shapes, blobs, outputs, static)
    last = blobs.take((outputs, outputs), params.weight_filler), blobs.take((outputs,), params.bias_filler)
    return RNN(*taken, *last, exposed=params.expose_hidden)


def _check(params: Params, shapes: Sequence[Shape], layer: Layer, states: int) -> bool:
    """Whether there is a static input, after a check that the bottoms and tops fit together."""
    x, cont = shapes[:2]
    need_axes(x, 2)
    exposed = states if params.expose_hidden else 0
    if params.num_output < 1:
        raise LayerError("num_output must be at least 1")
    if cont != x[:2]:
        raise LayerError(f"the second bottom must be (T, N) = {list(x[:2])}, not {list(cont)}")
    if not 2 + exposed <= len(shapes) <= 3 + exposed or len(layer.tops) != 1 + exposed:
        raise LayerError(
            f"takes {2 + exposed} bottoms, or one more for a static input, and gives {1 + exposed} tops; "
            f"has {len(shapes)} and {len(layer.tops)}"
        )
    for state in shapes[len(shapes) - exposed :]:
        if state != (1, x[1], params.num_output):
            raise LayerError(f"a state must have the shape {[1, x[1], params.num_output]}, not {list(state)}")
    static = len(shapes) == 3 + exposed
    if static and shapes[2][:1] != x[1:2]:
        raise LayerError(f"the static input {list(shapes[2])} must have {x[1]} items")
    return static


def _take(
    params: Params, shapes: Sequence[Shape], blobs: Blobs, rows: int, static: bool
) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter | None, nn.Parameter]:
    weights = params.weight_filler
    weight_x = blobs.take((rows, math.prod(shapes[0][2:])), weights)
    bias = blobs.take((rows,), params.bias_filler)
    weight_static = blobs.take((rows, math.prod(shapes[2][1:])), weights) if static else None
    return weight_x, bias, weight_static, blobs.take((rows, params.num_output), weights)
