"""Binary weights: encodings, generations, and what is refused."""

from __future__ import annotations

import gzip
import io
import itertools
import mmap
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from icnet_common import files
from prototxt import LegacyBlob, WeightsError, encode, read_weights, schema, wire

from ..fuzz import reference

DATA = Path(__file__).parent / "data" / "weights"


def field(number: int, content: bytes) -> bytes:
    return encode.head(number, len(content)) + content


def layer(name: str, *blobs: bytes) -> bytes:
    return field(100, encode.text(1, name) + b"".join(field(7, blob) for blob in blobs))


def shape(*dims: int) -> bytes:
    return field(7, field(1, b"".join(map(encode.varint, dims))))


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads bytes as a file, and checks that protobuf's own parser makes the same of them."""
    names = itertools.count()

    def reading(data: bytes) -> dict[str, list[NDArray[Any]]]:
        path = tmp_path / f"{next(names)}.caffemodel"
        path.write_bytes(data)
        try:
            weights = read_weights(path)
        except WeightsError:
            with pytest.raises(reference.Refused):
                reference.read_weights(data)
            raise
        expected = reference.read_weights(data)
        assert list(weights) == list(expected)
        for name in weights:
            for blob, other in zip(weights[name], expected[name], strict=True):
                assert blob.dtype == other.dtype and np.array_equal(blob, other)
        return weights

    return reading


def values(weights: dict[str, list[NDArray[Any]]]) -> dict[str, list[Any]]:
    return {name: [blob.tolist() for blob in blobs] for name, blobs in weights.items()}


def test_encodings_of_values(read: Any) -> None:
    packed = layer("a", shape(3) + field(5, floats(1, 2, 3)))
    chunks = layer("a", field(5, floats(1)) + shape(3) + field(5, floats()) + field(5, floats(2, 3)))
    single = layer("a", shape(3) + b"".join(b"\x2d" + floats(value) for value in (1, 2, 3)))
    mixed = layer("a", b"\x2d" + floats(1) + shape(3) + field(5, floats(2)) + b"\x2d" + floats(3))
    wide_tags = layer("a", shape(3) + b"".join(b"\xad\x00" + floats(value) for value in (1, 2, 3)))
    differences = layer("a", field(6, floats(7, 8, 9)) + shape(3) + field(5, floats(1, 2, 3)))
    for data in (packed, chunks, single, mixed, wide_tags, differences):
        weights = read(data)
        assert values(weights) == {"a": [[1, 2, 3]]}
        assert weights["a"][0].dtype == np.float32
    doubles = read(layer("a", shape(2) + field(5, floats(1, 2)) + field(8, np.array([3, 4.5]).tobytes())))
    assert values(doubles) == {"a": [[3, 4.5]]} and doubles["a"][0].dtype == np.float64
    singles = b"".join(b"\x41" + np.array([value], "<f8").tobytes() for value in (3, 4.5))
    assert values(read(layer("a", shape(2) + singles))) == {"a": [[3, 4.5]]}


def test_long_runs_of_single_values(read: Any) -> None:
    count = 5000
    records = b"".join(b"\x2d" + floats(value) for value in range(count))
    unknown = b"\x9d\x06" + floats(0)
    weights = read(layer("a", shape(2 * count) + records + unknown + records))
    assert weights["a"][0].tolist() == [*range(count)] * 2


def test_shapes(read: Any) -> None:
    one = field(5, floats(1))
    assert read(layer("a", one))["a"][0].shape == ()
    assert read(layer("a", field(7, encode.number(1, 1) + encode.number(1, 1)) + one))["a"][0].shape == (1, 1)
    assert read(layer("a", shape(1) + shape(1, 1) + one))["a"][0].shape == (1, 1, 1)
    assert read(layer("a", shape(2, 0, 3)))["a"][0].shape == (2, 0, 3)
    assert read(layer("a", shape(*[1] * 32) + one))["a"][0].ndim == 32
    legacy = b"".join(encode.number(number, 1) for number in (1, 2, 3, 4))
    blob = read(layer("a", legacy + shape(7) + one))["a"][0]
    assert blob.shape == (1, 1, 1, 1) and isinstance(blob, LegacyBlob)
    assert not isinstance(read(layer("a", shape(1, 1, 1, 1) + one))["a"][0], LegacyBlob)
    assert read(layer("a", encode.number(4, 0)))["a"][0].shape == (0, 0, 0, 0)


BROKEN = {
    "too few values": layer("a", shape(3) + field(5, floats(1, 2))),
    "too many values": layer("a", shape(1) + field(5, floats(1, 2))),
    "no values": layer("a", shape(1)),
    "no shape": layer("a", field(5, floats(1, 2))),
    "negative dim": layer("a", shape(-1, -1) + field(5, floats(1))),
    "negative legacy dim": layer("a", encode.number(1, -1) + field(5, floats(1))),
    "huge dims": layer("a", shape(2**40, 2**40) + field(5, floats(1))),
    "33 axes": layer("a", shape(*[1] * 33) + field(5, floats(1))),
    "half a float": layer("a", shape(1) + field(5, floats(1) + b"\0")),
    "half a double": layer("a", shape(1) + field(8, floats(1))),
    "half a difference": layer("a", shape(1) + field(5, floats(1)) + field(6, b"\0")),
    "cut in a float": layer("a", shape(1) + b"\x2d\0\0\0"),
    "cut in a tag": layer("a") + b"\xa2",
    "cut in a length": layer("a") + b"\xa2\x06",
    "cut in a length's middle": layer("a") + b"\xa2\x06\xff",
    "length beyond the end": layer("a") + b"\xa2\x06\x05abcd",
    "length of 2^64 - 1": layer("a") + b"\xa2\x06" + encode.varint(-1),
    "blob beyond its layer": field(100, encode.head(7, 9) + b"abcd") + b"\0" * 9,
    "11-byte varint": layer("a") + b"\x18" + b"\x80" * 10 + b"\x01",
    "6-byte tag": b"\x8a\x80\x80\x80\x80\x00" + layer("a"),
    "field 0": layer("a") + b"\x02\x00",
    "wire type 6": layer("a") + b"\x0e",
    "wire type 7": layer("a") + b"\x0f",
    "group ends unopened": layer("a") + b"\x6c",
    "group without end": layer("a") + b"\x6b",
    "group ended by another": layer("a") + b"\x6b\x74",
    "dims cut off": layer("a", field(7, field(1, b"\x80")) + field(5, floats(1))),
    "zero tag": layer("a") + b"\0\0",
    "V1 and V2": layer("a") + field(2, encode.text(4, "b")),
    "V0 and V1": field(2, field(1, b"")) + field(2, encode.text(4, "b")),
    "V0 of unknown type": field(2, field(1, encode.text(2, "reluu"))),
    "V0 with unknown bottom": field(2, field(1, encode.text(2, "relu")) + encode.text(2, "x")),
    "no layers": encode.text(1, "net"),
    "input only": encode.text(3, "data"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused(what: str, read: Any) -> None:
    with pytest.raises(WeightsError, match=r"\.caffemodel: "):
        read(BROKEN[what])


def test_unknown_fields_are_skipped(read: Any) -> None:
    unknown = (
        encode.number(200, 1 << 63) + b"\xb5\x32" + b"1234" + b"\xb1\x32" + b"12345678" + field(806, b"\x07\x07")
        + b"\x6b" + encode.number(200, 3) + b"\x73" + field(5, b"x") + b"\x74" + b"\x2d1234" + b"\x6c"
    )  # fmt: skip
    body = encode.text(1, "a") + field(7, unknown + shape(1) + field(5, floats(1)) + unknown) + unknown
    assert values(read(unknown + field(100, body) + unknown)) == {"a": [[1]]}
    # known numbers with another wire type are unknown fields as well
    other_types = encode.number(1, 5) + encode.number(7, 5) + field(5, floats(1)) + encode.number(100, 1)
    assert values(read(other_types + layer("a", other_types[2:4] + field(5, floats(1)) + encode.number(6, 3)))) == {
        "a": [1]
    }


@pytest.mark.parametrize("depth", [1, 90, 96, 97, 98, 99, 100, 101, 102, 2000])
def test_nesting_ends_where_protobufs_does(depth: int, read: Any) -> None:
    group = b"\x6b" * depth + b"\x6c" * depth
    inside = {0: group + layer("a"), 1: field(100, group), 2: layer("a", group + field(5, floats(1)))}
    inside[3] = layer("a", field(7, group) + field(5, floats(1)))
    for level, data in inside.items():
        if depth + level <= wire.MAX_DEPTH:
            read(data)
        else:
            with pytest.raises(WeightsError, match=r"nested more than 100 deep|this is a text file"):
                read(data)


def test_generations(read: Any) -> None:
    blob = field(6, shape(1) + field(5, floats(1)))
    assert values(read(field(2, encode.text(4, "a") + encode.number(5, 4) + blob) + field(2, blob))) == {
        "a": [[1]],
        "": [[1]],
    }
    old = encode.text(1, "a") + encode.text(2, "conv") + field(50, encode.number(4, 1) + field(5, floats(1)))
    with pytest.raises(WeightsError, match="holds 1 values"):  # the other three legacy dims are 0
        read(encode.text(3, "x") + field(2, field(1, old) + encode.text(2, "x")))
    dims = b"".join(encode.number(number, 1) for number in (1, 2, 3, 4))
    old = encode.text(1, "a") + encode.text(2, "conv") + field(50, dims + field(5, floats(1)))
    padding = field(2, field(1, encode.text(2, "padding")) + encode.text(2, "x") + encode.text(3, "p"))
    v0 = encode.text(3, "x") + padding + field(2, field(1, old) + encode.text(2, "p") + encode.text(3, "y"))
    assert values(read(v0)) == {"a": [[[[[1]]]]]}


def test_names(read: Any) -> None:
    one, two = (shape(1) + field(5, floats(value)) for value in (1, 2))
    assert values(read(layer("a", one) + layer("b") + layer("a", two) + layer("a"))) == {"a": [[2]]}
    assert values(read(layer("", one) + layer("é/ü", two))) == {"": [[1]], "é/ü": [[2]]}
    assert list(read(field(100, field(1, b"\xff\xfe") + field(7, one)))) == ["\ufffd\ufffd"]
    assert list(read(field(100, field(7, one) + encode.text(1, "a") + encode.text(1, "b")))) == ["b"]


def test_empty_and_zero_files_hold_nothing(read: Any) -> None:
    assert read(b"") == read(bytes(64)) == {}


def others() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"x")
    yield "PyTorch checkpoint", archive.getvalue()
    yield "pickle", pickle.dumps({"a": 1}, protocol=2)
    yield "gzip", gzip.compress(b"x")
    yield "web page", b"\n<!DOCTYPE html><html>"
    yield "read_net", b'name: "n"\nlayer { name: "a" type: "ReLU" }\n'
    yield "safetensors", (2).to_bytes(8, "little") + b"{}"
    yield "solver", encode.number(1, 1000) + encode.text(2, "x.caffemodel")
    yield "read_mean", (DATA.parent / "mean" / "new.binaryproto").read_bytes()
    yield "Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "NumPy", b"\x93NUMPY\x01\x00"


@pytest.mark.parametrize(("what", "data"), list(others()), ids=[what for what, _ in others()])
def test_other_files_are_named(what: str, data: bytes, read: Any) -> None:
    with pytest.raises(WeightsError, match=f"this is .*{what}"):
        read(data)


def test_cut_files_are_named(read: Any) -> None:
    with pytest.raises(WeightsError, match="the file is cut short"):
        read((DATA / "raw_packed.caffemodel").read_bytes()[:-7])


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.caffemodel", "a\0b", "/dev/null"):
        with pytest.raises(WeightsError):
            read_weights(path)


def test_arrays_are_read_only_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(layer("a", shape(2, 3) + field(5, floats(*range(6)))))
    blob = read_weights(path)["a"][0]
    assert not blob.flags.writeable and not blob.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        blob[0] = 1
    monkeypatch.setattr(files, "MAP_FROM", 1)
    mapped = read_weights(path)["a"][0]
    assert np.array_equal(mapped, blob) and not mapped.flags.writeable
    base: Any = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj, mmap.mmap)


def test_released_memory_is_read_again(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(files.MAP_FROM // 4, np.float32)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(layer("a", shape(values.size) + field(5, values.tobytes())))
    blob = read_weights(path)["a"][0]
    assert np.array_equal(blob, values)
    for array in (blob, blob[100:5000], blob[:3], values):
        files.release(array)
        assert np.array_equal(blob, values)


def test_files_above_4_gigabytes(tmp_path: Path) -> None:
    """Layers after a blob of 4 GB, in a file with a hole, which takes no space."""
    path = tmp_path / "w.caffemodel"
    count = 1 << 30
    body = shape(count, 1) + encode.head(5, 4 * count)
    head = encode.text(1, "big") + encode.head(7, 4 * count + len(body))
    with path.open("wb") as file:
        file.write(encode.head(100, len(head) + len(body) + 4 * count) + head + body)
        file.seek(4 * count, io.SEEK_CUR)
        file.write(layer("small", shape(1) + field(5, floats(7))))
    weights = read_weights(path)
    assert weights["big"][0].shape == (count, 1) and weights["big"][0][-1, 0] == 0
    assert weights["small"][0].tolist() == [7]


def test_too_many_fields_are_refused(read: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"\x20\x01" * 50 + layer("a", shape(1) + field(5, floats(1))))
    assert list(read_weights(path)) == ["a"]
    monkeypatch.setattr(wire, "MAX_FIELDS", 50)
    with pytest.raises(WeightsError, match="more than 50 fields"):
        read_weights(path)


def test_reading_what_protobuf_writes(read: Any) -> None:
    net = schema.message("NetParameter")(name="n")
    net.layer.add(name="c", type="Convolution").blobs.add(shape={"dim": [1, 2]}, data=[1, 2], diff=[3, 4])
    net.layer[0].convolution_param.num_output = 2
    net.layer[0].blobs.add(shape={"dim": [300]}, double_data=range(300))
    weights = read(net.SerializeToString())
    assert weights["c"][0].tolist() == [[1, 2]] and weights["c"][1].tolist() == [*range(300)]
