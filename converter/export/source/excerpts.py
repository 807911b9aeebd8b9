"""Classes and functions copied out of the modules that define them, with all that they need."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from types import FunctionType

from icnet_common.errors import InputError

from .modules import Import, Module, parsed

_MARKS = re.compile(r"\s*# (type: ignore|noqa)\b.*$")


@dataclass
class _Part:
    """What is collected of one module: definitions, and names that must be others because they are taken."""

    module: Module
    names: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)


class Excerpts:
    """Collects definitions, each once.

    Args:
        taken: names that the definitions must not have.

    Attributes:
        imports: what the collected code takes from torch and Python itself.
    """

    def __init__(self, taken: set[str]) -> None:
        self.imports: set[Import] = set()
        self._taken = set(taken)
        self._parts: dict[str, _Part] = {}
        self._roots = {"prototxt", "converter", "pytorch_icnet"}

    def add(self, thing: type | FunctionType) -> str:
        """Collect a class or function and all that it uses; gives the name that it has in the code.

        Raises:
            InputError: its source cannot be copied.
        """
        if "." in thing.__qualname__ or thing.__module__ == "__main__":
            raise InputError(
                f"{thing.__qualname__} cannot be written as source: only what stands at the top level of a module can"
            )
        self._roots.add(thing.__module__.partition(".")[0])
        return self._add(thing.__module__, thing.__name__)

    def text(self) -> str:
        """The definitions, those of one module together and in its order, after those that they build on."""
        pieces = []
        for part in self._in_order():
            for name in sorted(part.names, key=lambda key: part.module.definitions[key].start):
                definition = part.module.definitions[name]
                lines = [_MARKS.sub("", line) for line in part.module.lines[definition.start : definition.end]]
                pieces.append(_with_names("\n".join(lines), part.renamed))
        text = ""
        for index, piece in enumerate(pieces):
            together = index and "\n" not in piece and "\n" not in pieces[index - 1]
            text += ("\n" if together else "\n\n\n" if index else "") + piece
        return text

    def _add(self, module_name: str, name: str) -> str:
        module = parsed(module_name)
        if name in module.imports:
            return self._follow(module.imports[name])
        if name not in module.definitions:
            raise InputError(f"{module_name}.{name} cannot be written as source: it is not defined there by that name")
        part = self._parts.setdefault(module_name, _Part(module))
        if name not in part.names:
            part.names.add(name)
            free = self._free(name)
            if free != name:
                part.renamed[name] = free
            for used in sorted(module.definitions[name].uses):
                self._add(module_name, used)
        return part.renamed.get(name, name)

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self._taken:
            free, number = f"{name}{number}", number + 1
        self._taken.add(free)
        return free

    def _follow(self, found: Import) -> str:
        root = found.module.partition(".")[0]
        if root == "torch" or root in sys.stdlib_module_names:
            self.imports.add(found)
            return found.alias
        if root not in self._roots or found.name is None or found.name != found.alias:
            raise InputError(f"{found.statement()!r} cannot be written as source; only torch and safetensors are there")
        name = self._add(found.module, found.name)
        if name != found.alias:
            raise InputError(f"two layers need different things called {found.alias!r}, which source cannot hold")
        return name

    def _in_order(self) -> list[_Part]:
        ordered: list[str] = []

        def visit(name: str) -> None:
            if name in self._parts and name not in ordered:
                for found in self._parts[name].module.imports.values():
                    visit(found.module)
                ordered.append(name)

        for name in self._parts:
            visit(name)
        return [self._parts[name] for name in ordered]


def _with_names(piece: str, renamed: dict[str, str]) -> str:
    """``piece`` with other names for global things."""
    places: list[tuple[int, int, str]] = []
    for node in ast.walk(ast.parse(piece)):
        if isinstance(node, ast.Name) and node.id in renamed:
            places.append((node.lineno, node.col_offset, node.id))
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.col_offset == 0 and node.name in renamed:
            places.append((node.lineno, len("class " if isinstance(node, ast.ClassDef) else "def "), node.name))
        elif isinstance(node, ast.arg) and node.arg in renamed:
            raise InputError(f"{node.arg!r} is both an argument and a name that source must change")
    lines = [line.encode() for line in piece.split("\n")]
    for row, column, name in sorted(places, reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + renamed[name].encode() + line[column + len(name.encode()) :]
    return b"\n".join(lines).decode()
