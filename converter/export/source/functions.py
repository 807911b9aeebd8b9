"""Layers that read better as an expression than as a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ...layers.activation import AbsVal, Factor
from ...layers.elementwise import Eltwise
from ...layers.selecting import Concat, Split
from .constructors import number
from .layout import Expression, InfixChain, call, list_of, tuple_of

Arguments = Sequence[Expression]
_Writer = Callable[[Any, Arguments], Expression | None]


def function(module: nn.Module, arguments: Arguments) -> Expression | None:
    """``module`` called with ``arguments`` as an expression without it; None where it is to be a module.

    Only modules without parameters and buffers are.
    """
    writer = _WRITERS.get(type(module))
    return None if writer is None else writer(module, arguments)


def _named(name: str, *attributes: str) -> _Writer:
    def write(module: nn.Module, arguments: Arguments) -> Expression:
        values = (getattr(module, attribute) for attribute in attributes)
        return call(name, *arguments, *(number(value) if isinstance(value, float) else repr(value) for value in values))

    return write


def _eltwise(module: Eltwise, arguments: Arguments) -> Expression | None:
    """Plain sums and products; the rest has Eltwise's own class."""
    if module.coefficients or module.first or module.operation == "MAX":
        return None
    return InfixChain("+" if module.operation == "SUM" else "*", [str(argument) for argument in arguments])


def _concat(module: Concat, arguments: Arguments) -> Expression:
    return call("torch.cat", list_of(arguments), str(module.axis))


def _split(module: Split, arguments: Arguments) -> Expression:
    return tuple_of(list(arguments) * module.copies)


def _identity(module: nn.Module, arguments: Arguments) -> Expression:
    return arguments[0]


_WRITERS: dict[type[nn.Module], _Writer] = {
    nn.Identity: _identity,
    nn.ReLU: _named("F.relu"),
    nn.LeakyReLU: _named("F.leaky_relu", "negative_slope"),
    nn.Sigmoid: _named("torch.sigmoid"),
    nn.Tanh: _named("torch.tanh"),
    nn.Hardswish: _named("F.hardswish"),
    nn.Softmax: _named("torch.softmax", "dim"),
    nn.Flatten: _named("torch.flatten", "start_dim", "end_dim"),
    AbsVal: _named("torch.abs"),
    Factor: _named("torch.mul", "factor"),
    Concat: _concat,
    Eltwise: _eltwise,
    Split: _split,
}
