"""A negative control for :mod:`tests.isolation`: a test that breaks its process, and one that looks at it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SUITE = '''
import colorsys, logging, logging.config, os, random, signal, sys

import absl.logging  # its handler has the file in which pytest captures
import click
import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from converter import reference, registry

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOGGER = logging.getLogger("converter")
KEPT = {
    "types": lambda: registry.registered(),
    "formulas": lambda: dict(reference.registry._formulas),
    "environment": lambda: {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
    "folder": os.getcwd,
    "path": lambda: sys.path[:],
    "module": lambda: sys.modules["colorsys"],
    "streams": lambda: (sys.stdin, sys.stdout, sys.stderr),
    "closed": lambda: (sys.stdout.closed, sys.stderr.closed),
    "signals": lambda: [signal.getsignal(number) for number in SIGNALS],
    "threads": lambda: (torch.get_num_threads(), cv2.getNumThreads()),
    "dtype": torch.get_default_dtype,
    "matmul": torch.get_float32_matmul_precision,
    "gradients": torch.is_grad_enabled,
    "deterministic": torch.are_deterministic_algorithms_enabled,
    "cudnn": lambda: (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic),
    "random": lambda: (random.getstate(), np.random.get_state()[1].tolist()),
    "torch": lambda: torch.get_rng_state().tolist(),
    "errors": np.geterr,
    "logging": lambda: (LOGGER.level, LOGGER.propagate, LOGGER.handlers[:], logging.root.manager.disable),
}


@click.command()
def server():
    """Configures logging anew, as uvicorn does."""
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})


def test_first(tmp_path):
    before.update({name: look() for name, look in KEPT.items()})
    print("the first was here")


def test_second(tmp_path):
    torch.use_deterministic_algorithms(True)
    registry.register("Local")(lambda params, shapes, blobs: None)
    reference.registry.formula("Local")(lambda layer, bottoms, blobs: [])
    os.environ["OF_A_TEST"] = "1"
    del os.environ["HOME"]
    sys.path.insert(0, "nowhere")
    sys.modules["colorsys"] = None
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(3)
    cv2.setNumThreads(3)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.set_grad_enabled(False)
    torch.backends.cudnn.allow_tf32 = not torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.deterministic = True
    random.random()
    np.random.rand()
    torch.rand(1)
    np.seterr(all="raise")
    LOGGER.addHandler(logging.NullHandler())
    LOGGER.setLevel(logging.ERROR)
    LOGGER.propagate = False
    logging.disable(logging.CRITICAL)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    if "tests.isolation" in sys.modules:  # otherwise they end pytest itself
        gone.rmdir()
        assert CliRunner().invoke(server, []).exit_code == 0
        sys.stdin = sys.stdout = sys.stderr = open(os.devnull)


def test_third(tmp_path):
    print("the third was here")
    changed = [name for name, look in KEPT.items() if look() != before[name]]
    print("changed:", *changed)
    assert not changed


before = {}
'''


def outcome(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "--rootdir", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *options, "test_suite.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_next_test_finds_all_as_before(tmp_path: Path) -> None:
    found = outcome(tmp_path, "-p", "tests.isolation")
    assert found.returncode == 0 and "3 passed" in found.stdout, found.stdout + found.stderr


def test_without_the_fixture_it_does_not(tmp_path: Path) -> None:
    """The negative control: each thing that does not end pytest is found changed."""
    found = outcome(tmp_path)
    assert found.returncode == 1 and "1 failed, 2 passed" in found.stdout, found.stdout + found.stderr
    changed = re.search(r"^changed: (.+)", found.stdout, re.MULTILINE)
    kept = re.findall(r'^    "(\w+)": ', SUITE, re.MULTILINE)
    assert changed is not None and set(kept) - set(changed[1].split()) == {"streams", "closed"}


@pytest.mark.parametrize("file", ["setup.cfg", "constraints.txt"])
def test_the_order_is_random(file: str) -> None:
    assert re.search(r"^\s*pytest-randomly[>=]=", (ROOT / file).read_text(), re.MULTILINE)
