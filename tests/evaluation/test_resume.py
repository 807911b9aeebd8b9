"""A run that was killed goes on where it was, and its report is that of a run that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .small import command, contents, environment, evaluate, make_small, report


def kill_once(root: Path, chance: random.Random, *, most: int) -> int:
    """Resume, and kill -9 some images later; returns how many images were finished then."""
    journal = root / "killed" / "journal.0.jsonl"

    def finished() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    goal = finished() + chance.randint(0, most)
    with subprocess.Popen(
        command("--save-root", "killed", "--resume"),
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and finished() < goal:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05) if goal else chance.uniform(0, 3))
        process.kill()
    return finished()


@pytest.mark.parametrize(("kills", "most"), [(2, 8), pytest.param(20, 6, marks=pytest.mark.slow)])
def test_killed_and_resumed(tmp_path: Path, kills: int, most: int) -> None:
    count = 2 + kills * most
    make_small(tmp_path, count)
    whole = evaluate(tmp_path, "--save-root", "whole")
    assert whole.returncode == 0, whole.stderr
    chance = random.Random(kills)
    progress = [kill_once(tmp_path, chance, most=most) for _ in range(kills)]
    assert progress == sorted(progress) and 0 < progress[-1] < count
    last = evaluate(tmp_path, "--save-root", "killed", "--resume")
    assert last.returncode == 0, last.stderr
    assert not last.stderr.startswith("0 of")
    assert report(tmp_path, "killed") == report(tmp_path, "whole")
    assert contents(tmp_path, "killed") == contents(tmp_path, "whole"), "no temporary files are left either"
    assert last.stdout.splitlines()[:-1] == whole.stdout.splitlines()[:-1]


def test_sigterm_ends_in_order(tmp_path: Path) -> None:
    make_small(tmp_path, 40)
    with subprocess.Popen(
        command(), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        journal = tmp_path / "results" / "journal.0.jsonl"
        while process.poll() is None and not journal.exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr == "icnet-eval: ended from outside; what is finished is kept: run again with --resume\n"
    assert (tmp_path / "results" / "log.txt").read_text().endswith(stderr.removeprefix("icnet-eval:"))


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    make_small(tmp_path, 60)
    with subprocess.Popen(command(), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (tmp_path / "results" / "journal.0.jsonl").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        try:
            second = evaluate(tmp_path, "--resume")
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
    assert second.returncode == 1
    message = "another run is writing there; wait for it, or give another --save-root"
    assert second.stderr == f"icnet-eval: results: {message}\n"
