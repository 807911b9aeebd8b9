"""What stands at the top level of a module: definitions, the global names that each uses, and imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from icnet_common.errors import InputError


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
