"""Configurations from YAML, and values that other tests of configurations leave out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from icnet_common import config
from icnet_common.errors import InputError


@dataclass(frozen=True)
class Part:
    rate: float = config.number(1.0, above=0, below=2)
    sizes: tuple[int, ...] | None = config.sequence(None, config.integer(least=1), 2, null=True)


@dataclass(frozen=True)
class Whole:
    part: Part = Part()


def test_yaml_is_plain_values() -> None:
    assert config.parse_yaml("{a: 1e-4, b: '1e-4', c: -2E3, d: [1, null]}", "y") == {
        "a": 1e-4,
        "b": "1e-4",
        "c": -2000.0,
        "d": [1, None],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "the key 'a' is there twice"),
        ("[&a 1, *a]", "aliases"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("!!timestamp x", "not YAML"),
        ("!!bool x", "not YAML"),
        ("!!map [1]", "not YAML"),
        ("[" * 60_000, "recursion"),
        ("a: " + "9" * 60_000, "not YAML"),
        ("#" * 70_000, "more than the 65536"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=r"^y: ") as caught:
        config.parse_yaml(text, "y")
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(InputError, match=r"large\.yaml: has 70000 bytes"):
        config.read_yaml(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rate": 2}, "part.rate is 2; expected a number above 0, below 2"),
        ({"rate": 10**400}, "part.rate is 1000"),
        ({"rate": None}, "part.rate is None; expected a number"),
        ({"sizes": [1]}, "part.sizes is [1]; expected a list of 2"),
        ({"sizes": [1, 0]}, "part.sizes is [1, 0]; expected a whole number from 1"),
    ],
)
def test_values_out_of_range_are_named(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        config.checked(Whole, {"part": value}, "c", write=repr)
    assert message in str(caught.value) and len(str(caught.value)) < 200


def test_a_configuration_is_written_as_it_is_read() -> None:
    data: dict[str, Any] = {}
    config.override(data, "part.sizes=[3, 4]", "--set")
    read = config.checked(Whole, data, "c")
    assert read == Whole(Part(1.0, (3, 4))) and config.checked(Whole, config.as_data(read), "c") == read
