"""Files appear whole or not at all, and errors name them. Folders: see tests/converter/export/test_formats.py."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from icnet_common.errors import InputError, WeightsError
from icnet_common.files import atomic_write, digest, digests, reading, stale_temporaries, write_json, writing


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".png"
        assert [name for name, _ in stale_temporaries(path.parent)] == ["a.png"]
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("wrong")])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(InputError, match=f"^{path}: cannot be written: No space left on device$"), atomic_write(path):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_the_old_file_or_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        with atomic_write(path):
            pass
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        with atomic_write(path):
            pass
        assert path.stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, float("nan")], "b": (2.5, float("-inf"), None), "ü": True})
    assert json.loads(path.read_text()) == {"a": [1, None], "b": [2.5, None, None], "ü": True}
    assert path.read_text().startswith('{\n  "a"') and path.read_text().endswith("}\n")
    write_json(path, {"b": "ü", "a": 1}, indent=None, sort_keys=True, ensure_ascii=False)
    assert path.read_bytes() == '{"a": 1, "b": "ü"}\n'.encode()


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * (3 << 20) + b"y")
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digests(path, "md5", "sha256") == [hashlib.md5(path.read_bytes()).hexdigest(), digest(path)]
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "none")


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^a\.bin: cannot be read: No such file"), reading("a.bin", WeightsError):
        (tmp_path / "none").read_bytes()
    with pytest.raises(InputError, match=r"^a\.bin: cannot be written: Is a directory"), writing("a.bin"):
        tmp_path.write_bytes(b"")
