"""Mutated and generated binary weights: read exactly as protobuf's own parser reads them, or refused with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prototxt import WeightsError, caffemodel, encode, read_weights

from . import corpus, reference
from .mutate import mutations

Weights = dict[str, list[NDArray[Any]]] | None


def ours(data: bytes, path: Path) -> Weights:
    path.write_bytes(data)
    try:
        return read_weights(path)
    except WeightsError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return None


def protobufs(data: bytes) -> Weights:
    try:
        return reference.read_weights(data)
    except reference.Refused:
        return None


def equal(one: Weights, other: Weights) -> bool:
    if one is None or other is None:
        return one is other
    return list(one) == list(other) and all(
        len(one[name]) == len(other[name])
        and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in zip(one[name], other[name], strict=True)
        )
        for name in one
    )


def differing(files: Iterable[bytes], path: Path) -> tuple[list[bytes], int]:
    """The files that are read otherwise than by protobuf, and how many both read."""
    differences, accepted = [], 0
    for data in files:
        weights = ours(data, path)
        accepted += weights is not None
        if not equal(weights, protobufs(data)):
            differences.append(data)
    return differences, accepted


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_mutations(count: int, tmp_path: Path) -> None:
    differences, accepted = differing(mutations(corpus.weights(), count, seed=count), tmp_path / "w.caffemodel")
    assert differences == []
    assert count // 20 < accepted < count // 2


def test_a_reader_that_misses_an_encoding_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caffemodel, "FIXED32", 7)
    differences, _ = differing(corpus.weights(), tmp_path / "w.caffemodel")
    assert differences


def tag(number: int, wire: int) -> bytes:
    return encode.varint(number << 3 | wire)


def message(number: int, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return content.map(lambda data: encode.head(number, len(data)) + data)


def joined(*parts: st.SearchStrategy[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(*parts), max_size=most).map(b"".join)


numbers = st.integers(1, 120) | st.sampled_from([2**29 - 1, 2**29, 0])
any_varint = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)).map(encode.varint) | st.binary(max_size=11)
junk = st.one_of(
    st.builds(lambda number, value: tag(number, 0) + value, numbers, any_varint),
    st.builds(lambda number, value: tag(number, 2) + encode.varint(len(value)) + value, numbers, st.binary(max_size=9)),
    st.builds(lambda number, value: tag(number, 5) + value, numbers, st.binary(min_size=4, max_size=4)),
    st.builds(lambda number, value: tag(number, 1) + value, numbers, st.binary(min_size=8, max_size=8)),
    st.builds(lambda number, value: tag(number, 3) + value + tag(number, 4), numbers, st.binary(max_size=6)),
    st.binary(max_size=3),
)
dims = st.lists(st.integers(0, 3), max_size=3).map(lambda sizes: b"".join(map(encode.varint, sizes)))
value_bytes = st.integers(0, 6).map(lambda count: np.arange(count, dtype="<f4").tobytes())
blob = joined(
    message(5, value_bytes),
    message(6, value_bytes),
    message(8, value_bytes),
    st.just(tag(5, 5) + b"\0\0\x80\x3f"),
    st.just(tag(8, 1) + b"\0\0\0\0\0\0\xf0\x3f"),
    message(7, joined(message(1, dims), st.integers(0, 3).map(lambda size: tag(1, 0) + encode.varint(size)), junk)),
    st.builds(encode.number, st.integers(1, 4), st.integers(-1, 2)),
    junk,
)
name = st.sampled_from([b"", b"a", b"data", b"\xff", b"relu", b"conv", b"padding"])
layer_v2 = message(100, joined(message(1, name), message(7, blob), junk))
layer_v0 = message(1, joined(message(1, name), message(2, name), message(50, blob), junk))
layer_v1 = message(2, joined(message(4, name), message(2, name), message(3, name), message(6, blob), layer_v0, junk))


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(joined(layer_v2, layer_v1, message(3, name), junk, most=5), st.integers(0, 200))
def test_generated_nets(tmp_path: Path, data: bytes, cut: int) -> None:
    for part in (data, data[:cut]):
        assert equal(ours(part, tmp_path / "w.caffemodel"), protobufs(part))
