"""PyTorch's own ways to run the network.

On every device it runs layer by layer, with nothing to compile. On the processor it is compiled ahead of time
(``torch.export``, AOTInductor) and kept as one file. On an NVIDIA GPU it is compiled where Triton is there, and
replayed as one CUDA graph (not measured: no GPU was at hand when this was written).
"""

from __future__ import annotations

import importlib.util
import os
import platform
from threading import Lock

import torch
from torch import nn

from converter.layers.interp import Interp
from converter.passes.pointwise_first import is_zoom

from .cache import Unavailable, compiled_file
from .devices import arithmetic
from .native.compiler import cpp_compiler, processor_flags
from .request import Request, Run
from .winograd import with_winograd

OPTIONS = {"freezing": True, "cpp.dynamic_threads": True}
"""Weights become constants, laid out for the convolutions; one file serves any number of threads."""

_WARM_UP = 3
"""Passes before the recording of a CUDA graph, in which libraries choose their algorithms and allocate."""


def build_eager(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`."""
    module = request.scores()

    def run(x: torch.Tensor) -> torch.Tensor:
        with arithmetic(request.precision):
            scores: torch.Tensor = module(x)
        return scores

    return run


def build_cuda(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: the device is no GPU, or Triton is missing.
    """
    if request.device.type != "cuda":
        raise Unavailable("it is for GPUs")
    if importlib.util.find_spec("triton") is None:
        raise Unavailable("triton is not installed")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(request.cache.file("inductor")))
    module = torch.compile(request.scores(), dynamic=False, mode="max-autotune-no-cudagraphs")
    image, lock = request.example(), Lock()
    with torch.cuda.device(request.device), torch.inference_mode(), arithmetic(request.precision):
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                module(image)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = module(image)

    def run(x: torch.Tensor) -> torch.Tensor:
        with lock, torch.cuda.device(request.device):
            image.copy_(x, non_blocking=True)
            graph.replay()
            result: torch.Tensor = scores.clone()
        return result

    return run


def build_ahead_of_time(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: there is no C++ compiler, or the network cannot be compiled.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    machine = (capability, platform.machine(), sorted(processor_flags()))
    name = f"torch-{request.key(*machine, OPTIONS, request.rewrite)}.pt2"
    path = request.cache.file(name)
    if not path.exists():
        if cpp_compiler() is None:
            raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(request.cache.file("inductor")))
        with compiled_file(path) as temporary:
            _compile(request, str(temporary))
    return _load(str(path))


def _compile(request: Request, path: str) -> None:
    from torch._inductor import aoti_compile_and_package

    with torch.no_grad():
        try:
            module: nn.Module = request.scores()
            if request.rewrite and request.precision == "fp32":
                module = with_winograd(module)
            program = torch.export.export(doubling(module), (request.example(),))
            aoti_compile_and_package(program, package_path=path, inductor_configs=dict(OPTIONS))  # it adds to them
        except Exception as error:  # of many kinds; whatever it is, another backend can do the work
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise Unavailable(f"PyTorch cannot compile the network: {reason[0]}") from error


class Doubled(nn.Module):
    """Interp's zoom by 2, as the means that it takes: the compiler makes less of an interpolation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, 2H - 1, 2W - 1)."""
        for axis in (2, 3):
            last = 2 * x.shape[axis] - 1
            twice = x.repeat_interleave(2, axis)
            x = (twice.narrow(axis, 0, last) + twice.narrow(axis, 1, last)) * 0.5
        return x


def doubling(module: nn.Module) -> nn.Module:
    """``module``, whose zooms by 2 are now :class:`Doubled`."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Interp and is_zoom(child) and child.zoom == 2:
                setattr(parent, name, Doubled())
    return module


def _load(path: str) -> Run:
    """The compiled model, by the loader in C++ itself: the public way to it imports the compiler, for a second."""
    loader = getattr(getattr(torch._C, "_aoti", None), "AOTIModelPackageLoader", None)
    if loader is None:
        from torch._inductor import aoti_load_package

        loaded: Run = aoti_load_package(path)
        return loaded
    package = loader(path, "model", False, 1, -1)
    return lambda x: package.run([x])[0]
