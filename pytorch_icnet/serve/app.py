"""The server's paths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from icnet_common import console
from icnet_common.config import parse_json
from icnet_common.errors import InputError, user_message

from ..imaging import png
from ..imaging.images import TooManyPixels, UnknownFormat, check_image
from ..supervisely.config import mode_of
from ..supervisely.meta import Meta, meta_of
from ..supervisely.modes import DeployedModel, Inference
from .bodies import IMAGE, Body, BodyMemory
from .docs import document
from .guard import Guard
from .metrics import MEDIA_TYPE, Metrics
from .settings import ServerSettings, pixels_for
from .work import FORMS, JSON, NAME, PNG, AnnotationAnswer, Answer, LabelMapAnswer
from .worker import Busy, Worker

FormName = Literal["labels", "colour", "overlay", "annotation"]

DEPLOYED_SUFFIX = "_model"
"""Added to class names by a deployed model where the mode says nothing, as in Supervisely's ``worker_api``."""

_RETRY_AFTER = "1"
_STATUS: Mapping[type[InputError], int] = {UnknownFormat: 415, TooManyPixels: 413}

_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"description": "No image, or a damaged request."},
    401: {"description": "No token, or a wrong one."},
    408: {"description": "The request came too slowly."},
    413: {"description": "Too many bytes or pixels."},
    415: {"description": "Neither PNG nor JPEG."},
    422: {"description": "A damaged image, or a wrong annotation, meta or mode."},
    429: {"description": "Too many requests; see Retry-After."},
    504: {"description": "No answer in time."},
}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {IMAGE: {"type": "string", "format": "binary"}}}
            },
        },
    }
}
_TEXTS = {name: {"type": "string", "description": "JSON"} for name in ("meta", "mode")}
_META_FORM = {"content": {"multipart/form-data": {"schema": {"type": "object", "properties": _TEXTS}}}}
_INFERENCE_FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [IMAGE],
                "properties": {
                    IMAGE: {"type": "string", "format": "binary"},
                    "annotation": {"type": "string", "description": "JSON"},
                    **_TEXTS,
                },
            }
        }
    },
}


def create_app(model: DeployedModel, settings: ServerSettings | None = None) -> FastAPI:
    """A server of one network, as an ASGI application.

    Args:
        model: the network and its classes.
        settings: its limits.

    Attributes of the result's ``state``: ``worker``, ``metrics``, ``memory``; the worker lives as long as the lifespan.
    """
    settings = settings or ServerSettings()
    max_pixels = pixels_for(model.predictor, settings.max_pixels)
    metrics, memory = Metrics(), BodyMemory(settings.max_memory)
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(settings.queue, settings.batch, seen=metrics.batches.observe)
        app.state.worker = worker
        warm = asyncio.create_task(warm_up(worker))
        yield
        app.state.ready = False
        warm.cancel()
        await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="icnet-serve",
        version=console.version(),
        summary="Label maps of images.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics, app.state.memory, app.state.ready = metrics, memory, False
    metrics.ready.set_function(lambda: app.state.ready)
    metrics.waiting.set_function(lambda: app.state.worker.waiting)
    metrics.memory.set_function(lambda: memory.taken)

    async def warm_up(worker: Worker) -> None:
        """Let the network run once, which may compile it, before it is said to be ready."""
        blank = png.encode(np.zeros((16, 16), np.uint8))
        await asyncio.wrap_future(worker.submit(LabelMapAnswer(blank, 256, model, "labels")))
        app.state.ready = True

    async def answer(task: Answer) -> bytes:
        try:
            future = app.state.worker.submit(task)
        except Busy as error:
            raise HTTPException(429, str(error), {"Retry-After": _RETRY_AFTER}) from error
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), settings.timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise HTTPException(504, f"no answer within {settings.timeout:g} s") from error
        except InputError:
            raise
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            raise HTTPException(503, message, {"Retry-After": _RETRY_AFTER}) from error

    async def checked(data: bytes) -> bytes:
        """An image's file that can be decoded as far as its header and its ends tell."""
        await asyncio.to_thread(check_image, data, NAME, max_pixels=max_pixels)
        return data

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, _STATUS.get(type(error), 422))

    @app.exception_handler(RequestValidationError)
    async def wrong_query(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"detail": "; ".join(wrong)}, 422)

    @app.post(
        "/predict",
        summary="The label map of an image",
        responses={200: {"content": {PNG: {}, JSON: {}}, "description": "In the form asked for."}, **_FAILURES},
        openapi_extra=_UPLOAD,
        response_class=Response,
    )
    async def predict(request: Request, format: FormName | None = None) -> Response:
        """The format may be labels (gray PNG of trainIds), colour (indexed PNG), overlay (PNG) or annotation
        (Supervisely's JSON). Without it: annotation where Accept asks for JSON, and labels otherwise."""
        form = format or _accepted(request)
        with Body(request, settings, memory) as body:
            data = await checked(await body.image())
            made = await answer(LabelMapAnswer(data, max_pixels, model, form))
        return Response(made, media_type=FORMS[form])

    @app.get("/classes", summary="The classes: index, name and colour")
    async def classes() -> list[dict[str, Any]]:
        table = model.predictor.classes
        return [
            {"index": index, "name": entry.name, "colour": "#{:02x}{:02x}{:02x}".format(*entry.colour)}
            for index, entry in enumerate(table.scored)
        ]

    async def out_meta(request: Request) -> Response:
        with Body(request, settings, memory) as body:
            parts = await body.form()
            return JSONResponse((await asyncio.to_thread(_inference, model, parts)).meta.as_data())

    for path in ("/model/get_out_meta", "/model/get_output_meta"):  # the plugin's client asks under the second name
        app.post(
            path,
            summary="Supervisely: the classes of annotated projects",
            responses=_FAILURES,
            openapi_extra={"requestBody": _META_FORM},
            response_class=JSONResponse,
        )(out_meta)

    @app.post(
        "/model/inference",
        summary="Supervisely: an annotation with what the network sees",
        responses=_FAILURES,
        openapi_extra={"requestBody": _INFERENCE_FORM},
        response_class=JSONResponse,
    )
    async def inference(request: Request) -> Response:
        with Body(request, settings, memory) as body:
            parts = await body.form()
            if not parts.get(IMAGE):
                raise HTTPException(400, f"no image: expected the part `{IMAGE}`")
            data = await checked(parts[IMAGE])
            how = await asyncio.to_thread(_inference, model, parts)
            made = await answer(AnnotationAnswer(data, max_pixels, how, parts.get("annotation", b""), _meta(parts)))
        return Response(made, media_type=JSON)

    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether the network takes requests", responses={503: {"description": "Not yet."}})
    async def readyz() -> JSONResponse:
        ready = app.state.ready and app.state.worker.alive
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(document(app.openapi()))

    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(Guard, settings=settings, metrics=metrics, pages=(page, document({})), paths=paths)
    return app


def _accepted(request: Request) -> FormName:
    accepted = request.headers.get("accept", "")
    return "annotation" if JSON in accepted and PNG not in accepted else "labels"


def _inference(model: DeployedModel, parts: Mapping[str, bytes]) -> Inference:
    """Raises InputError where ``meta`` or ``mode`` is wrong."""
    data = parse_json(parts["mode"], "mode") if parts.get("mode") else {}
    if isinstance(data, dict):
        classes = data.get("model_classes", {})
        if isinstance(classes, dict):
            data = {**data, "model_classes": {"add_suffix": DEPLOYED_SUFFIX, **classes}}
    mode = replace(mode_of(data, "mode"), save_probabilities=False)  # an answer has no place for them
    return Inference(mode, model, _meta(parts), "mode")


def _meta(parts: Mapping[str, bytes]) -> Meta:
    return meta_of(parse_json(parts["meta"], "meta"), "meta") if parts.get("meta") else Meta()
