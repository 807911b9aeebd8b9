"""One run in several processes: the same bits, one report, and an end when one of them fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from evaluation.run.distributed import LOST, Group, processes

from .small import command, contents, environment, evaluate, make_small, report


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 9 images and the results of one process in ``one``."""
    root = make_small(tmp_path_factory.mktemp("small"), 9)
    alone = evaluate(root, "--save-root", "one")
    assert alone.returncode == 0, alone.stderr
    (root / "stdout").write_text(alone.stdout)
    return root


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_same_bits_in_any_number_of_processes(small: Path, count: int) -> None:
    several = evaluate(small, "--save-root", f"in{count}", processes=count)
    assert several.returncode == 0, several.stderr
    assert report(small, f"in{count}") == report(small, "one")
    assert contents(small, f"in{count}") == contents(small, "one")
    assert several.stdout.splitlines()[:-1] == (small / "stdout").read_text().splitlines()[:-1]
    timing = json.loads((small / f"in{count}" / "report.json").read_text())["timing"]
    assert timing["processes"] == count and timing["images"] == 9


def test_resumed_with_another_number_of_processes(small: Path) -> None:
    assert evaluate(small, "--save-root", "mixed", "--limit", "5").returncode == 0
    several = evaluate(small, "--save-root", "mixed", "--resume", processes=2)
    assert several.returncode == 0, several.stderr
    assert report(small, "mixed")["scores"] == report(small, "one")["scores"]
    assert json.loads((small / "mixed" / "report.json").read_text())["timing"]["kept"] == 5


def test_error_of_one_process_ends_all(small: Path) -> None:
    damaged = small / "i" / "00003.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-20])
    try:
        failed = evaluate(small, "--save-root", "damaged", processes=2)
    finally:
        damaged.write_bytes(whole)
    assert failed.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if line.startswith("icnet-eval:")]
    assert lines == ["icnet-eval: process 1 of 2: i/00003.png: the PNG file is cut off"]
    resumed = evaluate(small, "--save-root", "damaged", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert report(small, "damaged") == report(small, "one")


def test_death_of_one_process_ends_all(tmp_path: Path) -> None:
    """kill -9 of the second process; another run then goes on."""
    make_small(tmp_path, 40)
    with subprocess.Popen(
        command(processes=2),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        journal = tmp_path / "results" / "journal.1.jsonl"
        while process.poll() is None and not journal.exists():
            time.sleep(0.01)
        (victim,) = (pid for pid in children(process.pid) if variable(pid, "RANK") == "1")
        os.kill(victim, signal.SIGKILL)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    lines = [line for line in stderr.splitlines() if line.startswith("icnet-eval:")]
    assert lines == [f"icnet-eval: {LOST}"]
    resumed = evaluate(tmp_path, "--resume", processes=2)
    assert resumed.returncode == 0, resumed.stderr
    assert evaluate(tmp_path, "--save-root", "one").returncode == 0
    assert report(tmp_path, "results") == report(tmp_path, "one")


def children(parent: int) -> list[int]:
    """Process ids of all descendants."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*"):
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def variable(pid: int, name: str) -> str | None:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((e.split(b"=", 1)[1].decode() for e in entries if e.startswith(f"{name}=".encode())), None)


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes("cpu", 1) as group:
        assert group == Group()
        assert group.share([1, 2, 3]) == [1, 2, 3]
        assert group.gather("x") == ["x"] and group.total(3) == 3
        with group.collective():
            pass
        with pytest.raises(ValueError, match="mine"), group.collective():
            raise ValueError("mine")


def test_shares_are_the_whole() -> None:
    items = list(range(11))
    shares = [Group(rank, 4).share(items) for rank in range(4)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
