"""Mean files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt import InputError, WeightsError, read_mean, schema, write_mean

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 4, 5), (3,), (), (1, 3, 0, 5)])
def test_round_trip(shape: tuple[int, ...], tmp_path: Path) -> None:
    mean = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    write_mean(path, mean)
    read = read_mean(path)
    assert np.array_equal(read, mean) and read.shape == shape and read.dtype == np.float32
    assert type(read) is np.ndarray and read.flags.writeable and read.flags.aligned


def test_protobuf_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    mean = np.arange(24, dtype=np.float64).reshape(1, 2, 3, 4)
    write_mean(path, mean[:, :, ::-1])
    blob = schema.message("BlobProto").FromString(path.read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width, blob.HasField("shape")) == (1, 2, 3, 4, False)
    assert list(blob.data) == mean[:, :, ::-1].reshape(-1).tolist()
    write_mean(path, mean[0])
    blob = schema.message("BlobProto").FromString(path.read_bytes())
    assert list(blob.shape.dim) == [2, 3, 4] and not blob.HasField("num")


def test_doubles_are_read_as_floats(tmp_path: Path) -> None:
    blob = schema.message("BlobProto")(shape={"dim": [2]}, double_data=[0.1, 2])
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    assert read_mean(path).dtype == np.float32
    assert read_mean(path).tolist() == [np.float32(0.1), 2]


def test_what_is_no_mean(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    whole = (DATA / "mean" / "new.binaryproto").read_bytes()
    for data in (whole[:-1], b"", whole + b"\x07", b"\0" * 20, b"PK\x03\x04", b"<html>"):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="not a mean file"):
            read_mean(path)
    with pytest.raises(WeightsError, match="not a mean file"):
        read_mean(DATA / "weights" / "raw_packed.caffemodel")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_mean(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be written"):
        write_mean(path / "below" / "a-file", np.zeros(3))
