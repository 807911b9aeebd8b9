"""What a server counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept: Any = {"registry": self.registry}
        self.requests = Counter("icnet_requests", "Requests by path and status.", ("path", "status"), **kept)
        seconds = "From a request's head to its answer."
        self.seconds = Histogram("icnet_request_seconds", seconds, ("path",), buckets=_SECONDS, **kept)
        self.batches = Histogram("icnet_batch_size", "Requests taken from the queue together.", buckets=_SIZES, **kept)
        self.waiting = Gauge("icnet_queue_length", "Requests that wait.", **kept)
        self.memory = Gauge("icnet_body_bytes", "Bytes of requests' bodies on their way.", **kept)
        self.ready = Gauge("icnet_ready", "1 when the network takes requests.", **kept)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
