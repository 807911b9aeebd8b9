"""Proof that a converted net computes what it should.

Three witnesses: the net itself in float64, the formula of each layer (:mod:`converter.reference`), and activations that
a real Caffe has left (:mod:`converter.dump`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx
from torch.func import functional_call

from prototxt import Net

from .compare import LIMIT, Difference, activations, difference, differences, first_diverging
from .dump import Dump, DumpError, StoredArray
from .record import LayerRecord, original_net
from .reference import NoReferenceError, reference

DUMP_LIMIT = 1e-4
"""Of float32 activations against Caffe's: some three times what its own are off after a hundred layers."""

FORMULA_LIMIT = 1e-6
"""Of a layer in float64 against its formula: what is left where Caffe, and so one of the two, computes in float32."""

MOST_WORK = 2e9
"""A layer of more multiply-accumulates (or what takes as long) is not checked against its formula: about a second."""
MOST_WEIGHTS = 2**26
"""Nor is a layer of more weights than that, half a gigabyte in float64."""
MOST_WORK_OF_ALL = 4e10
"""The most on a whole net; layers of less than a thousandth of it are checked even then."""

JUMPING = frozenset(("DetectionOutput",))
"""Types that round before they choose, so that float32 and float64 choose otherwise at times."""

ZERO_INPUTS: Mapping[str, int] = {
    **dict.fromkeys(("Accuracy", "SoftmaxWithLoss", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss"), 1),
    **dict.fromkeys(("BatchReindex", "ROIPooling", "PSROIPooling"), 1),
    "ContrastiveLoss": 2,
    "Embed": 0,
}
"""The bottom of a type that holds labels, indices or regions; 0 is a legal one of each."""
ONE_INPUTS: Mapping[str, int] = {"LSTM": 1, "RNN": 1, "Filter": -1}
"""The bottom of a type that switches rows on."""
MOVING = frozenset(("Split", "Slice", "Reshape", "Flatten", "Permute", "Concat", "Dropout"))
"""Types that leave a label a label."""


@dataclass(frozen=True)
class Unchecked:
    """A layer that was not compared, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """Two nets, or a net and its reference, compared layer by layer.

    Attributes:
        what: which two.
        layers: one difference per top, in the order in which the layers run.
        limit: the largest relative difference that is no divergence.
        unchecked: layers that were not compared.
        accumulates: whether a layer's difference carries those before it, or is the layer's own.
    """

    what: str
    layers: list[Difference]
    limit: float = LIMIT
    unchecked: tuple[Unchecked, ...] = ()
    accumulates: bool = True

    @property
    def diverging(self) -> Difference | None:
        """The first layer beyond the limit, which is where to look for the fault."""
        return first_diverging(self.layers, self.limit)


def against_float64(graph: fx.GraphModule, *inputs: torch.Tensor) -> Verification:
    """Each layer in float32 against the same layer in float64, given the same bottoms, so that nothing adds up.

    ``inputs`` are float32, as ``forward`` takes them.
    """
    check = _Float64Check(graph)
    with torch.no_grad():
        check.run(*inputs)
    return Verification("float32 and float64", check.found, LIMIT, tuple(check.unchecked), accumulates=False)


def against_formulas(
    graph: fx.GraphModule, *inputs: torch.Tensor, blobs: Mapping[str, Sequence[NDArray[Any]]] | None = None
) -> Verification:
    """Each layer of ``graph`` in float64 against its formula in NumPy, given the same bottoms, so that nothing adds up.

    ``blobs`` are the weights by layer name as they were read from the file, which proves that each reached its place;
    layers that are not in it, and by default all, are computed with the graph's own.
    """
    check = _FormulaCheck(graph, blobs or {})
    with torch.no_grad():
        check.run(*inputs)
    return Verification("graph and formulas", check.found, FORMULA_LIMIT, tuple(check.unchecked), accumulates=False)


def accumulated(graph: fx.GraphModule, *inputs: torch.Tensor) -> Verification:
    """The net in float32 against the whole net in float64: how much rounding adds up to, layer after layer.

    That depends on the net and its weights more than on their conversion, so there is no limit. ``inputs`` are float32.
    """
    exact = activations(copy.deepcopy(graph).double(), *(value.double() for value in inputs))
    return Verification("float32 and float64, accumulated", differences(activations(graph, *inputs), exact), math.inf)


class _LayerCheck(fx.Interpreter):
    """Runs a graph and compares each layer as soon as it has run, while its bottoms are still there."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False  # which would make errors long
        self.found: list[Difference] = []
        self.unchecked: list[Unchecked] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "call_module":
            bottoms, _ = self.fetch_args_kwargs_from_env(n)
            self.check(n, bottoms, _tuple(value))
        return value

    def check(self, node: fx.Node, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        """Compare what the layer made of ``bottoms``, or note why not."""
        raise NotImplementedError

    def in_float64(self, node: fx.Node, bottoms: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What the layer makes of ``bottoms`` in float64; no other layer's weights are copied."""
        module = self.module.get_submodule(str(node.target))
        state = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }
        return _tuple(functional_call(module, state, tuple(bottom.double() for bottom in bottoms)))

    def compare(self, node: fx.Node, tops: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        record: LayerRecord | None = node.meta.get("caffe_layer")
        names = record.layer.tops if record is not None else ("",)
        for index, (name, top, exact) in enumerate(zip(names, tops, expected, strict=False)):
            layer = node.meta["caffe"]
            self.found.append(difference(f"{layer}:{name}" if index else layer, top, exact))

    def skip(self, node: fx.Node, reason: str) -> None:
        self.unchecked.append(Unchecked(node.meta["caffe"], reason))


def _tuple(value: Any) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


class _Float64Check(_LayerCheck):
    def check(self, node: fx.Node, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        if node.meta.get("caffe_type") in JUMPING:
            self.skip(node, "its tops jump with rounding errors")
        else:  # back to float32, in which large values overflow
            self.compare(node, tops, [top.float() for top in self.in_float64(node, bottoms)])


class _FormulaCheck(_LayerCheck):
    def __init__(self, graph: fx.GraphModule, blobs: Mapping[str, Sequence[NDArray[Any]]]) -> None:
        super().__init__(graph)
        self.blobs = blobs
        self.work = 0.0

    def check(self, node: fx.Node, bottoms: Sequence[torch.Tensor], tops: Sequence[torch.Tensor]) -> None:
        record: LayerRecord | None = node.meta.get("caffe_layer")
        blobs = None if record is None else self._blobs_of(node, record)
        if record is None or blobs is None:
            self.skip(node, "rewritten" if record is None else "its weights are not kept as Caffe stores them")
        elif self._is_too_large(tops, blobs):
            self.skip(node, "too large for the slow reference")
        else:
            try:
                expected = reference(record.layer, [bottom.detach().numpy() for bottom in bottoms], blobs)
            except NoReferenceError as error:
                self.skip(node, str(error))
            except (ValueError, IndexError, TypeError, ArithmeticError) as error:
                self.skip(node, f"its formula fails: {error}")
            else:
                self.compare(node, self.in_float64(node, bottoms), [torch.from_numpy(top) for top in expected])

    def _blobs_of(self, node: fx.Node, record: LayerRecord) -> list[NDArray[Any]] | None:
        if record.name in self.blobs and not any(record.layer.param_names):
            return list(self.blobs[record.name])
        state = self.module.get_submodule(str(node.target)).state_dict()
        kept = [state[blob.key].numpy().reshape(blob.shape) for blob in record.blobs if blob.key in state]
        return kept if len(kept) == len(record.blobs) else None

    def _is_too_large(self, tops: Sequence[torch.Tensor], blobs: Sequence[NDArray[Any]]) -> bool:
        work = work_of([tuple(top.shape) for top in tops], [blob.shape for blob in blobs])
        weights = sum(blob.size for blob in blobs)
        if (
            work > MOST_WORK
            or weights > MOST_WEIGHTS
            or (work > MOST_WORK_OF_ALL / 1000 and self.work + work > MOST_WORK_OF_ALL)
        ):
            return True
        self.work += work
        return False


def work_of(tops: Sequence[tuple[int, ...]], blobs: Sequence[tuple[int, ...]]) -> float:
    """How long the formula of a layer takes, in multiply-accumulates, guessed from its shapes.

    One per value and weight of its output channel, ten per value, and a thousand for each place in an image, as some
    formulas go through them one by one.
    """
    values = float(sum(np.prod(shape, dtype=float) for shape in tops))
    places = max((float(np.prod(shape[2:], dtype=float)) for shape in tops if len(shape) > 2), default=0.0)
    weights = float(np.prod(blobs[0][1:], dtype=float)) if blobs else 0.0
    return values * (weights + 10) + 1000 * places


def against_dump(graph: fx.GraphModule, dump: Dump) -> Verification:
    """The activations of ``graph``, made for inputs of the stored shapes, against those that Caffe left for its inputs.

    A name that is a layer's and a blob's means, for the whole file, what more of its arrays agree with: the value right
    after that layer, or the blob's final value. A one-dimensional array in place of a larger blob is taken as every
    n-th of the blob's values. Arrays of what the net does not have are listed as unchecked.

    Raises:
        DumpError: an input is missing, an array damaged, or none belongs to a layer of the net.
    """
    net = original_net(graph)
    inputs = dump.inputs_of(net)
    values = activations(graph, *map(torch.from_numpy, inputs.values()))
    readings = []
    for by_layer in (True,) if dump.is_by_layer(net) else (False, True):
        stored, unknown = dump.matched(net, by_layer=by_layer)
        computed = [key for key in stored if key in values and key not in net.inputs]
        readings.append([_against_stored(key, values[key], stored[key]) for key in computed])
    found = max(readings, key=lambda items: sum(item.relative <= DUMP_LIMIT for item in items))
    if not found:
        names = ", ".join(unknown[:5]) or "only inputs"
        raise DumpError(f"{dump.source}: no array has the name of a layer or blob of {net.source}: {names}")
    unchecked = tuple(Unchecked(name, "the net has no such layer or blob") for name in unknown)
    return Verification(f"graph and {Path(dump.source).name}", found, DUMP_LIMIT, unchecked)


def _against_stored(key: str, value: torch.Tensor, stored: StoredArray) -> Difference:
    step = sampling(value.numel(), stored.shape)
    if step is not None:
        value = value.reshape(-1)[::step]
    if tuple(value.shape) != stored.shape:
        return Difference(key, np.inf, np.inf)
    return difference(key, value, torch.from_numpy(stored.read().astype(np.float64)))


def sampling(size: int, shape: tuple[int, ...]) -> int | None:
    """The n for which every n-th of ``size`` values makes an array of ``shape``; None where that is not one number."""
    if len(shape) != 1 or not 1 < shape[0] < size:
        return None
    least, beyond = -(-size // shape[0]), -(-size // (shape[0] - 1))
    return least if beyond - least == 1 else None


def seeded_inputs(net: Net, seed: int = 0) -> list[torch.Tensor]:
    """An input of ``net`` for each of :attr:`Net.inputs`: normal with deviation 50, as an image minus its mean has.

    What a layer takes as a label, an index or a region is 0, what it takes as a switch 1.
    """
    generator = torch.Generator().manual_seed(seed)
    constants = dict(_constant_inputs(net))
    return [
        torch.full(shape, constants[name]) if name in constants else 50 * torch.randn(shape, generator=generator)
        for name, shape in net.inputs.items()
    ]


def _constant_inputs(net: Net) -> Iterator[tuple[str, float]]:
    constants: dict[str, float] = {}
    for layer in reversed(net.layers):
        for positions, value in ((ZERO_INPUTS, 0.0), (ONE_INPUTS, 1.0)):
            if layer.type in positions and len(layer.bottoms) > positions[layer.type]:
                constants[layer.bottoms[positions[layer.type]]] = value
        if layer.type in MOVING and (known := [constants[top] for top in layer.tops if top in constants]):
            constants.update(dict.fromkeys(layer.bottoms, known[0]))
    return iter(constants.items())
