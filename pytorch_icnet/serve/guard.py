"""Before and after every request: who may ask, under which name, with which headers answers leave, and the count."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import Mapping
from re import DOTALL, findall
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import ServerSettings

OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no token: the page asks for it."""

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """What a server counts, for Prometheus."""

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


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what is guarded.
        settings: the token and the host names.
        metrics: where requests are counted.
        pages: HTML pages of the server, whose own scripts and styles may run.
        paths: which are counted by name.
    """

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, pages: tuple[str, ...], paths: frozenset[str]
    ) -> None:
        self._app, self._settings, self._metrics, self._paths = app, settings, metrics, paths
        self._policy = content_policy(pages)
        token = settings.token
        self._secret = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path = time.perf_counter(), scope["path"] if scope["path"] in self._paths else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["Content-Security-Policy"] = self._policy
                self._metrics.requests.labels(path, str(message["status"])).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["path"], scope["method"])
        await (refusal or self._app)(scope, receive, counted)

    def _refusal(self, headers: Headers, path: str, method: str) -> JSONResponse | None:
        hosts = self._settings.hosts
        if hosts is not None and _name(headers.get("host", "")) not in hosts:
            return JSONResponse({"detail": "asked under a name that is not allowed (--allowed-host)"}, 421)
        if method == "POST" and headers.get("sec-fetch-site") == "cross-site":
            return JSONResponse({"detail": "asked by a page of another site"}, 403)
        if self._secret is None or path in OPEN:
            return None
        given = headers.get("authorization", "").encode("latin-1", "replace")
        if hmac.compare_digest(given, self._secret):
            return None
        return JSONResponse(
            {"detail": "a token is needed: Authorization: Bearer ..."}, 401, {"WWW-Authenticate": "Bearer"}
        )


def _name(host: str) -> str:
    """A Host header without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def content_policy(pages: tuple[str, ...]) -> str:
    """A Content-Security-Policy under which the scripts and styles of these pages run, and nothing else."""

    def sums(tag: str) -> str:
        bodies = [body for page in pages for body in findall(rf"<{tag}>(.*?)</{tag}>", page, DOTALL)]
        return " ".join(f"'sha256-{b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in bodies)

    scripts, styles = (sums(tag) or "'none'" for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
