"""The network as an ONNX file in the cache, and in the runtimes that read one: ONNX Runtime and OpenVINO."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from .cache import Unavailable, compiled_file
from .request import Request, Run

OPSET = 18
OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16"}


def build_onnxruntime(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: it is not installed, or cannot compute in this precision or on this device.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable("onnxruntime is not installed; install the extra onnx") from error
    if request.device.type != "cpu" or request.precision != "fp32":
        raise Unavailable("only float32 on the processor is offered with it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = request.threads, 1
    session = onnxruntime.InferenceSession(str(onnx_file(request)), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def build_openvino(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: it is not installed, or cannot compute in this precision or on this device.
    """
    try:
        import openvino
    except ImportError as error:
        raise Unavailable("openvino is not installed; install the extra openvino") from error
    if request.device.type != "cpu" or request.precision not in OPENVINO_HINTS:
        raise Unavailable("only float32 and bfloat16 on the processor are offered with it")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": request.threads,
        "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[request.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(onnx_file(request)), "CPU", settings)
    infer, lock = model.create_infer_request(), Lock()

    def run(x: torch.Tensor) -> torch.Tensor:
        with lock:
            (scores,) = infer.infer({0: x.numpy()}, share_inputs=True, share_outputs=True).values()
            return torch.from_numpy(scores).clone()

    return run


def onnx_file(request: Request) -> Path:
    """The file, float32, written if it is not there yet.

    Raises:
        Unavailable: onnx or onnxscript is not installed, or the network cannot be exported.
    """
    path = request.cache.file(f"onnx-{request.key(OPSET)}.onnx")
    if path.exists():
        return path
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed; install the extra onnx") from error
    options: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "external_data": False, "verbose": False}
    logging.disable(logging.WARNING)  # the exporter talks on every channel
    try:
        with (
            compiled_file(path) as temporary,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            try:
                torch.onnx.export(request.scores(), (request.example(),), str(temporary), **options)
            except Exception as error:  # the exporter's own, which it does not publish
                raise Unavailable(f"the network cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    finally:
        logging.disable(logging.NOTSET)
    return path
