"""JSON that nobody vouches for: read with limits, and checked against dataclasses, with errors of one line.

The fields of a configuration are made by the functions below, each of which says what a value must be, or are such
dataclasses themselves::

    @dataclass(frozen=True)
    class Size:
        width: int = whole(2049, least=1)

    @dataclass(frozen=True)
    class Input:
        size: Size = Size()
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from icnet_common.untrusted import read_untrusted

from .errors import InputError

T = TypeVar("T")

MAX_CONFIG_BYTES = 1 << 20
ALL = "__all__"
"""In place of a list of names."""

_MAX_NAMES = 1000
_MAX_TEXT = 200


def read_json(path: str | os.PathLike[str], limit: int = MAX_CONFIG_BYTES) -> Any:
    """The JSON value in a file of at most ``limit`` bytes.

    Raises:
        InputError: the file cannot be read, is too large, or holds anything else; begins with its name.
    """
    path = Path(path)
    return parse_json(bytes(read_untrusted(path, InputError, limit)), str(path), limit)


def parse_json(data: bytes | str, origin: str, limit: int = MAX_CONFIG_BYTES) -> Any:
    """The JSON value in a text of at most ``limit`` bytes; ``origin`` is for messages. See :func:`read_json`."""
    if len(data) > limit:
        raise InputError(f"{origin}: has {len(data)} bytes, more than the {limit} that it may have")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin}: not JSON: {str(error)[:_MAX_TEXT] or type(error).__name__}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def checked(kind: type[T], data: Any, origin: str, prefix: str = "") -> T:
    """A configuration as the dataclass ``kind``, whose fields were made by the functions of this module.

    Raises:
        InputError: an unknown key (with the nearest known), a wrong type or a value out of its range.
    """
    if not isinstance(data, Mapping):
        place = prefix.rstrip(".") or "the configuration"
        raise InputError(f"{origin}: {place} is {shown(data)}; expected an object with keys")
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            unknown = key if is_name(key) else shown(key)
            raise InputError(f"{origin}: no key {prefix}{unknown}{nearest(key, fields, prefix)}")
        field = fields[key]
        if dataclasses.is_dataclass(field.default):
            values[key] = checked(type(field.default), value, origin, f"{prefix}{key}.")
            continue
        try:
            values[key] = field.metadata["take"](value)
        except ValueError as error:
            raise InputError(f"{origin}: {prefix}{key} is {shown(value)}; expected {error}") from error
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in values:
            raise InputError(f"{origin}: the key {prefix}{name} is missing")
    return kind(**values)


def nearest(name: Any, known: Iterable[str], prefix: str = "") -> str:
    """For messages: which known name may have been meant; all of them where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name)[:_MAX_TEXT], known, 1, 0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; there are {', '.join(known)}"


def shown(value: Any) -> str:
    """A value for messages, shortened, on one line."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _field(default: Any, take: Callable[[Any], Any]) -> Any:
    return dataclasses.field(default=default, metadata={"take": take})


def whole(default: Any = dataclasses.MISSING, *, least: int = 0, most: int = 1 << 31) -> Any:
    """A field that is a whole number."""

    def take(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"a whole number from {least}" + (f" to {most}" if most < 1 << 31 else ""))
        return value

    return _field(default, take)


def number(default: Any = dataclasses.MISSING, *, above: float, most: float = math.inf) -> Any:
    """A field that is a number."""

    def take(value: Any) -> float:
        if type(value) not in (int, float) or not above < value <= most or not math.isfinite(value):
            raise ValueError(f"a number above {above:g}" + (f", up to {most:g}" if most < math.inf else ""))
        return float(value)

    return _field(default, take)


def share(default: Any = None) -> Any:
    """A field that is a number from 0 to 1, or null."""

    def take(value: Any) -> float | None:
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValueError("a number from 0 to 1")
        return float(value)

    return _field(default, take)


def truth(default: bool) -> Any:
    """A field that is true or false."""

    def take(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value

    return _field(default, take)


def text(default: Any = dataclasses.MISSING, *, empty: bool = False, null: bool = False) -> Any:
    """A field that is a name: printable characters; ``empty`` or ``null`` where these are allowed."""

    def take(value: Any) -> str | None:
        if value is None and null:
            return None
        if not is_name(value) and not (value == "" and empty):
            raise ValueError(f"a text of up to {_MAX_TEXT} printable characters")
        return str(value)

    return _field(default, take)


def choice(default: Any, *known: str) -> Any:
    """A field that is one of several words."""

    def take(value: Any) -> str:
        if value not in known:
            raise ValueError(" or ".join(known))
        return str(value)

    return _field(default, take)


def names(default: Any = None) -> Any:
    """A field that is a list of names, or ``"__all__"``, which becomes None."""

    def take(value: Any) -> tuple[str, ...] | None:
        if value == ALL:
            return None
        if not isinstance(value, list) or len(value) > _MAX_NAMES or not all(is_name(name) for name in value):
            raise ValueError(f'"{ALL}" or a list of names')
        return tuple(value)

    return _field(default, take)


def numbers(default: tuple[int, ...], *, least: int, most: int) -> Any:
    """A field that is a list of different whole numbers."""

    def take(value: Any) -> tuple[int, ...]:
        whole_numbers = isinstance(value, list) and all(type(n) is int and least <= n <= most for n in value)
        if not whole_numbers or not value or len(set(value)) != len(value):
            raise ValueError(f"a list of different whole numbers from {least} to {most}")
        return tuple(value)

    return _field(default, take)


def length(default: str) -> Any:
    """A field that is a length in pixels or in percent: ``"16px"``, ``"-5px"``, ``"10%"``."""

    def take(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,6}(%|px)", value):
            raise ValueError('a length such as "16px" or "10%"')
        return value

    return _field(default, take)


def is_name(value: Any) -> bool:
    """Whether a value can be the name of a class, a tag or a file."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()
