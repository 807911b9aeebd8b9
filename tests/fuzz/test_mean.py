"""Mutated mean files: read as protobuf's own parser reads them, or refused with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt import WeightsError, read_mean

from . import corpus, reference
from .mutate import mutations


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_mutations(count: int, tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    accepted = 0
    for data in mutations(corpus.means(), count, seed=count):
        path.write_bytes(data)
        try:
            expected = reference.read_mean(data)
        except reference.Refused:
            with pytest.raises(WeightsError):
                read_mean(path)
            continue
        mean = read_mean(path)
        assert mean.shape == expected.shape and mean.tobytes() == expected.tobytes() and mean.dtype == np.float32
        accepted += 1
    assert count // 20 < accepted < count
