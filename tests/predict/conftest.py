"""A narrow network in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..nets import seeded


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "narrow.pt"
    torch.save(seeded().state_dict(), path)
    return path
