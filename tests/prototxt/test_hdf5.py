"""Weights in HDF5, and files that would lead out of the file or fill the memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt import WeightsError, hdf5, read_weights

h5py: Any = pytest.importorskip("h5py")

DATA = Path(__file__).parent / "data" / "weights"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


def refused(path: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_hdf5_and_binary_files_of_one_net_are_equal() -> None:
    from_hdf5 = read_weights(DATA / "v2.caffemodel.h5")
    binary = read_weights(DATA / "raw_packed.caffemodel")
    assert set(from_hdf5) == set(binary)
    for name, blobs in binary.items():
        for blob, other in zip(blobs, from_hdf5[name], strict=True):
            assert np.array_equal(blob, other) and other.dtype == np.float32 and not other.flags.writeable


def test_types_and_names(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.array([[1.5]], np.float64)
        file["data/a/1"] = np.array([2], np.float16)
        file["data/a/b/0"] = np.array([[3, 4]], np.int32)  # a layer called a/b
        file.create_group("data/relu")
        file["data/scalar/0"] = np.float32(5)
        file["diff/a/0"] = np.float32(6)
        for index in range(12):
            file[f"data/many/{index}"] = np.float32(index)
        file.create_dataset("data/packed/0", data=np.arange(1000, dtype=np.float32), compression="gzip")
    weights = read_weights(path)
    assert list(weights) == ["a/b", "a", "many", "packed", "scalar"]
    dtypes = [str(blob.dtype) for blob in (*weights["a"], *weights["a/b"])]
    assert dtypes == ["float64", "float32", "float32"]
    assert weights["a/b"][0].tolist() == [[3, 4]] and weights["scalar"][0].shape == ()
    assert [blob.item() for blob in weights["many"]] == [*range(12)]
    assert weights["packed"][0].tolist() == [*range(1000)]


def test_links_that_lead_out_of_the_file(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data/a/0"] = np.float32(1)
    for link in (h5py.ExternalLink("secret.h5", "/data/a/0"), h5py.SoftLink("/data/b/0")):
        with h5py.File(path, "w") as file:
            file["data/b/0"] = np.float32(1)
            file["data/a/0"] = link
        refused(path, "is a link")
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink("secret.h5", "/data")
    refused(path, "is a link")


def test_values_kept_in_other_files(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", (2,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 8)])
    refused(path, "kept in another file")
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((2,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (2,))
        file.create_virtual_dataset("data/a/0", layout)
    refused(path, "kept in another file")


def test_what_would_fill_the_memory(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", (1 << 40,), "f4", chunks=(1 << 10,))
    refused(path, "larger than the file can hold")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", (1 << 12,), "f4", chunks=(1 << 12,), compression="gzip", data=np.zeros(1 << 12))
        for index in range(1, 100):
            file[f"data/a/{index}"] = file["data/a/0"]
    refused(path, "larger than the file can hold")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", (4,), "f4")  # never written
    refused(path, "cut short")


def test_groups_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("data/a")
        group["b"] = group
        group["c"] = group
    refused(path, "nested more than|more than .* objects")
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 10)
    refused(path, "more than 10 objects")


def test_what_is_no_file_of_caffes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["model_weights/a"] = np.float32(1)
    refused(path, "no group /data")
    for key, value in (("a/weight", np.float32(1)), ("a/1", np.float32(1)), ("a/0", "text"), ("a", np.float32(1))):
        with h5py.File(path, "w") as file:
            file[f"data/{key}"] = value
        refused(path, "neither a layer nor a blob|not numbered from 0|holds no numbers")
    path.write_bytes((DATA / "v2.caffemodel.h5").read_bytes()[:3000])
    refused(path, "damaged HDF5 file")


def test_without_h5py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"pip install pytorch-icnet\[hdf5\]"):
        read_weights(DATA / "v2.caffemodel.h5")
