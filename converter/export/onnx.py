"""A converted net as an ONNX model."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.export import ExportedProgram

from icnet_common.errors import InputError

from .program import Run, Written, write_program

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The oldest that torch writes without converting, so that most runtimes read it."""

AXES = {0: "batch", 2: "height", 3: "width"}


def write_onnx(path: str | os.PathLike[str], graph: fx.GraphModule) -> Written:
    """Write an ONNX model, with the batch and the size open where possible.

    Before it appears it is run with onnxruntime, and its outputs must be those of ``graph``. Inputs and outputs have
    the names of the net's blobs. Folding is kept.

    Raises:
        InputError: onnx, onnxscript or onnxruntime is not installed; the net cannot be exported; its outputs differ; or
            the file cannot be written.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"{path}: ONNX needs the package {package}: pip install 'pytorch-icnet[onnx]'") from error
    inputs = [node.meta["caffe"] for node in graph.graph.nodes if node.op == "placeholder"]
    outputs = graph.graph.output_node().args[0]
    single = isinstance(outputs, fx.Node)
    names = [_blob(outputs)] if isinstance(outputs, fx.Node) else list(outputs)  # type: ignore[arg-type]

    def write(program: ExportedProgram, file: Path) -> Run:
        file.write_bytes(_model(program, inputs, names).SerializeToString())
        return _session(file, several=not single)

    return write_program(path, graph, "an ONNX model", write)


def _blob(node: fx.Node) -> str:
    """The blob of a net's only output."""
    record = node.meta.get("caffe_layer")
    return str(record.layer.tops[0] if record else node.meta["caffe"])


def _model(program: ExportedProgram, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, opset_version=OPSET, input_names=inputs, output_names=outputs
    )
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    graph = model.graph
    part: Any
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]  # the exporter's notes tell of graphs that no longer exist and of folders
    _name_axes(model)
    return model


def _name_axes(model: onnx.ModelProto) -> None:
    """Call the open axes batch, height and width, in place of symbols such as s77."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param.isidentifier():
                names.setdefault(dim.dim_param, AXES.get(axis, dim.dim_param))
    for dim in (dim for value in values for dim in value.type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param)


def _session(file: Path, *, several: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]

    def run(*inputs: torch.Tensor) -> Any:
        feeds = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        values = [torch.from_numpy(value) for value in session.run(outputs, feeds)]
        return dict(zip(outputs, values, strict=True)) if several else values[0]

    return run
