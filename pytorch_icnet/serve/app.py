"""The server's paths, and what answers them."""

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
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from icnet_common import console
from icnet_common.config import parse_json
from icnet_common.errors import InputError, user_message

from ..imaging import png
from ..imaging.images import TooManyPixels, UnknownFormat, check_image
from ..supervisely.config import mode_of
from ..supervisely.meta import Meta, meta_of
from ..supervisely.modes import DeployedModel, Inference
from . import openapi
from .bodies import IMAGE, Body, BodyMemory
from .guard import Guard, Metrics
from .settings import ServerSettings, pixels_for
from .worker import FORMS, JSON, NAME, PNG, AnnotationAnswer, Answer, Busy, LabelMapAnswer, Worker

FormName = Literal["labels", "colour", "overlay", "annotation"]

DEPLOYED_SUFFIX = "_model"
"""Added to class names by a deployed model where the mode says nothing, as in Supervisely's ``worker_api``."""

_RETRY_AFTER = "1"
_STATUS: Mapping[type[InputError], int] = {UnknownFormat: 415, TooManyPixels: 413}


class Service:
    """One network behind the server's paths.

    Args:
        model: the network and its classes.
        settings: the server's limits.
    """

    def __init__(self, model: DeployedModel, settings: ServerSettings) -> None:
        self.model, self.settings = model, settings
        self.max_pixels = pixels_for(model.predictor, settings.max_pixels)
        self.metrics, self.memory = Metrics(), BodyMemory(settings.max_memory)
        self.page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
        self.ready = False
        """Whether the network has run once."""
        self.worker: Worker
        """Lives as long as :meth:`lifespan`."""
        self.metrics.ready.set_function(lambda: self.ready)
        self.metrics.waiting.set_function(lambda: self.worker.waiting)
        self.metrics.memory.set_function(lambda: self.memory.taken)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the worker while the application runs."""
        app.state.worker = self.worker = Worker(
            self.settings.queue, self.settings.batch, seen=self.metrics.batches.observe
        )
        warm = asyncio.create_task(self._warm_up())
        yield
        self.ready = False
        warm.cancel()
        await asyncio.to_thread(self.worker.close)

    async def predict(self, request: Request, format: FormName | None = None) -> Response:
        """The format may be labels (gray PNG of trainIds), colour (indexed PNG), overlay (PNG) or annotation
        (Supervisely's JSON). Without it: annotation where Accept asks for JSON, and labels otherwise."""
        form = format or _accepted(request)
        with Body(request, self.settings, self.memory) as body:
            data = await self._checked(await body.image())
            made = await self._answer(LabelMapAnswer(data, self.max_pixels, self.model, form))
        return Response(made, media_type=FORMS[form])

    async def out_meta(self, request: Request) -> Response:
        with Body(request, self.settings, self.memory) as body:
            parts = await body.form()
            return JSONResponse((await asyncio.to_thread(_inference, self.model, parts)).meta.as_data())

    async def inference(self, request: Request) -> Response:
        with Body(request, self.settings, self.memory) as body:
            parts = await body.form()
            if not parts.get(IMAGE):
                raise HTTPException(400, f"no image: expected the part `{IMAGE}`")
            data = await self._checked(parts[IMAGE])
            how = await asyncio.to_thread(_inference, self.model, parts)
            asked = AnnotationAnswer(data, self.max_pixels, how, parts.get("annotation", b""), _meta(parts))
            made = await self._answer(asked)
        return Response(made, media_type=JSON)

    async def classes(self) -> list[dict[str, Any]]:
        table = self.model.predictor.classes
        return [
            {"index": index, "name": entry.name, "colour": "#{:02x}{:02x}{:02x}".format(*entry.colour)}
            for index, entry in enumerate(table.scored)
        ]

    async def healthz(self) -> dict[str, str]:
        return {"status": "ok"}

    async def readyz(self) -> JSONResponse:
        ready = self.ready and self.worker.alive
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def figures(self) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def index(self) -> HTMLResponse:
        return HTMLResponse(self.page)

    async def documentation(self, request: Request) -> HTMLResponse:
        return HTMLResponse(openapi.document(request.app.openapi()))

    async def _warm_up(self) -> None:
        """Let the network run once, which may compile it, before it is said to be ready."""
        blank = png.encode(np.zeros((16, 16), np.uint8))
        await asyncio.wrap_future(self.worker.submit(LabelMapAnswer(blank, 256, self.model, "labels")))
        self.ready = True

    async def _checked(self, data: bytes) -> bytes:
        """An image's file that can be decoded as far as its header and its ends tell."""
        await asyncio.to_thread(check_image, data, NAME, max_pixels=self.max_pixels)
        return data

    async def _answer(self, task: Answer) -> bytes:
        """What the worker makes of a task, in time."""
        try:
            future = self.worker.submit(task)
        except Busy as error:
            raise HTTPException(429, str(error), {"Retry-After": _RETRY_AFTER}) from error
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.settings.timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise HTTPException(504, f"no answer within {self.settings.timeout:g} s") from error
        except InputError:
            raise
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            raise HTTPException(503, message, {"Retry-After": _RETRY_AFTER}) from error


def create_app(model: DeployedModel, settings: ServerSettings | None = None) -> FastAPI:
    """A server of one network, as an ASGI application.

    Args:
        model: the network and its classes.
        settings: its limits.

    Attributes of the result's ``state``: ``worker``, ``metrics``, ``memory``; the worker lives as long as the lifespan.
    """
    service = Service(model, settings or ServerSettings())
    app = FastAPI(
        title="icnet-serve",
        version=console.version(),
        summary="Label maps of images.",
        lifespan=service.lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics, app.state.memory = service.metrics, service.memory
    app.exception_handler(InputError)(_refused)
    app.exception_handler(RequestValidationError)(_wrong_query)
    app.post("/predict", response_class=Response, **openapi.PREDICT)(service.predict)
    app.get("/classes", **openapi.CLASSES)(service.classes)
    for path in ("/model/get_out_meta", "/model/get_output_meta"):  # the plugin's client asks under the second name
        app.post(path, response_class=JSONResponse, **openapi.OUT_META)(service.out_meta)
    app.post("/model/inference", response_class=JSONResponse, **openapi.INFERENCE)(service.inference)
    app.get("/healthz", **openapi.ALIVE)(service.healthz)
    app.get("/readyz", **openapi.READY)(service.readyz)
    app.get("/metrics", response_class=Response, **openapi.METRICS)(service.figures)
    app.get("/", include_in_schema=False)(service.index)
    app.get("/docs", include_in_schema=False)(service.documentation)
    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    pages = (service.page, openapi.document({}))
    app.add_middleware(Guard, settings=service.settings, metrics=service.metrics, pages=pages, paths=paths)
    return app


async def _refused(request: Request, error: InputError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, _STATUS.get(type(error), 422))


async def _wrong_query(request: Request, error: RequestValidationError) -> JSONResponse:
    wrong = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(wrong)}, 422)


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
