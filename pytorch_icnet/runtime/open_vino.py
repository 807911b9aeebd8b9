"""The network in OpenVINO."""

from __future__ import annotations

from threading import Lock

import torch

from .cache import Unavailable
from .onnx_file import onnx_file
from .request import Request, Run

HINTS = {"fp32": "f32", "bf16": "bf16"}


def build(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: it is not installed, or cannot compute in this precision or on this device.
    """
    try:
        import openvino
    except ImportError as error:
        raise Unavailable("openvino is not installed; install the extra openvino") from error
    if request.device.type != "cpu" or request.precision not in HINTS:
        raise Unavailable("only float32 and bfloat16 on the processor are offered with it")
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": request.threads,
        "INFERENCE_PRECISION_HINT": HINTS[request.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(onnx_file(request)), "CPU", settings)
    infer, lock = model.create_infer_request(), Lock()

    def run(x: torch.Tensor) -> torch.Tensor:
        with lock:
            (scores,) = infer.infer({0: x.numpy()}, share_inputs=True, share_outputs=True).values()
            return torch.from_numpy(scores).clone()

    return run
