"""Tables of classes in files, for data sets other than Cityscapes.

A CSV file has a header, a JSON file a list of objects (or an object whose ``classes`` is one). The fields are

- ``name``, the only one that is needed;
- ``id``: what labels hold, 0 to 255; default: the place in the file, from 0;
- ``train_id``: 0, 1, 2, ... without gaps, or empty, -1 or 255 where nothing is scored; default: those that are not
  ignored, in the order of the file;
- ``ignore``: true or 1 where nothing is scored;
- ``colour`` (or ``color``): ``128 64 128``, ``#804080`` or, in JSON, ``[128, 64, 128]``; default: PASCAL VOC's;
- ``category`` and ``has_instances``.

Upper case and the underscores do not matter, so Cityscapes' own ``trainId`` and ``ignoreInEval`` are understood too.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icnet_common.errors import InputError

from .classes import IGNORED, MAX_CLASSES, ClassEntry, ClassTable, Colour, default_colour

_MAX_BYTES = 1 << 20
_MAX_ROWS = 256
_MAX_NAME = 100

_OTHER_NAMES = {"color": "colour", "ignoreineval": "ignore", "label": "name", "labelid": "id"}

Row = Mapping[str, Any]


def read_table(path: str | os.PathLike[str]) -> ClassTable:
    """Read a table of classes; the module says how it is written.

    Raises:
        InputError: no such file, or a wrong one; the message names the row.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for a table of classes")
        text = path.read_bytes().decode("utf-8-sig")
        rows = _json_rows(text) if text.lstrip().startswith(("[", "{")) else _csv_rows(text)
        entries = _entries(rows)
        _check(entries)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, csv.Error) as error:
        raise InputError(f"{path}: not a table of classes: {str(error)[:200]}") from error
    return ClassTable(path.stem, tuple(entries), from_file=True)


def _json_rows(text: str) -> list[Row]:
    data = json.loads(text)
    rows = data["classes"] if isinstance(data, dict) else data
    return [{_key(key): value for key, value in row.items()} for row in rows]


def _csv_rows(text: str) -> list[Row]:
    reader = csv.reader(text.splitlines())
    header = [_key(field) for field in next(reader, [])]
    rows: list[Row] = []
    for number, fields in enumerate((fields for fields in reader if any(field.strip() for field in fields)), start=1):
        if len(fields) != len(header):
            raise ValueError(f"row {number} has {len(fields)} fields, the header {len(header)}")
        cells = {key: value.strip() for key, value in zip(header, fields, strict=True)}
        rows.append({key: value for key, value in cells.items() if value or key == "trainid"})
    return rows


def _key(name: str) -> str:
    key = name.strip().replace("_", "").lower()
    return _OTHER_NAMES.get(key, key)


def _entries(rows: Sequence[Row]) -> list[ClassEntry]:
    if len(rows) > _MAX_ROWS:
        raise ValueError(f"{len(rows)} rows; 8-bit labels hold {_MAX_ROWS} ids")
    entries: list[ClassEntry] = []
    scored = 0
    for number, row in enumerate(rows):
        try:
            entry = _entry(row, number, scored)
        except (ValueError, TypeError) as error:
            raise ValueError(f"row {number + 1}: {error}") from error
        scored += entry.train_id is not None
        entries.append(entry)
    return entries


def _entry(row: Row, number: int, scored: int) -> ClassEntry:
    name = row.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise ValueError(f"expected a name of up to {_MAX_NAME} printable characters, got {str(name)[:40]!r}")
    train_id = _train_id(row, scored)
    colour = _colour(row["colour"]) if "colour" in row else default_colour(IGNORED if train_id is None else train_id)
    return ClassEntry(
        _whole(row.get("id", number), range(256), "id"),
        name,
        colour,
        train_id,
        str(row.get("category", "")),
        _truth(row.get("hasinstances", False)),
    )


def _train_id(row: Row, scored: int) -> int | None:
    if _truth(row.get("ignore", False)) or row.get("trainid") == "":
        return None
    number = _whole(row.get("trainid", scored), range(-1, 256), "train_id")
    return None if number in (-1, IGNORED) else number


def _whole(value: Any, allowed: range, what: str) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,4}", value) else value
    if type(number) is not int or number not in allowed:
        raise ValueError(f"{what} {str(value)[:40]!r}, expected {allowed[0]} to {allowed[-1]}")
    return number


def _truth(value: Any) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
    word = str(value).lower()
    if word not in known:
        raise ValueError(f"{word[:40]!r} is neither true nor false")
    return known[word]


def _colour(value: Any) -> Colour:
    if isinstance(value, str) and (match := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", value)):
        parts: Sequence[Any] = [int(part, 16) for part in match.groups()]
    else:
        parts = re.findall(r"[^\s,()\[\]]+", value) if isinstance(value, str) else value
    if len(parts) != 3:
        raise ValueError(f"colour {str(value)[:40]!r}, expected red, green and blue")
    red, green, blue = (_whole(part, range(256), "colour") for part in parts)
    return red, green, blue


def _check(entries: Sequence[ClassEntry]) -> None:
    """Raise ValueError where the rows do not make a table."""
    attributes: tuple[tuple[str, Callable[[ClassEntry], Any]], ...] = (
        ("name", lambda entry: entry.name),
        ("id", lambda entry: entry.label_id),
    )
    for what, attribute in attributes:
        values = [attribute(entry) for entry in entries]
        if repeated := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"the {what} {repeated[0]} is there twice")
    train_ids = sorted({entry.train_id for entry in entries if entry.train_id is not None})
    if not train_ids:
        raise ValueError("no class is scored")
    if train_ids != list(range(len(train_ids))) or len(train_ids) > MAX_CLASSES:
        raise ValueError(f"train_ids run from 0 to at most {MAX_CLASSES - 1} without gaps, not {train_ids[:20]}")
