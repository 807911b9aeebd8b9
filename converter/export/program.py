"""A converted net as a program of torch.export, with open sizes where the net allows them."""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx
from torch.export import Dim, ExportedProgram

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from prototxt import Net

from ..compare import differences, first_diverging, worst
from ..errors import LayerError
from ..record import original_net
from ..verify import seeded_inputs
from ..wiring import infer_tops

LIMIT = 1e-5
"""The largest relative difference from the graph's outputs."""

NOISE = 3.0
"""Where float32 itself is worse than that: how many times the graph's own error the other may be off."""

Outputs = torch.Tensor | Mapping[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Run = Callable[..., Outputs]

BATCH, SIZE = "batch", "size"

STEPS = ((1, 2), (3, 1), (16, 32))
"""What is added to height and width to see whether a net takes other sizes."""


@dataclass(frozen=True)
class Written:
    """What a file was proven for.

    Attributes:
        difference: the largest relative one from the graph's outputs.
        opened: what may differ from the text: :data:`BATCH`, :data:`SIZE`.
    """

    difference: float
    opened: tuple[str, ...]


def write_program(
    path: str | os.PathLike[str], graph: fx.GraphModule, kind: str, write: Callable[[ExportedProgram, Path], Run]
) -> Written:
    """Write the most general program of ``graph`` that proves to compute what the graph does; whole or not at all.

    Args:
        path: the file.
        graph: a converted net.
        kind: of file, for messages.
        write: writes a program to a file and gives what runs that file.

    Raises:
        InputError: the net cannot be exported, the outputs differ, or the file cannot be written.
    """
    net = original_net(graph)
    for candidate in _candidates(graph, net):
        try:
            with atomic_write(path) as temporary, _quietly():
                run = write(candidate.program(), temporary)
                tried = [dataclasses.replace(net, inputs=shapes) for shapes in candidate.trials]
                difference = max(check_outputs(f"{path}: {kind}", graph, own, run) for own in tried)
                return Written(difference, candidate.opened)
        except InputError:
            if not candidate.opened:
                raise
        except Exception as error:  # the exporters and runtimes raise many kinds
            if not candidate.opened:
                raise InputError(_reason(path, kind, graph, error)) from error
    raise AssertionError("the last candidate has nothing open")


@dataclass(frozen=True)
class _Candidate:
    """A program to be made: an example of its inputs, the open axes, their names, and the inputs to try it with."""

    graph: fx.GraphModule
    example: Shapes
    axes: Collection[int]
    opened: tuple[str, ...]
    trials: tuple[Shapes, ...]

    def program(self) -> ExportedProgram:
        inputs = tuple(torch.zeros(shape) for shape in self.example.values())
        dynamic = tuple({axis: Dim.AUTO for axis in self.axes if axis < value.dim()} for value in inputs)
        program = torch.export.export(self.graph, inputs, dynamic_shapes=dynamic if self.opened else None)
        if SIZE in self.opened:
            for shapes in self.trials:
                program.module()(*map(torch.zeros, shapes.values()))  # fails where it rests on the example's size
        program.example_inputs = None  # they would be stored
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it tells folders of this machine
        return program


def _candidates(graph: fx.GraphModule, net: Net) -> Iterator[_Candidate]:
    """Programs of ``graph``, the most general first.

    An example has other lengths of the open axes than the trials, which shows that they are open; and not the length 1,
    which torch.export takes for a constant.
    """
    own = dict(net.inputs)
    batch = _one_more_item(own)
    if batch != own and _accepts(graph, batch):
        first, *sizes = (_larger(own, step) for step in STEPS)
        if first != own and all(_accepts(graph, shapes) for shapes in (first, *sizes)):
            yield _Candidate(graph, _one_more_item(first), (0, 2, 3), (BATCH, SIZE), (own, *sizes))
        yield _Candidate(graph, batch, (0,), (BATCH,), (own,))
    yield _Candidate(graph, own, (), (), (own,))


def _one_more_item(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """``shapes`` with a larger batch: the first axis of all inputs that have it as long as the first input has."""
    batch = next((shape[0] for shape in shapes.values() if shape), None)
    return {name: (shape[0] + 1, *shape[1:]) if shape[:1] == (batch,) else shape for name, shape in shapes.items()}


def _larger(shapes: Shapes, step: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    return {
        name: (*shape[:2], shape[2] + step[0], shape[3] + step[1]) if len(shape) == 4 else shape
        for name, shape in shapes.items()
    }


def _accepts(graph: fx.GraphModule, shapes: Shapes) -> bool:
    try:
        infer_tops(graph, list(shapes.values()))
    except LayerError:
        return False
    return True


def _reason(path: str | os.PathLike[str], kind: str, graph: fx.GraphModule, error: Exception) -> str:
    """One line on why a net cannot be exported; the layer, where the error tells it."""
    text = str(error).strip()
    found = re.search(r"call_module\[target=([^]]+)\]", text)
    node = next((n for n in graph.graph.nodes if found and n.op == "call_module" and n.target == found[1]), None)
    first = text.splitlines()[0][:200] if text else ""
    if node is None:
        return f"{path}: the net cannot be written as {kind}: {type(error).__name__}: {first}"
    layer = f"layer {node.meta.get('caffe', node.target)!r} ({node.meta.get('caffe_type', 'rewritten')})"
    return f"{path}: {layer} cannot be written as {kind}, perhaps as its top's shape depends on values: {first}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporters say, which runs to thousands of lines where an attempt fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def write_pt2(path: str | os.PathLike[str], graph: fx.GraphModule) -> Written:
    """Write a ``.pt2`` file, for ``torch.export.load(path).module()``, with the batch and the size open where possible.

    Before it appears it is loaded, and its outputs must be those of ``graph``. Like a pickle, such a file can run code
    where it is loaded: load those that you trust. Folding is kept.

    Raises:
        InputError: the net cannot be exported (what it gives has shapes that depend on values), or the file cannot be
            written.
    """
    return write_program(path, graph, "a pt2 file", _write)


def _write(program: ExportedProgram, path: Path) -> Run:
    with path.open("wb") as stream:
        torch.export.save(program, stream)
    module = torch.export.load(path).module()
    assert callable(module)
    return module


def check_outputs(what: str, graph: fx.GraphModule, net: Net, other: Callable[..., Outputs]) -> float:
    """Run ``graph`` and ``other`` on the same seeded inputs.

    Both are float32, with operations in another order. Where they differ by more than :data:`LIMIT`, the graph in
    float64 is the judge: then neither is right, and the other passes if its error is at most :data:`NOISE` times the
    graph's.

    Args:
        what: ``other``, for the message.
        graph: the net as converted.
        net: of the graph; gives the inputs' shapes.
        other: takes tensors as the graph does, and gives a tensor, or several under the same names.

    Returns:
        The largest relative difference from the graph, max|a - b| / max|b|, of all outputs.

    Raises:
        InputError: an output differs; names the first.
    """
    inputs = seeded_inputs(net)
    with torch.no_grad():
        expected, found = named(graph(*inputs)), named(other(*inputs))
        if found.keys() != expected.keys():
            raise InputError(f"{what} gives {sorted(found)}, the graph {sorted(expected)}; nothing was written")
        compared = differences(found, expected)
        diverging = first_diverging(compared, LIMIT)
        if diverging is not None:
            exact = named(copy.deepcopy(graph).double()(*(value.double() for value in inputs)))
            limits = {item.layer: max(LIMIT, NOISE * item.relative) for item in differences(expected, exact)}
            errors = differences(found, exact)
            diverging = next((item for item in errors if not item.relative <= limits[item.layer]), None)
    if diverging is not None:
        raise InputError(
            f"{what} differs from the graph: output {diverging.layer!r} by {diverging.relative:.1e} of its largest "
            f"value, more than float32's own noise; nothing was written"
        )
    return worst(compared).relative if compared else 0.0


def named(outputs: Outputs) -> dict[str, torch.Tensor]:
    """Outputs by name; a single one, which has none, under ``""``."""
    return {"": outputs} if isinstance(outputs, torch.Tensor) else dict(outputs)
