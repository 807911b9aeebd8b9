"""LSTM and RNN, which Caffe unrolls into a net of their own (``recurrent_layer.cpp``).

Bottoms are x (T x N x ...), the continuation markers (T x N), an input that stays the same over time (N x ...) if there
is one, and with ``expose_hidden`` the first hidden states (1 x N x D). Without it the first states are zeros, as in the
first forward pass of a net; later passes of Caffe go on where the last one ended, if the markers say so.
"""

from __future__ import annotations

import numpy as np

from prototxt import Layer

from .activation import logistic
from .registry import Array, formula


def _inputs(
    layer: Layer, bottoms: list[Array], weight: Array, bias: Array, rest: list[Array], states: int
) -> tuple[Array, list[Array], list[Array]]:
    """What the inputs contribute at each step (T x N x outputs), the first states, and the blobs that are left."""
    x, _, *others = bottoms
    steps, streams = x.shape[:2]
    drive = x.reshape(steps, streams, -1) @ weight.reshape(bias.size, -1).T + bias.reshape(-1)
    exposed = states if layer.params.expose_hidden else 0
    if len(others) > exposed:
        drive = drive + others[0].reshape(streams, -1) @ rest[0].reshape(bias.size, -1).T
        others, rest = others[1:], rest[1:]
    size = layer.params.num_output
    first = others if exposed else [np.zeros((1, streams, size))] * states
    return drive, [state.reshape(streams, size) for state in first], rest


@formula("LSTM")
def lstm(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """c = cont f c + i g, h = o tanh(c); gates i, f, o (sigmoid) and g (tanh) of W_x x + b (+ W_s s) + W_h cont h.

    ``lstm_layer.cpp``, ``lstm_unit_layer.cpp``; blobs W_x, b, (W_s,) W_h.
    """
    size = layer.params.num_output
    drive, (h, c), (recurrent,) = _inputs(layer, bottoms, blobs[0], blobs[1], blobs[2:], 2)
    outputs = []
    for gates, cont in zip(drive, bottoms[1][:, :, None], strict=True):
        gates = gates + (cont * h) @ recurrent.reshape(4 * size, size).T
        i, f, o = (logistic(gates[:, n * size : (n + 1) * size]) for n in range(3))
        c = cont * f * c + i * np.tanh(gates[:, 3 * size :])
        h = o * np.tanh(c)
        outputs.append(h)
    return [np.stack(outputs), h[None], c[None]]


@formula("RNN")
def rnn(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """h = tanh(W_x x + b (+ W_s s) + W_h cont h), o = tanh(W_o h + b_o); blobs W_x, b, (W_s,) W_h, W_o, b_o.

    ``rnn_layer.cpp``.
    """
    size = layer.params.num_output
    drive, (h,), rest = _inputs(layer, bottoms, blobs[0], blobs[1], blobs[2:], 1)
    recurrent, readout = (blob.reshape(size, size) for blob in rest[:2])
    outputs = []
    for inputs, cont in zip(drive, bottoms[1][:, :, None], strict=True):
        h = np.tanh(inputs + (cont * h) @ recurrent.T)
        outputs.append(np.tanh(h @ readout.T + rest[2].reshape(-1)))
    return [np.stack(outputs), h[None]]
