"""The code that makes a module, from the module, or an expression in its place where that reads better."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from icnet_common.errors import InputError

from ...layers.activation import AbsVal, Factor
from ...layers.elementwise import Eltwise
from ...layers.selecting import Concat, Split
from .excerpts import Excerpts
from .layout import Expression, InfixChain, call, list_of, prefixed, quoted, tuple_of


def constructor(module: nn.Module, excerpts: Excerpts) -> Expression:
    """The call that makes a module like ``module``; tensors get its shapes, and its values come from the weights file.

    Classes that are not torch's are collected in ``excerpts``. A class must keep the arguments of ``__init__`` in
    attributes: of the same name, or as ``self.name = argument`` says.

    Raises:
        InputError: the class or an argument cannot be written.
    """
    kind = type(module)
    stock = getattr(nn, kind.__name__, None) is kind
    name = f"nn.{kind.__name__}" if stock else excerpts.add(kind)
    return call(name, *_arguments(module, excerpts, stock))


def _arguments(module: nn.Module, excerpts: Excerpts, stock: bool) -> Iterator[Expression]:
    init = type(module).__init__
    if init is nn.Module.__init__:
        return
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if stock and parameter.name in ("device", "dtype"):
            continue
        value = _kept(module, parameter.name)
        if stock:
            value = _plain(value, parameter)
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from (_value(item, excerpts) for item in value)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            yield _value(value, excerpts)
        elif not _same(value, parameter.default):
            yield prefixed(f"{parameter.name}=", _value(value, excerpts))


def _kept(module: nn.Module, name: str) -> Any:
    attribute = name if hasattr(module, name) else _attributes(type(module).__init__).get(name, name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        kind = type(module).__name__
        raise InputError(f"{kind} cannot be written as source: it does not keep its argument {name!r}") from None


@cache
def _attributes(init: Callable[..., None]) -> dict[str, str]:
    """From arguments of an ``__init__`` to attributes, for assignments ``self.attribute = argument``."""
    code = textwrap.dedent(inspect.getsource(init))
    found = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            targets = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value.elts if isinstance(value, ast.Tuple) else [value]
            for left, right in zip(targets, values, strict=False):
                if isinstance(left, ast.Attribute) and isinstance(right, ast.Name):
                    found[right.id] = left.attr
    return found


def _plain(value: Any, parameter: inspect.Parameter) -> Any:
    """What torch's own modules take: whether there is a bias, and one number for all axes."""
    if parameter.name == "bias":
        return value is not None
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[0]
    return value


def _same(value: Any, default: Any) -> bool:
    return type(value) in (type(default), tuple) and not isinstance(value, torch.Tensor) and bool(value == default)


def _value(value: Any, excerpts: Excerpts) -> Expression:
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, torch.Tensor):
        empty = call("torch.empty", *map(str, value.shape)) if value.dim() else call("torch.empty", "()")
        if value.dtype != torch.float32:
            empty = call("torch.empty", *empty.items, f"dtype={value.dtype}")
        return call("nn.Parameter", empty) if isinstance(value, nn.Parameter) else empty
    if isinstance(value, nn.ModuleList):
        return list_of(constructor(item, excerpts) for item in value)
    if isinstance(value, nn.Module):
        return constructor(value, excerpts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        name = excerpts.add(type(value))
        return call(name, *(prefixed(f"{field}=", _value(getattr(value, field), excerpts)) for field in fields))
    if isinstance(value, tuple):
        return tuple_of(_value(item, excerpts) for item in value)
    if isinstance(value, Sequence):
        return list_of(_value(item, excerpts) for item in value)
    raise InputError(f"a value of type {type(value).__name__} cannot be written as source")


def number(value: float) -> str:
    """A number as code. Numbers of a prototxt are float32: the shortest decimal with that value, 0.1 as 0.1."""
    if math.isnan(value) or math.isinf(value):
        return f'float("{value}")'
    short = str(np.float32(value))
    return repr(float(short)) if np.float32(value) == value else repr(value)


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
