"""Activation files of any content: nothing is run, nothing is exhausted, and one line says what is wrong."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.dump import DumpError, read_dump
from prototxt import read_net

NET = read_net("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }")


def npy(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, **options)
    return stream.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    body = text.encode() + b"\n"
    size = len(body).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + body + data


class Evil:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


def failure(path: Path) -> str:
    with pytest.raises(DumpError) as error:
        for stored in read_dump(path).values.values():
            stored.read()
    message = str(error.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


BAD = {
    "nothing": b"",
    "text": b"hello",
    "cut": npy(np.ones(100))[:-8],
    "long": npy(np.ones(3)) + b"12345678",
    "huge": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000), }"),
    "large": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000), }"),
    "negative": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }", b"1234"),
    "boolean": header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }", b"1234"),
    "words": npy(np.array(["a", "b"])),
    "records": npy(np.zeros(2, [("a", "f4")])),
    "complex": npy(np.ones(2, complex)),
    "times": npy(np.zeros(2, "M8[s]")),
    "nested": header("(" * 5000),
    "code": header("__import__('os').getcwd()"),
    "third version": header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", version=b"\x03\x00"),
    "ninth version": header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", version=b"\x09\x00"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("packed", [True, False])
def test_bad_arrays(name: str, packed: bool, tmp_path: Path) -> None:
    if packed:
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
            file.writestr("x.npy", BAD[name])
        message = failure(tmp_path / "x.npz")
        assert "'x'" in message
    else:
        (tmp_path / "x.npy").write_bytes(BAD[name])
        with pytest.raises(DumpError) as error:
            read_dump(tmp_path)
        assert str(error.value).startswith(str(tmp_path / "x.npy"))


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    victim = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", x=np.array([Evil(victim)], dtype=object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Evil(victim)))
    assert "not plain numbers" in failure(tmp_path / "a.npz")
    assert "not an npz file" in failure(tmp_path / "b.npz")
    assert not victim.exists()


def test_bad_files(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "good.npz", x=np.arange(1000.0))
    content = (tmp_path / "good.npz").read_bytes()
    for name, data in {"cut": content[:-50], "text": b"hello", "empty": b"", "npy": npy(np.ones(3))}.items():
        (tmp_path / f"{name}.npz").write_bytes(data)
        assert "not an npz file, or damaged" in failure(tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "none.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    assert "holds no arrays" in failure(tmp_path / "none.npz")
    (tmp_path / "folder").mkdir()
    assert "holds no arrays" in failure(tmp_path / "folder")
    with pytest.raises(OSError, match="No such file"):
        read_dump(tmp_path / "absent.npz")


def test_a_member_that_says_less_than_it_holds(tmp_path: Path) -> None:
    """A header of 2 TB in a small member, and 50 MB of zeros packed into 50 KB: neither is read."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", npy(np.ones(1)) + bytes(50_000_000))
    assert "its header says 8" in failure(tmp_path / "x.npz")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes(places: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    np.savez_compressed(path, x=np.arange(8.0), **{"in:x": np.ones((2, 3), np.float32)})  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        dump = read_dump(path)
        dump.inputs_of(NET)
        for stored in dump.values.values():
            stored.read()
    except DumpError as error:
        assert "\n" not in str(error)


def test_numbers_of_every_kind_are_read(tmp_path: Path) -> None:
    values = [np.ones(2, kind) for kind in ("f2", "f4", "f8", ">f4", "i1", "u2", "i8", "?")]
    np.savez(tmp_path / "x.npz", *values, empty=np.zeros((0, 3)), scalar=np.float32(2))
    dump = read_dump(tmp_path / "x.npz")
    for index, value in enumerate(values):
        assert np.array_equal(dump.values[f"arr_{index}"].read(), value)
    assert dump.values["empty"].read().shape == (0, 3)
    assert dump.values["scalar"].read() == 2
