"""Classes and functions copied out of the modules that define them, with all that they need."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType

from icnet_common.errors import InputError

_MARKS = re.compile(r"\s*# (type: ignore|noqa)\b.*$")


@dataclass(frozen=True)
class Import:
    """``from module import name``, or ``import module`` where ``name`` is None, known as ``alias``."""

    module: str
    name: str | None
    alias: str

    def statement(self) -> str:
        """The import as code."""
        what = self.name or self.module
        alias = "" if self.alias == what else f" as {self.alias}"
        return f"from {self.module} import {what}{alias}" if self.name else f"import {what}{alias}"


def import_lines(found: Iterable[Import]) -> Iterator[str]:
    """Imports as code, sorted: Python's own modules, then others, each after an empty line."""
    for own in (True, False):
        part = {item for item in found if (item.module.partition(".")[0] in sys.stdlib_module_names) is own}
        if part:
            yield ""
        yield from sorted(item.statement() for item in part if item.name is None)
        for module in sorted({item.module for item in part if item.name is not None}):
            items = sorted((item for item in part if item.module == module and item.name), key=_isort_key)
            names = [item.name if item.name == item.alias else f"{item.name} as {item.alias}" for item in items]
            plain = [name for name in names if name and " as " not in name]
            if plain:
                yield f"from {module} import {', '.join(plain)}"
            yield from (f"from {module} import {name}" for name in names if name and " as " in name)


def _isort_key(item: Import) -> tuple[bool, bool, str]:
    name = item.name or ""
    return not name.isupper(), not name[:1].isupper(), name


@dataclass(frozen=True)
class Definition:
    """A class, function or constant: its lines (``start`` counted from 0, ``end`` excluded) and the names it uses."""

    start: int
    end: int
    uses: frozenset[str]


@dataclass
class Module:
    """The top level of a module."""

    lines: list[str]
    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)


@cache
def parsed(name: str) -> Module:
    """The source of an imported module.

    Raises:
        InputError: it has none.
    """
    try:
        source = inspect.getsource(importlib.import_module(name))
    except (OSError, TypeError) as error:
        raise InputError(f"{name} cannot be written as source: {error}") from error
    package = name if hasattr(sys.modules[name], "__path__") else name.rpartition(".")[0]
    module = Module(source.splitlines())
    body = ast.parse(source).body
    for node in body:
        module.imports.update({found.alias: found for found in _imports(node, package)})
    known = {name for node in body for name in _defines(node)} | module.imports.keys()
    for place, node in enumerate(body):
        for defined in _defines(node):
            start, end = _start(node), _end(body, place)
            uses = _globals("\n".join(module.lines[start:end])) & known - {defined}
            module.definitions[defined] = Definition(start, end, frozenset(uses))
    return module


def _imports(node: ast.stmt, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, alias.asname or alias.name)
    elif isinstance(node, ast.ImportFrom):
        home = package.rsplit(".", node.level - 1)[0] if node.level else ""
        module = ".".join(part for part in (home, node.module) if part)
        for alias in node.names:
            yield Import(module, alias.name, alias.asname or alias.name)


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _start(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1


def _end(body: list[ast.stmt], place: int) -> int:
    """The last line of a definition; of a constant with the string behind it that describes it."""
    last = body[place]
    following = body[place + 1] if place + 1 < len(body) else None
    if isinstance(last, ast.Assign | ast.AnnAssign) and isinstance(following, ast.Expr):
        last = following if isinstance(following.value, ast.Constant) else last
    return last.end_lineno or last.lineno


def _globals(code: str) -> set[str]:
    """The global names that ``code`` refers to, those of annotations included."""
    found: set[str] = set()
    tables = [symtable.symtable(code, "<excerpt>", "exec")]
    while tables:
        table = tables.pop()
        top = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
        tables += table.get_children()
    for node in ast.walk(ast.parse(code)):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.expr):
            found |= {name.id for name in ast.walk(annotation) if isinstance(name, ast.Name)}
    return found


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
