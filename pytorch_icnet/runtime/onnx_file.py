"""The network as an ONNX file in the cache, for the runtimes that read one."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch

from .cache import Unavailable, compiled_file
from .request import Request

OPSET = 18


def onnx_file(request: Request) -> Path:
    """The file, float32, written if it is not there yet.

    Raises:
        Unavailable: onnx or onnxscript is not installed, or the network cannot be exported.
    """
    path = request.cache.file(f"onnx-{request.key(OPSET)}.onnx")
    if not path.exists():
        try:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise Unavailable(f"{error.name} is not installed; install the extra onnx") from error
        with compiled_file(path) as temporary, _quiet(), torch.no_grad():
            try:
                torch.onnx.export(
                    request.scores(),
                    (request.example(),),
                    str(temporary),
                    dynamo=True,
                    opset_version=OPSET,
                    external_data=False,
                    verbose=False,
                )
            except Exception as error:  # the exporter's own, which it does not publish
                raise Unavailable(f"the network cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    return path


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """The exporter talks on every channel."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
