"""``icnet-serve``: label maps over HTTP."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from icnet_common import console
from icnet_common.console import FILE, PATH
from icnet_common.errors import InputError
from pytorch_icnet.runtime.devices import find_device

from .. import options as shared
from ..supervisely.results import open_model
from .settings import ServerSettings

logger = logging.getLogger(__name__)

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def _chosen(ctx: click.Context, option: click.Parameter, value: str) -> str:
    """ "auto" follows the variable that Supervisely's server has for the GPU."""
    gpu = os.environ.get("GPU_DEVICE", "")
    return f"cuda:{gpu}" if value == "auto" and gpu.isdigit() and find_device("auto").type == "cuda" else value


def _limit(name: str, kind: click.ParamType[Any], text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for the field of :class:`ServerSettings` of the same name."""
    default = getattr(ServerSettings, name.removeprefix("--").replace("-", "_"))
    return click.option(name, type=kind, default=default, show_default=True, help=text)


@console.command("icnet-serve")
@click.option("--weights", type=PATH, required=True, help="A file of weights, or a checkpoint folder.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0: all.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    envvar=["ICNET_PORT", "rest_inference_port"],
    help="0: any that is free.",
)
@click.option("--device", default="auto", show_default=True, callback=_chosen, help="cuda, cpu, or auto.")
@shared.precision
@shared.backend
@shared.input_size
@_limit("--queue", click.IntRange(1, 4096), "Requests that may wait; beyond: 429.")
@_limit("--batch", click.IntRange(1, 64), "Requests that are worked on together.")
@_limit("--max-pixels", click.IntRange(1, 1 << 27), "Largest accepted image, in pixels.")
@_limit("--max-bytes", click.IntRange(1, 1 << 30), "Largest request body, in bytes.")
@_limit("--timeout", click.FloatRange(0.1, 3600), "Seconds for a request to arrive, and for its answer.")
@click.option(
    "--token",
    envvar="ICNET_TOKEN",
    help="Bearer token required on requests. Prefer ICNET_TOKEN; arguments are visible in `ps`.",
)
@click.option("--token-file", type=FILE, help="A file that holds the token.")
@click.option(
    "--allowed-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="A name under which the server may be asked, as behind a proxy.",
)
def main(
    weights: Path,
    host: str,
    port: int,
    device: str,
    precision: str,
    backend: str,
    input_size: tuple[int, int] | None,
    token: str | None,
    token_file: Path | None,
    allowed: tuple[str, ...],
    **limits: Any,
) -> None:
    """Answer images with label maps over HTTP, at /predict; a page to drop images on is at /, all paths at /docs.

    Listens on this machine only unless --host says otherwise. Requests beyond --queue get the status 429.
    """
    try:
        from .server import run
    except ImportError as error:
        raise InputError(f"serving needs FastAPI ({error}): pip install 'pytorch-icnet[serve]'") from error
    hosts = tuple(name.lower() for name in allowed) or None
    if _is_local(host):
        hosts = (*_LOCAL, *(hosts or ()))
    settings = ServerSettings(**limits, token=_token(token, token_file), hosts=hosts)
    if settings.token is None and not _is_local(host):
        logger.warning("icnet-serve: everybody who reaches %s may use this server; --token-file asks for a token", host)
    size = {} if input_size is None else {"input_size": input_size}
    model = open_model(weights, device=device, precision=precision, backend=backend, **size)
    run(model, settings, host, port)


def _token(token: str | None, file: Path | None) -> str | None:
    if file is not None:
        try:
            with file.open("r", encoding="utf-8") as stream:
                token = stream.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from error
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError("the token must be printable ASCII characters without spaces, and at least one")
    return token


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
