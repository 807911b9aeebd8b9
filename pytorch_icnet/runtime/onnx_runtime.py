"""The network in ONNX Runtime."""

from __future__ import annotations

import torch

from .cache import Unavailable
from .onnx_file import onnx_file
from .request import Request, Run


def build(request: Request) -> Run:
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

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    return run
