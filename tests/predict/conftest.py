"""A narrow network in a file, and a cache of its own."""

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


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code goes, also of processes that are begun."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
