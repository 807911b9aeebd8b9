"""The server's process: a socket, and an end that lets requests finish."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import Any

import click
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from icnet_common.errors import InputError

from ..supervisely.modes import DeployedModel
from .app import create_app
from .settings import ServerSettings

_BACKLOG = 256
_KEEP_ALIVE = 75
"""Seconds, more than clients keep an idle connection: who closes first must not be the server, or requests are lost."""


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on a client whose next request's head does not arrive in time."""

    seconds = ServerSettings.timeout

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._timer.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._timer.cancel()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self._hang_up)

    def _hang_up(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def run(model: DeployedModel, settings: ServerSettings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; then answer what has begun, and end.

    Raises:
        InputError: the address cannot be used.
    """
    protocol = type("Protocol", (TimedProtocol,), {"seconds": settings.timeout})
    config = uvicorn.Config(
        create_app(model, settings),
        http=protocol,
        ws="none",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=4 * settings.queue + 64,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.timeout) + 1,
        h11_max_incomplete_event_size=16 << 10,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot listen there: {error.strerror or error}") from error
    address, chosen = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    click.echo(f"serving {model.predictor.num_classes} classes at http://{shown}:{chosen}/")
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again after a proper end
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run([listening])
