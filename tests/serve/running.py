"""A server in a process of its own, as users start it, and images for it."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
import numpy.typing as npt

from pytorch_icnet.imaging import png
from pytorch_icnet.weights.checkpoints import Checkpoint, Provenance, write_checkpoint

from ..nets import seeded

ROOT = Path(__file__).parents[2]
INPUT_SIZE = (65, 97)

Bytes = npt.NDArray[np.uint8]


def write_weights(path: Path) -> Path:
    """A narrow ICNet with small images, whose label maps have several classes."""
    provenance = Provenance(path.name, "0" * 32, "0" * 64, None)
    write_checkpoint(path, Checkpoint(dict(seeded().state_dict()), provenance, None, INPUT_SIZE))
    return path


class Server:
    """A running ``icnet-serve``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(weights: Path, *options: str) -> Iterator[Server]:
    """A server at a free port that is ready; ended at the end."""
    arguments = ["--weights", str(weights), "--device", "cpu", "--backend", "eager", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytorch_icnet.serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if "http://" in line), "")
        found = re.search(r"http://\S+", line)
        assert found is not None, "the server did not start"
        server = Server(process, found[0])
        ready = httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=30)
        while ready.get(f"{server.url}readyz").status_code != 200:
            assert process.poll() is None
        yield server
    finally:
        process.kill()
        process.wait()


def image(seed: int, size: tuple[int, int] = (48, 80)) -> Bytes:
    """Coarse colours, uint8 HxWx3."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def as_png(rgb: Bytes) -> bytes:
    return _encoded(".png", rgb)


def as_jpeg(rgb: Bytes) -> bytes:
    return _encoded(".jpg", rgb)


def _encoded(suffix: str, rgb: Bytes) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def bomb(width: int = 10_000, height: int = 10_000) -> bytes:
    """A PNG of a hundred million pixels in few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, png.GRAY, 0, 0, 0)
    packing = zlib.compressobj(9)
    rows = b"".join(packing.compress(bytes(width + 1)) for _ in range(height)) + packing.flush()
    return png.assemble([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")])


def label_map(content: bytes) -> Bytes:
    """The values of a gray or indexed PNG."""
    gray = png.indexed_as_gray(content) if png.read_header(content).colour_type == png.INDEXED else content
    return np.asarray(cv2.imdecode(np.frombuffer(gray, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)
