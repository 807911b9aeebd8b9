"""The application inside one process, with a network that is as slow as the test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from pytorch_icnet.predict import Predictor
from pytorch_icnet.serve.app import create_app
from pytorch_icnet.serve.settings import ServerSettings
from pytorch_icnet.serve.worker import Answer, Busy, Worker
from pytorch_icnet.supervisely.modes import DeployedModel

from ..nets import seeded
from .running import INPUT_SIZE, as_png, image, label_map

PNG = {"Content-Type": "image/png"}
BODY = as_png(image(0))


class Gated(Predictor):
    """Waits before the network runs, while it is closed."""

    def __init__(self) -> None:
        module = seeded()
        module.card = replace(module.card, input_size=INPUT_SIZE)
        super().__init__(module, backend="eager", threads=1)
        self.open, self.begun = threading.Event(), threading.Semaphore(0)
        self.open.set()

    def forward(self, prepared: Any) -> Any:
        self.begun.release()
        assert self.open.wait(30)
        return super().forward(prepared)


@pytest.fixture(scope="module")
def predictor() -> Gated:
    return Gated()


@contextmanager
def asking(predictor: Predictor, **settings: Any) -> Iterator[TestClient]:
    with TestClient(create_app(DeployedModel.of(predictor), ServerSettings(**settings))) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        yield client


def test_requests_beyond_the_queue_are_sent_away(predictor: Gated) -> None:
    """One runs, two wait, the others hear 429; when the network goes on, the three are answered."""
    with asking(predictor, queue=2, batch=1) as client, ThreadPoolExecutor(8) as pool:
        while predictor.begun.acquire(blocking=False):
            pass
        predictor.open.clear()
        try:
            first = pool.submit(client.post, "/predict", content=BODY, headers=PNG)
            assert predictor.begun.acquire(timeout=30)
            rest = [pool.submit(client.post, "/predict", content=BODY, headers=PNG) for _ in range(6)]
            refused = [next(done) for done in [_as_done(rest)] for _ in range(4)]
            assert [answer.status_code for answer in refused] == [429] * 4
            assert all(answer.headers["retry-after"] == "1" for answer in refused)
            assert "icnet_queue_length 2.0" in client.get("/metrics").text
        finally:
            predictor.open.set()
        statuses = sorted(each.result().status_code for each in [first, *rest])
        assert statuses == [200] * 3 + [429] * 4
        assert (label_map(first.result().content) == predictor.labels(image(0))).all()


def _as_done(futures: list[Future[Any]]) -> Iterator[Any]:
    from concurrent.futures import as_completed

    return (each.result() for each in as_completed(futures, timeout=30))


def test_answers_that_take_too_long(predictor: Gated) -> None:
    with asking(predictor, timeout=0.5) as client:
        predictor.open.clear()
        try:
            late = client.post("/predict", content=BODY, headers=PNG)
        finally:
            predictor.open.set()
        assert late.status_code == 504 and "0.5 s" in late.json()["detail"]
        assert client.post("/predict", content=BODY, headers=PNG).status_code in (200, 504)


def test_a_token(predictor: Gated) -> None:
    with asking(predictor, token="secret") as client:
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "secret"},
            {"Authorization": "Bearer ü"},
        ):
            refused = client.post("/predict", content=BODY, headers={**PNG, **_latin(header)})
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == client.get("/classes").status_code == 401
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        right = {"Authorization": "Bearer secret"}
        assert client.post("/predict", content=BODY, headers={**PNG, **right}).status_code == 200


def _latin(headers: dict[str, str]) -> dict[str, Any]:
    return {name: value.encode("latin-1") for name, value in headers.items()}


def test_names_of_the_server(predictor: Gated) -> None:
    with TestClient(create_app(DeployedModel.of(predictor), ServerSettings(hosts=("here", "[::1]")))) as client:
        for host, status in (("here", 200), ("HERE:80", 200), ("[::1]:8000", 200), ("there", 421), ("", 421)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status, host


def test_all_bodies_together_are_bounded(predictor: Gated) -> None:
    with asking(predictor) as client:
        client.app.state.memory.limit = 10  # type: ignore[attr-defined]
        busy = client.post("/predict", content=BODY, headers=PNG)
        assert busy.status_code == 429 and busy.headers["retry-after"] == "1"
        assert client.app.state.memory.taken == 0  # type: ignore[attr-defined]


def test_no_memory_is_no_crash(predictor: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(predictor) as client:
        for error in (MemoryError("x"), torch.OutOfMemoryError("CUDA out of memory")):

            def fail(*_: Any, error: Exception = error) -> Any:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(predictor, "finish", fail)
                assert client.post("/predict", content=BODY, headers=PNG).status_code == 503
        assert client.post("/predict", content=BODY, headers=PNG).status_code == 200


class Adding(Answer):
    """A task that adds one."""

    def __init__(self, value: int, fails: bool = False) -> None:
        super().__init__(b"", 0)
        self.value, self.fails = value, fails

    def prepare(self) -> None:
        self.prepared = self.value

    def forward(self) -> None:
        if self.fails:
            raise ValueError("wrong")
        self.computed = self.prepared + 1

    def finish(self) -> None:
        self.body = str(self.computed).encode()


class Blocking(Adding):
    def __init__(self) -> None:
        super().__init__(0)
        self.begun, self.go = threading.Event(), threading.Event()

    def forward(self) -> None:
        self.begun.set()
        assert self.go.wait(30)
        self.computed = self.prepared


def test_what_waits_is_taken_in_batches() -> None:
    sizes: list[int] = []
    worker = Worker(10, batch=4, seen=sizes.append)
    blocking = Blocking()
    first = worker.submit(blocking)
    assert blocking.begun.wait(30)
    rest = [worker.submit(Adding(number, fails=number == 3)) for number in range(10)]
    with pytest.raises(Busy):
        worker.submit(Adding(0))
    assert rest[5].cancel() and worker.waiting == 10
    blocking.go.set()
    assert first.result(30) == b"0"
    for number, answer in enumerate(rest):
        if number == 3:
            with pytest.raises(ValueError, match="wrong"):
                answer.result(30)
        elif number != 5:
            assert answer.result(30) == str(number + 1).encode()
    worker.close()
    assert sizes == [1, 4, 3, 2] and not worker.alive
    with pytest.raises(Busy):
        worker.submit(Adding(0))


def test_a_closed_worker_finishes_what_waits() -> None:
    worker = Worker(50, batch=3)
    answers = [worker.submit(Adding(number)) for number in range(50)]
    worker.close()
    assert [answer.result(0) for answer in answers] == [str(number + 1).encode() for number in range(50)]
