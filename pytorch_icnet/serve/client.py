"""``python -m pytorch_icnet.serve.client``: ask a server for Supervisely's annotations, as the plugin's client."""

from __future__ import annotations

import http.client
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from icnet_common import console
from icnet_common.console import FILE
from icnet_common.errors import InputError
from icnet_common.files import write_json

_TIMEOUT = 120.0


@console.command("python -m pytorch_icnet.serve.client")
@click.option("--server-url", required=True, help="Such as http://127.0.0.1:8000.")
@click.option(
    "--request-type",
    type=click.Choice(["inference", "get_out_meta", "get_output_meta"]),
    default="inference",
    show_default=True,
)
@click.option("--in-image", type=FILE, help="A PNG or JPEG file, for inference.")
@click.option("--annotation", type=FILE, help="What is annotated in the image already (JSON).")
@click.option("--meta", type=FILE, help="The project's classes, its meta.json.")
@click.option("--mode", type=FILE, help="The inference mode (JSON).")
@click.option("--token", envvar="ICNET_TOKEN", help="The server's token.")
@click.option("--out-json", type=FILE, help="Where to write the answer.  [default: the terminal]")
def main(
    server_url: str,
    request_type: str,
    in_image: Path | None,
    token: str | None,
    out_json: Path | None,
    **parts: Path | None,
) -> None:
    """Ask a server for an image's annotation, or for the classes that annotations will have."""
    if request_type == "inference" and in_image is None:
        raise click.UsageError("--request-type inference needs --in-image")
    files = {"image": in_image if request_type == "inference" else None, **parts}
    found = post(f"{server_url.rstrip('/')}/model/{request_type}", {k: v for k, v in files.items() if v}, token)
    if out_json is None:
        click.echo(json.dumps(found, indent=4, sort_keys=True))
    else:
        write_json(out_json, found, indent=4, sort_keys=True)


def post(url: str, files: Mapping[str, Path], token: str | None = None) -> Any:
    """Send files as the parts of a form; returns the JSON value of the answer.

    Raises:
        InputError: the server cannot be reached, or refuses; with its reason.
    """
    boundary = secrets.token_hex(16)
    lines = []
    for name, path in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
        lines += [f"--{boundary}\r\n{head}\r\n\r\n".encode(), path.read_bytes(), b"\r\n"]
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: expected an address that begins with http:// or https://")
    request = urllib.request.Request(url, b"".join([*lines, f"--{boundary}--\r\n".encode()]), headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: {error.code}: {_reason(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{url}: {getattr(error, 'reason', error)}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason


if __name__ == "__main__":
    main(prog_name="python -m pytorch_icnet.serve.client")
