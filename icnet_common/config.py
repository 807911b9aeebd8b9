"""Untrusted JSON and YAML: read with limits, and checked against dataclasses, with errors of one line.

The fields of a configuration are made by the functions below, each of which says what a value must be, or are such
dataclasses themselves::

    @dataclass(frozen=True)
    class Size:
        width: int = integer(2049, least=1)

    @dataclass(frozen=True)
    class Input:
        size: Size = Size()

    checked(Input, read_json("input.json"), "input.json")
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from .errors import InputError
from .files import read_untrusted

T = TypeVar("T")

MAX_CONFIG_BYTES = 1 << 20
MAX_YAML_BYTES = 1 << 16
"""Less than of JSON: some forms of YAML's numbers take time that grows with the square of their length."""
ALL = "__all__"
"""In place of a list of names."""

_MAX_ITEMS = 1000
_MAX_INTEGER = 1 << 31
_MAX_TEXT = 200
_LARGEST = sys.float_info.max


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
    _check_unique(name for name, _ in pairs)
    return dict(pairs)


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the key {name!r} is there twice")
        seen.add(name)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The YAML value in a file of at most :data:`MAX_YAML_BYTES`. Raises InputError as :func:`read_json`."""
    path = Path(path)
    return parse_yaml(bytes(read_untrusted(path, InputError, MAX_YAML_BYTES)), str(path))


def parse_yaml(data: bytes | str, origin: str) -> Any:
    """The YAML value in a text of at most :data:`MAX_YAML_BYTES`; ``origin`` is for messages.

    Only plain values are made, and aliases, which can stand for more than memory holds, are refused. ``1e-4`` is a
    number, as in YAML 1.2.

    Raises:
        InputError: not such a text, or PyYAML is not installed.
    """
    if len(data) > MAX_YAML_BYTES:
        raise InputError(f"{origin}: has {len(data)} bytes, more than the {MAX_YAML_BYTES} that it may have")
    try:
        import yaml
    except ImportError as error:
        raise InputError(f"{origin}: YAML needs PyYAML ({error}): pip install 'pytorch-icnet[train]'") from error
    try:
        return yaml.load(data, _yaml_loader())
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        # the last three: PyYAML's own, for !!timestamp x and the like
        raise InputError(f"{origin}: not YAML: {' '.join(str(error).split())[:_MAX_TEXT]}") from error


@functools.cache
def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases (*name) are not taken")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep)
            _check_unique(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            return found

    digits = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", digits, list("-+0123456789"))
    return Loader


def override(data: dict[str, Any], change: str, origin: str) -> None:
    """Set one value of a configuration of sections: ``section.key=value``, the value written as in YAML.

    Args:
        data: the configuration, changed in place; it is not checked here.
        origin: of the change, for messages.

    Raises:
        InputError: the text is something else.
    """
    key, equals, value = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise InputError(f"{origin}: expected section.key=value, such as optimizer.lr=0.005")
    values = data.setdefault(section, {})
    if isinstance(values, dict):
        values[name] = parse_yaml(value, origin)


def checked(kind: type[T], data: Any, origin: str, prefix: str = "", write: Callable[[Any], str] = json.dumps) -> T:
    """A configuration as the dataclass ``kind``, whose fields were made by the functions of this module.

    Messages begin with ``origin``; in them keys have a ``prefix``, and ``write`` writes values.

    Raises:
        InputError: an unknown key (with the nearest known), a wrong type or a value out of its range.
    """
    if not isinstance(data, Mapping):
        place = prefix.rstrip(".") or "the configuration"
        raise InputError(f"{origin}: {place} is {shown(data, write)}; expected an object with keys")
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            unknown = key if is_name(key) else shown(key, write)
            raise InputError(f"{origin}: no key {prefix}{unknown}{nearest(key, fields, prefix)}")
        field = fields[key]
        if dataclasses.is_dataclass(field.default):
            values[key] = checked(type(field.default), value, origin, f"{prefix}{key}.", write)
            continue
        try:
            values[key] = field.metadata["take"](value)
        except ValueError as error:
            raise InputError(f"{origin}: {prefix}{key} is {shown(value, write)}; expected {error}") from error
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in values:
            raise InputError(f"{origin}: the key {prefix}{name} is missing")
    return kind(**values)


def as_data(config: Any) -> dict[str, Any]:
    """A configuration for files: what :func:`checked` takes."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return data


def nearest(name: Any, known: Iterable[str], prefix: str = "") -> str:
    """For messages: which known name may have been meant; all of them where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name)[:_MAX_TEXT], known, 1, 0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; there are {', '.join(known)}"


def shown(value: Any, write: Callable[[Any], str] = json.dumps) -> str:
    """A value for messages, shortened, on one line."""
    try:
        text = write(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_name(value: Any) -> bool:
    """Whether a value can be the name of a class, a tag or a file."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()


def _field(
    default: Any,
    accepts: Callable[[Any], bool],
    wanted: str,
    convert: Callable[[Any], Any] | None = None,
    *,
    null: bool = False,
) -> Any:
    def take(value: Any) -> Any:
        if value is None and null:
            return None
        if not accepts(value):
            raise ValueError(wanted)
        return value if convert is None else convert(value)

    return dataclasses.field(default=default, metadata={"take": take})


def integer(default: Any = dataclasses.MISSING, *, least: int = 0, most: int = _MAX_INTEGER) -> Any:
    """A field that is a whole number."""
    wanted = f"a whole number from {least}" + (f" to {most}" if most < _MAX_INTEGER else "")
    return _field(default, lambda value: type(value) is int and least <= value <= most, wanted)


def number(
    default: Any = dataclasses.MISSING,
    *,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    null: bool = False,
) -> Any:
    """A field that is a finite number, or with ``null`` also null."""
    bounds = [f" above {above:g}"] if above > -math.inf else []
    bounds += [f", up to {most:g}"] if most < math.inf else [f", below {below:g}"] if below < math.inf else []

    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and above < value < below and -_LARGEST <= value <= min(most, _LARGEST)

    return _field(default, accepts, f"a number{''.join(bounds)}", float, null=null)


def fraction(default: Any = dataclasses.MISSING, *, null: bool = False) -> Any:
    """A field that is a number from 0 to 1, or with ``null`` also null."""
    return _field(
        default, lambda value: type(value) in (int, float) and 0 <= value <= 1, "a number from 0 to 1", float, null=null
    )


def boolean(default: bool) -> Any:
    """A field that is true or false."""
    return _field(default, lambda value: isinstance(value, bool), "true or false")


def text(default: Any = dataclasses.MISSING, *, empty: bool = False, null: bool = False) -> Any:
    """A field that is a name: printable characters; ``empty`` or ``null`` where these are allowed."""
    wanted = f"a text of up to {_MAX_TEXT} printable characters"
    return _field(default, lambda value: is_name(value) or (empty and value == ""), wanted, null=null)


def choice(default: str, *known: str, between: str = " or ") -> Any:
    """A field that is one of several words, which stand ``between`` each other in messages."""
    return _field(default, lambda value: value in known, between.join(known))


def sequence(default: Any, item: Any, count: int | None = None, *, null: bool = False) -> Any:
    """A field that is a list, of ``count`` values where one is given; each is what the field ``item`` may be."""

    def accepts(value: Any) -> bool:
        return isinstance(value, list) and (len(value) <= _MAX_ITEMS if count is None else len(value) == count)

    def convert(value: Any) -> tuple[Any, ...]:
        return tuple(item.metadata["take"](each) for each in value)

    return _field(default, accepts, "a list" + (f" of {count}" if count else ""), convert, null=null)


def names(default: Any = None) -> Any:
    """A field that is a list of names, or ``"__all__"``, which becomes None."""

    def accepts(value: Any) -> bool:
        return value == ALL or (isinstance(value, list) and len(value) <= _MAX_ITEMS and all(map(is_name, value)))

    return _field(default, accepts, f'"{ALL}" or a list of names', lambda value: None if value == ALL else tuple(value))


def distinct_integers(default: tuple[int, ...], *, least: int, most: int) -> Any:
    """A field that is a list of different whole numbers."""

    def accepts(value: Any) -> bool:
        integers = isinstance(value, list) and all(type(n) is int and least <= n <= most for n in value)
        return integers and 0 < len(value) == len(set(value))

    return _field(default, accepts, f"a list of different whole numbers from {least} to {most}", tuple)


def length(default: str) -> Any:
    """A field that is a length in pixels or in percent: ``"16px"``, ``"-5px"``, ``"10%"``."""

    def accepts(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,6}(%|px)", value) is not None

    return _field(default, accepts, 'a length such as "16px" or "10%"')
