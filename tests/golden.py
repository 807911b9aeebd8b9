"""Where the large reference files are, and how far a set of activations is from them.

Small references are copied into ``tests/``. The large ones lie in a folder ``shared`` beside the repository where the
project is developed; tests that need them skip elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from converter.compare import Difference, differences, first_diverging, worst

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = Path(__file__).resolve().parent / "data"


def shared(*parts: str) -> Path:
    """A file or folder of the large references, or skip the test."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip("needs ../shared/golden")
    return path


def arrays(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """The arrays of an npz file whose names begin with ``prefix``, which is taken off."""
    with np.load(path) as file:
        return {
            name.removeprefix(prefix): torch.from_numpy(file[name]) for name in file.files if name.startswith(prefix)
        }


def assert_close(
    values: Mapping[str, torch.Tensor],
    references: Mapping[str, torch.Tensor],
    limit: float,
    *,
    expected: Iterable[str] | None = None,
) -> Difference:
    """Every reference has a value within ``limit`` (max|a - b| / max|b|); fails with the first layer that diverges.

    Args:
        values: what is tested.
        references: what it is compared with, in any order.
        limit: the largest relative difference allowed.
        expected: names that must be among those compared; default: all references.

    Returns:
        The worst difference.
    """
    missing = sorted(set(references if expected is None else expected) - set(values))
    assert not missing, f"no value for {missing}"
    found = differences(values, references)
    diverging = first_diverging(found, limit)
    assert diverging is None, f"first diverging layer {diverging}, worst {worst(found)}"
    return worst(found)
