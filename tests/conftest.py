"""What holds for all tests."""

from __future__ import annotations

import os

import pytest

from .isolation import process_as_before, pytest_runtest_setup

__all__ = ["cache_of_their_own", "process_as_before", "pytest_runtest_setup"]


@pytest.fixture(scope="session", autouse=True)
def cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Compiled code goes to a folder that all processes of a run share, and nowhere into the user's home."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(shared)
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
