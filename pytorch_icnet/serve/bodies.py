"""Reading requests' bodies: within limits of size, time and memory, whoever sends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .settings import ServerSettings

IMAGE = "image"
_IMAGES = ("image/png", "image/jpeg", "image/jpg", "application/octet-stream")
_FORM, _URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
_FIELDS = 8
_DRAINED = 2.0
"""Seconds for which what a client still sends is read and thrown away, so that it comes to see the answer."""

_HANG_UP = {"Connection": "close"}
"""With answers that are given before all of the request was read."""


@dataclass
class BodyMemory:
    """Bytes of the bodies of all requests that are on their way."""

    limit: int
    taken: int = 0


class Body:
    """The body of one request. As a context it gives back the memory at the end.

    Its methods raise HTTPException: 400 damaged or no image; 408 too slow; 413 too large; 415 of another type; 429
    where all requests together hold too much.
    """

    def __init__(self, request: Request, settings: ServerSettings, memory: BodyMemory) -> None:
        self._request, self._settings, self._memory = request, settings, memory
        self._deadline = time.monotonic() + settings.timeout
        self._taken = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.taken -= self._taken

    async def image(self) -> bytes:
        """The image in a request: its body, or the part ``image`` of a form."""
        if self._media_type == _FORM:
            data = (await self.form()).get(IMAGE, b"")
        elif self._media_type in _IMAGES:
            data = b"".join([chunk async for chunk in self._chunks()])
        else:
            await self._drain()
            expected = f"expected an image (PNG or JPEG), or a form with the part `{IMAGE}`"
            raise HTTPException(415, expected, _HANG_UP)
        if not data:
            raise HTTPException(400, "no image: the request is empty")
        return data

    async def form(self) -> dict[str, bytes]:
        """The parts of a form, by name; none where the body is empty."""
        if self._media_type == _URL_ENCODED:
            text = b"".join([chunk async for chunk in self._chunks()])
            try:
                return {name: value.encode() for name, value in parse_qsl(text.decode(), max_num_fields=_FIELDS)}
            except ValueError as error:
                raise HTTPException(400, "a damaged form") from error
        if self._media_type != _FORM:
            if [chunk async for chunk in self._chunks()]:
                raise HTTPException(415, f"expected a form ({_FORM})")
            return {}
        limit = self._settings.max_bytes
        parser = MultiPartParser(
            self._request.headers, self._chunks(), max_files=4, max_fields=_FIELDS, max_part_size=limit
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise HTTPException(400, f"a damaged form: {error.message}") from error
        except (ValueError, LookupError, AttributeError) as error:
            raise HTTPException(400, "a damaged form") from error
        try:
            parts = {}
            for name, value in form.multi_items():
                parts[name] = await value.read() if isinstance(value, UploadFile) else value.encode()
            return parts
        finally:
            await form.close()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        limit = self._settings.max_bytes
        if _declared(self._request) > limit:
            await self._drain()
            raise HTTPException(413, f"the request has more than {limit} bytes", _HANG_UP)
        more = True
        while more:
            message = await self._receive()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            self._taken += len(chunk)
            self._memory.taken += len(chunk)
            if self._taken > limit:
                await self._drain()
                raise HTTPException(413, f"the request has more than {limit} bytes", _HANG_UP)
            if self._memory.taken > self._memory.limit:
                raise HTTPException(429, "too many requests at once", {"Retry-After": "1", **_HANG_UP})
            if chunk:
                yield chunk

    async def _receive(self) -> Any:
        try:
            message = await asyncio.wait_for(self._request.receive(), max(0.0, self._deadline - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError) as error:
            seconds = self._settings.timeout
            raise HTTPException(408, f"the request did not arrive within {seconds:g} s", _HANG_UP) from error
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the client went away")
        return message

    async def _drain(self) -> None:
        self._deadline = min(self._deadline, time.monotonic() + _DRAINED)
        left = self._settings.max_bytes
        try:
            while left > 0 and (message := await self._receive()).get("more_body", False):
                left -= len(message.get("body", b""))
        except HTTPException:
            return

    @property
    def _media_type(self) -> str:
        return self._request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _declared(request: Request) -> int:
    """The length that a request gives for its body; 0 where it gives none."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
