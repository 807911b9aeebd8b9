"""A converted net as the text of a Python module that a person would keep."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from prototxt import Net

from .constructors import constructor, function
from .excerpts import Excerpts, Import, import_lines
from .layout import INDENT, WIDTH, Expression, call, dict_of, laid_out, quoted
from .statements import Statement, Variables, blob_name, caffe_name, paragraphs, statements

GLOBALS = frozenset({"F", "Net", "Path", "WEIGHTS", "annotations", "load", "load_model", "nn", "torch"})
"""Names that the module defines or imports itself."""

IMPORTS = (
    Import("pathlib", "Path", "Path"),
    Import("torch", None, "torch"),
    Import("safetensors.torch", "load_model", "load_model"),
    Import("torch", "nn", "nn"),
)
FUNCTIONAL = Import("torch.nn", "functional", "F")

WEIGHTS_FILE = "weights.safetensors"

MOST = 80
"""Characters of a name in a comment."""

LOAD = '''
def load(path: str | Path = WEIGHTS) -> Net:
    """The net with its weights, in eval mode."""
    net = Net()
    load_model(net, path)
    return net.eval()
'''

BODY = 2 * INDENT


class Package:
    """Writes the graph of ``net`` as code, and knows which tensor has which key there."""

    def __init__(self, graph: fx.GraphModule, net: Net) -> None:
        self.graph, self.net = graph, net
        self.modules = {
            node: graph.get_submodule(str(node.target)) for node in graph.graph.nodes if node.op == "call_module"
        }
        self.paragraphs = paragraphs(statements(graph))
        kept = [str(node.target) for node, module in self.modules.items() if function(module, ["x"]) is None]
        self.base, self.keys = attribute_keys(kept)

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors of the graph under the names that they have in the code."""
        state = {}
        for name, value in self.graph.state_dict().items():
            target, _, rest = name.partition(".")
            state[f"{self.keys[target]}.{rest}"] = value
        return state

    def code(self, provenance: Mapping[str, Any]) -> str:
        """The module's text; ``provenance`` has ``file``, ``md5`` and ``sha256`` of the weights, as far as known.

        Raises:
            InputError: a layer cannot be written as source.
        """
        excerpts = Excerpts(set(GLOBALS))
        init, forward = [*self._init(excerpts)], [*self._forward()]
        helpers = excerpts.text()
        found = {*IMPORTS, *excerpts.imports, *([FUNCTIONAL] if any("F." in line for line in forward) else ())}
        lines = [
            *self._docstring(provenance),
            "from __future__ import annotations",
            *import_lines(found),
            "",
            f'WEIGHTS = Path(__file__).with_name("{WEIGHTS_FILE}")',
            "",
            "",
            f"class Net({self.base}):",
            f'{INDENT}"""{self._shapes()}"""',
            "",
            f"{INDENT}def __init__(self) -> None:",
            f"{BODY}super().__init__()",
            *init,
            "",
            *forward,
            "",
            *LOAD.splitlines(),
            *(["", "", helpers] if helpers else []),
        ]
        return "\n".join(lines) + "\n"

    def _docstring(self, provenance: Mapping[str, Any]) -> Iterator[str]:
        yield f'"""{plain(self.net.name) or "A net"}, converted from Caffe.'
        yield ""
        known = {key: plain(str(provenance[key])) for key in ("file", "md5", "sha256") if provenance.get(key)}
        if "file" in known:
            yield f"Weights: {known['file']}"
        yield from (f"    {key} {known[key]}" for key in ("md5", "sha256") if key in known)
        yield "Modules have the names of Caffe's layers, variables those of its blobs."
        yield '"""'
        yield ""

    def _shapes(self) -> str:
        inputs = ", ".join(f"{plain(name)} {tuple(shape)}" for name, shape in self.net.inputs.items())
        outputs = ", ".join(plain(name) for name in self._outputs())
        return f"{inputs} to {outputs}." if inputs else f"Gives {outputs}."

    def _outputs(self) -> dict[str, fx.Node]:
        value = self.graph.graph.output_node().args[0]
        return {blob_name(value): value} if isinstance(value, fx.Node) else value  # type: ignore[return-value]

    # -------------------------------------------------------------------------------------------------------- modules

    def _init(self, excerpts: Excerpts) -> Iterator[str]:
        for index, paragraph in enumerate(self.paragraphs):
            lines = []
            for node in (node for statement in paragraph for node in statement.nodes):
                if str(node.target) in self.keys:
                    made = constructor(self.modules[node], excerpts)
                    comment = f"  # {plain(node.meta['caffe_type'])}" if "caffe_type" in node.meta else ""
                    lines.append(laid_out(made, BODY, f"{self._module(node)} = ", comment))
            if lines and index:
                yield ""
            yield from lines
        yield from self._ties()

    def _module(self, node: fx.Node) -> str:
        return path_of(self.keys[str(node.target)], self.base)

    def _ties(self) -> Iterator[str]:
        first: dict[int, str] = {}
        told = False
        for name, parameter in self.graph.named_parameters(remove_duplicate=False):
            target, _, rest = name.partition(".")
            place = path_of(f"{self.keys[target]}.{rest}", self.base)
            owner = first.setdefault(id(parameter), place)
            if owner != place:
                yield from () if told else ("", f"{BODY}# Shared by several layers:")
                told = True
                yield laid_out(owner, BODY, f"{place} = ")

    # -------------------------------------------------------------------------------------------------------- forward

    def _forward(self) -> Iterator[str]:
        variables = Variables(GLOBALS | {"self"}, self._reads())
        placeholders = self.graph.graph.find_nodes(op="placeholder")
        arguments = ["self", *(f"{variables.give(node, -1, alone=False)}: torch.Tensor" for node in placeholders)]
        outputs = self._outputs()
        returned = "torch.Tensor" if len(outputs) == 1 else "dict[str, torch.Tensor]"
        yield laid_out(call("forward", *arguments), INDENT, "def ", f" -> {returned}:")
        place = 0
        for index, paragraph in enumerate(self.paragraphs):
            if index:
                yield ""
            for statement in paragraph:
                yield from self._statement(statement, variables, place)
                place += 1
        names = {name: variables.names[node] for name, node in outputs.items()}
        several = dict_of((quoted(name), variable) for name, variable in names.items())
        yield laid_out(next(iter(names.values())) if len(names) == 1 else several, BODY, "return ")

    def _reads(self) -> dict[fx.Node, list[int]]:
        reads: dict[fx.Node, list[int]] = {node: [] for node in self.graph.graph.nodes}
        for place, statement in enumerate(statement for paragraph in self.paragraphs for statement in paragraph):
            for node in statement.inputs:
                reads[node].append(place)
        outputs = self._outputs().values()
        end = sum(map(len, self.paragraphs)) + (len(outputs) > 1)  # several are told apart by their names
        for node in outputs:
            reads[node].append(end)
        return reads

    def _statement(self, statement: Statement, variables: Variables, place: int) -> Iterator[str]:
        arguments: list[Expression] = [variables.names[node] for node in statement.inputs]
        silent = []
        for node in statement.nodes:
            expression = function(self.modules[node], arguments)
            if expression is None:
                expression = call(self._module(node), *arguments)
            else:
                silent.append(plain(f"{node.meta.get('caffe_type', '')} {caffe_name(node)}"))
            arguments = [expression]
        alone = len(statement.tops) == 1
        targets = ["_" if node is None else variables.give(node, place, alone=alone) for node in statement.tops]
        target = ", ".join(targets)
        if statement.is_tuple and len(targets) == 1:  # losses may give more tops than the text names
            arguments = [f"{arguments[0]}[0]"]
        comment = f"  # {', '.join(silent)}" if silent else ""
        line = laid_out(arguments[0], BODY, f"{target} = ", comment)
        if comment and ("\n" in line or len(line) > WIDTH):
            yield f"{BODY}{comment.strip()}"
            line = laid_out(arguments[0], BODY, f"{target} = ")
        yield line


def attribute_keys(targets: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The base class of the net, and for each module its key there.

    Where all names are Python's, the net is an ``nn.Module`` and they are its attributes. Otherwise it is an
    ``nn.ModuleDict`` and they are its keys, as they are but for the names of a ModuleDict's own methods.
    """
    targets = list(targets)
    if all(_is_attribute(target) for target in targets):
        return "nn.Module", {target: target for target in targets}
    keys: dict[str, str] = {}
    taken = set(targets)
    for target in targets:
        key = target
        while hasattr(nn.ModuleDict, key) or (key != target and key in taken):
            key += "_"
        keys[target] = key
        taken.add(key)
    return "nn.ModuleDict", keys


def path_of(key: str, base: str) -> str:
    """The code for the module or parameter whose key in the state dict is ``key``."""
    first, *rest = key.split(".")
    code = f"self.{first}" if base == "nn.Module" else f'self["{first}"]'
    return code + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def plain(text: str) -> str:
    """``text`` for a comment or a docstring: what could end either is replaced."""
    safe = "".join(character if character.isprintable() and character not in '"\\' else "?" for character in text)
    safe = safe.strip()
    return safe if len(safe) <= MOST else f"{safe[:MOST]}..."


def _is_attribute(name: str) -> bool:
    """Whether ``self.name`` means that name: ASCII, as Python normalises others, and not mangled."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")
