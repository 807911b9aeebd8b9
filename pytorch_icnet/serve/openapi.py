"""What the OpenAPI description says of each path, and a page that shows it.

The constants are keywords of the functions that add routes to an application.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment

from .bodies import IMAGE
from .worker import JSON, PNG

_FILE = {"type": "string", "format": "binary"}
_TEXT = {"type": "string", "description": "JSON"}
_SETTINGS = {"meta": _TEXT, "mode": _TEXT}


def _form(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"multipart/form-data": {"schema": {"type": "object", **more, "properties": properties}}}


_FAILURES: dict[int, Any] = {
    400: {"description": "No image, or a damaged request."},
    401: {"description": "No token, or a wrong one."},
    408: {"description": "The request came too slowly."},
    413: {"description": "Too many bytes or pixels."},
    415: {"description": "Neither PNG nor JPEG."},
    422: {"description": "A damaged image, or a wrong annotation, meta or mode."},
    429: {"description": "Too many requests; see Retry-After."},
    504: {"description": "No answer in time."},
}
_IMAGE_BODY = {
    "required": True,
    "content": {"image/png": {"schema": _FILE}, "image/jpeg": {"schema": _FILE}, **_form({IMAGE: _FILE})},
}
_INFERENCE_BODY = {
    "required": True,
    "content": _form({IMAGE: _FILE, "annotation": _TEXT, **_SETTINGS}, required=[IMAGE]),
}

PREDICT: dict[str, Any] = {
    "summary": "The label map of an image",
    "responses": {200: {"content": {PNG: {}, JSON: {}}, "description": "In the form asked for."}, **_FAILURES},
    "openapi_extra": {"requestBody": _IMAGE_BODY},
}
OUT_META: dict[str, Any] = {
    "summary": "Supervisely: the classes of annotated projects",
    "responses": _FAILURES,
    "openapi_extra": {"requestBody": {"content": _form(_SETTINGS)}},
}
INFERENCE: dict[str, Any] = {
    "summary": "Supervisely: an annotation with what the network sees",
    "responses": _FAILURES,
    "openapi_extra": {"requestBody": _INFERENCE_BODY},
}
CLASSES: dict[str, Any] = {"summary": "The classes: index, name and colour"}
ALIVE: dict[str, Any] = {"summary": "Whether the process answers"}
READY: dict[str, Any] = {
    "summary": "Whether the network takes requests",
    "responses": {503: {"description": "Not yet."}},
}
METRICS: dict[str, Any] = {"summary": "Figures for Prometheus"}

_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    resources.files(__package__).joinpath("docs.html").read_text("utf-8")
)


def document(description: Mapping[str, Any]) -> str:
    """An HTML page of an OpenAPI description, without scripts of anybody else."""
    return _PAGE.render(info=description.get("info", {}), paths=description.get("paths", {}))
