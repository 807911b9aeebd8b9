"""One candidate in a process of its own, so that none disturbs another's memory and threads.

Started by :mod:`benchmarks.forward`. It prints a line of JSON when it is ready, after a first pass whose scores it has
saved, and then runs a pass and prints its seconds for each line that it reads.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from pytorch_icnet.runtime.work import synchronize

from .rivals import ALL, Setting


class Worker:
    """The other side: starts the process, and asks it for passes."""

    def __init__(self, name: str, setting: Setting, scores: Path) -> None:
        job = json.dumps({"name": name, "setting": asdict(setting), "scores": str(scores)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.failure: str | None = json.loads(self._line())["failure"]

    def seconds(self) -> float:
        """Of one pass, run now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line or json.dumps({"failure": f"ended with exit code {self._process.wait()}"})


def main() -> None:
    job = json.loads(sys.argv[1])
    setting = Setting(**{**job["setting"], "size": tuple(job["setting"]["size"])})
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    failure, run, x = None, None, setting.images().to(device)
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            run = ALL[job["name"]](setting)
            torch.save(run(x).cpu(), job["scores"])
        except Exception as error:  # whatever keeps a candidate from running is what the table says
            failure = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(json.dumps({"failure": failure}), file=answers, flush=True)
        for _ in sys.stdin:
            assert run is not None
            synchronize(device)
            start = time.perf_counter()
            run(x)
            synchronize(device)
            print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
