"""Runs the tests and says which files and arrays of ``../shared/golden/peers`` none of them reads.

python -m tests.variants.unused [pytest's arguments; default: tests/variants and tests/evaluation]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from ..golden import SHARED

PEERS = SHARED / "golden" / "peers"
TESTS = ("tests/variants", "tests/evaluation")
COPIED = Path(__file__).parents[1] / "evaluation" / "data" / "peers"
"""The same files as in ``metrics``: what is read here is read there."""
FOR_PEOPLE = ("README.md",)

read: set[Path] = set()
keys: set[tuple[Path, str]] = set()


class Watched(Mapping[str, Any]):
    """An npz file that remembers which arrays are looked at; also when they are kept in a dict for later."""

    def __init__(self, path: Path, arrays: Mapping[str, Any]) -> None:
        self.path, self.arrays = path, arrays

    def __getitem__(self, key: str) -> Any:
        keys.add((self.path, key))
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def original(path: Path) -> Path:
    """Where the goldens have a file that lies copied in the tests."""
    return PEERS / "metrics" / path.relative_to(COPIED) if path.is_relative_to(COPIED) else path


def main() -> int:
    from . import goldens

    def noticed(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and "peers" in arguments[0]:
            read.add(original(Path(arguments[0])))

    def watched(folder: str) -> Watched:
        return Watched(PEERS / folder / "golden.npz", plain(folder))

    plain = goldens.arrays
    sys.addaudithook(noticed)
    with mock.patch.object(goldens, "arrays", watched):
        code = pytest.main(sys.argv[1:] or list(TESTS))
    files = sorted(path for path in PEERS.rglob("*") if path.is_file() and path.name not in FOR_PEOPLE)
    unused = [str(path.relative_to(PEERS)) for path in files if path not in read]
    for path in PEERS.glob("*/golden.npz"):
        with np.load(path) as file:
            unused += [f"{path.parent.name}: {key}" for key in file.files if (path, key) not in keys]
    print(f"{len(unused)} unused of {len(files)} files and their arrays", *unused, sep="\n")
    return int(code) or bool(unused)


if __name__ == "__main__":
    sys.exit(main())
