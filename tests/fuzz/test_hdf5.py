"""Mutated HDF5 files: read or refused with one line, whatever the library makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from prototxt import WeightsError, read_weights

from . import corpus
from .mutate import mutations

pytest.importorskip("h5py")


@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_mutations(count: int, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    accepted = 0
    for data in mutations(corpus.hdf5(), count, seed=count):
        path.write_bytes(corpus.HDF5_MAGIC + data[8:])
        try:
            weights = read_weights(path)
        except WeightsError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            continue
        accepted += 1
        assert sum(blob.nbytes for blobs in weights.values() for blob in blobs) < 1 << 20
    assert count // 20 < accepted < count // 2
