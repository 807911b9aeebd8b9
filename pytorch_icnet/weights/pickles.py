"""Reading pickles as data: nothing in them is imported, called or looked up.

A pickle is a program for a stack machine that may import and call anything. Here it gets to make numbers, texts, lists,
tuples and dicts. The functions by which torch stores tensors become :class:`StoredTensor`, which say where a tensor
lies; every other name becomes a :class:`Placeholder`, so that what surrounds the tensors (configurations, NumPy's
numbers, classes of other projects) does no harm and is in no one's way.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, ClassVar

import torch

MAX_BYTES = 1 << 24
"""Of a pickle; those of the largest variants have 200 kB, as tensors' values lie outside."""

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    pickle.BINPERSID,
)
"""What torch's files use; the others are for older protocols, or take memory that the file does not fill."""


_MAX_DIMENSIONS = 16

_DAMAGED = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, TypeError, ValueError, struct.error)
"""What the stack machine raises when the stack is not as its program expects."""


class Placeholder:
    """What stands for a thing that is not read."""


@dataclass(frozen=True)
class StoredValues:
    """Values of one type, outside the pickle: ``count`` of them under ``key``, beginning with the one at ``first``."""

    key: str
    dtype: torch.dtype
    count: int
    first: int = 0


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place among stored values. The numbers are as the file gives them, within the stored values."""

    values: StoredValues
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        dimensions = len(self.shape)
        numbers = (self.offset, *self.shape[:_MAX_DIMENSIONS], *self.strides[:_MAX_DIMENSIONS])
        fitting = dimensions == len(self.strides) <= _MAX_DIMENSIONS
        if not fitting or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
            raise pickle.UnpicklingError("a tensor's shape makes no sense")
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last * self.dtype.itemsize >= self.values.count * self.values.dtype.itemsize:
            raise pickle.UnpicklingError("a tensor reaches beyond its values")

    @property
    def nbytes(self) -> int:
        """Of a copy of its own."""
        return self.dtype.itemsize * math.prod(self.shape)


def load(stream: BinaryIO, seen: list[StoredValues] | None = None) -> Any:
    """The next object of a stream, which is left behind it; reads :data:`MAX_BYTES` at most.

    Args:
        stream: open, in binary.
        seen: gets the values of all tensors, also of those that are in nothing that is read.

    Raises:
        pickle.UnpicklingError: damaged, too long, or of no use as data.
    """
    try:
        unpickler = _Unpickler(_Limited(stream), encoding="utf-8", errors="replace")
        unpickler.seen = [] if seen is None else seen
        return unpickler.load()
    except pickle.UnpicklingError:
        raise
    except _DAMAGED as error:
        raise pickle.UnpicklingError(str(error) or type(error).__name__) from error


class _Limited:
    """A stream that ends after :data:`MAX_BYTES`, and never makes room for more than it has."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, MAX_BYTES

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= self._left:
            raise pickle.UnpicklingError(f"more than {MAX_BYTES >> 20} MB in a pickle")
        self._left -= count
        return self._stream.read(count)

    def readline(self) -> bytes:
        line = self._stream.readline(self._left)
        self._left -= len(line)
        return line


_Base: Any = pickle._Unpickler  # in Python: the one in C makes room for as many memos as a file says


class _Unpickler(_Base):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {code[0]: _Base.dispatch[code[0]] for code in _OPCODES}
    stack: list[Any]
    seen: list[StoredValues]

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in (*_DTYPES, "UntypedStorage"):
            return _DTYPES.get(name, torch.uint8)
        if (module, name) in _CALLED:
            return _CALLED[module, name]
        found = getattr(torch, name, None) if module == "torch" else None
        return found if isinstance(found, torch.dtype) else Placeholder()

    def persistent_load(self, reference: Any) -> StoredValues | Placeholder:
        match reference:
            case ("storage", torch.dtype() as dtype, str() | int() as key, str(), int() as count, *view):
                first = view[0][1] if view and isinstance(view[0], tuple) else 0  # of a view, in old files
                if isinstance(first, int):
                    self.seen.append(StoredValues(str(key), dtype, count, first))
                    return self.seen[-1]
        return Placeholder()

    def load_reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        known = called in _CALLED.values() and isinstance(arguments, tuple) and len(arguments) <= _MAX_ARGUMENTS
        self.append(called(*arguments) if known else Placeholder())

    def load_newobj(self) -> None:
        del self.stack[-2:]
        self.append(Placeholder())

    def load_newobj_ex(self) -> None:
        del self.stack[-3:]
        self.append(Placeholder())

    def load_build(self) -> None:
        """Leave out attributes, such as ``_metadata`` of state dicts."""
        self.stack.pop()

    def load_empty_dictionary(self) -> None:
        self.append({})

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if isinstance(key, (str, int)))  # others hash too deep

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends


_MAX_ARGUMENTS = 16
_MAX_ITEMS = 1 << 14


def _ordered(items: Any = ()) -> Any:
    """An OrderedDict; Python 2 gives its items as one list."""
    if not isinstance(items, (list, tuple)) or len(items) > _MAX_ITEMS:
        return Placeholder()
    return dict(item for item in items if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str))


def _rebuilt(values: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor | Placeholder:
    """A tensor, from its arguments in ``torch._utils._rebuild_tensor`` and ``_v2``."""
    if isinstance(values, StoredValues) and isinstance(shape, tuple) and isinstance(strides, tuple):
        return StoredTensor(values, values.dtype, offset, shape, strides)
    return Placeholder()


def _rebuilt_typed(*arguments: Any) -> StoredTensor | Placeholder:
    """A tensor of a type other than its values', from its arguments in ``torch._utils._rebuild_tensor_v3``."""
    tensor = _rebuilt(*arguments)
    dtype = arguments[6] if len(arguments) > 6 else None
    if isinstance(tensor, StoredTensor) and isinstance(dtype, torch.dtype):
        return replace(tensor, dtype=dtype)
    return Placeholder()


def _made_of(tensor: Any, *_: Any) -> Any:
    return tensor  # a parameter is read as its tensor


_CALLED = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuilt_typed,
    ("torch._utils", "_rebuild_parameter"): _made_of,
    ("torch._utils", "_rebuild_parameter_with_state"): _made_of,
}
"""By module and name: the functions that a pickle may call, in this module's own form."""
