"""Small layers that treat each value by itself, and Softmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draw import Draw, Small, layer


def pointwise(block: Callable[[Draw], str], *types: str, positive: bool = False, rank: int = 1) -> None:
    def small(d: Draw) -> Small:
        x = 3 * d.any_rank(rank)
        return Small(block(d), [np.abs(x) + 0.1 if positive else x])

    layer(*types)(small)


pointwise(lambda d: "", "AbsVal", "BNLL", "HardSwish", "Mish", "Sigmoid", "TanH", "Dropout", "SpatialDropout")
pointwise(lambda d: d.maybe("relu_param { negative_slope: 0.3 }"), "ReLU")
pointwise(lambda d: d.maybe("relu6_param { negative_slope: 0.3 threshold: 2 }"), "ReLU6")
pointwise(lambda d: d.maybe("elu_param { alpha: 0.7 }"), "ELU")
pointwise(lambda d: d.maybe("swish_param { beta: 1.7 }"), "Swish")
pointwise(lambda d: "clip_param { min: -1.5 max: 2 }", "Clip")
pointwise(lambda d: d.maybe("threshold_param { threshold: 0.4 }"), "Threshold")
pointwise(lambda d: d.maybe("prelu_param { channel_shared: true }"), "PReLU", rank=2)
pointwise(lambda d: "", "CReLU", rank=2)
pointwise(
    lambda d: f"log_param {{ {d.maybe('base: 2.5')}{d.maybe('scale: 0.5')}{d.maybe('shift: 1.5')} }}",
    "Log",
    positive=True,
)
pointwise(lambda d: f"exp_param {{ {d.maybe('base: 2.5')}{d.maybe('scale: -0.5')}{d.maybe('shift: 1.5')} }}", "Exp")


@layer("Power")
def power(d: Draw) -> Small:
    exponent = d.of("", "power: 2", "power: 0", "power: -1", "power: 3")
    block = f"power_param {{ {exponent} {d.of('', 'scale: 0', 'scale: 0.5')} {d.maybe('shift: 1.5')} }}"
    return Small(block, [np.abs(d.any_rank()) + 0.5])


@layer("Softmax")
def softmax(d: Draw) -> Small:
    x = 4 * d.any_rank(2)
    return Small(f"softmax_param {{ axis: {d.axis(x)} }}", [x])
