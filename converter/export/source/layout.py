"""Python expressions as text, laid out as ``ruff format`` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

WIDTH = 120
"""Columns of a line."""

INDENT = "    "


@dataclass(frozen=True)
class Brackets:
    """Items in brackets, such as a call, with what stands before them."""

    opening: str
    items: Sequence[Expression]
    closing: str
    lone_comma: bool = False

    def __str__(self) -> str:
        comma = "," if self.lone_comma and len(self.items) == 1 else ""
        return self.opening + ", ".join(map(str, self.items)) + comma + self.closing


@dataclass(frozen=True)
class InfixChain:
    """Operands with one operator between them."""

    operator: str
    operands: Sequence[str]

    def __str__(self) -> str:
        return f" {self.operator} ".join(self.operands)


Expression = str | Brackets | InfixChain


def call(function: str, *arguments: Expression) -> Brackets:
    """``function(arguments)``."""
    return Brackets(f"{function}(", arguments, ")")


def tuple_of(items: Iterable[Expression]) -> Brackets:
    """A tuple."""
    return Brackets("(", list(items), ")", lone_comma=True)


def list_of(items: Iterable[Expression]) -> Brackets:
    """A list."""
    return Brackets("[", list(items), "]")


def dict_of(items: Iterable[tuple[str, Expression]]) -> Brackets:
    """A dict from keys, which are code, to values."""
    return Brackets("{", [prefixed(f"{key}: ", value) for key, value in items], "}")


def prefixed(prefix: str, expression: Expression) -> Expression:
    """``expression`` behind ``prefix``, such as the name of an argument."""
    if isinstance(expression, Brackets):
        return replace(expression, opening=prefix + expression.opening)
    return f"{prefix}{expression}"


def quoted(text: str) -> str:
    """A string as code, in the quotes that ruff prefers; whatever is in it stays inside."""
    code = repr(text)
    if code[0] == "'" and '"' not in code:
        return f'"{code[1:-1]}"'
    if code[0] == "'" and code.count('"') <= code.count("\\'"):
        return '"' + code[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    return code


def laid_out(expression: Expression, indent: str, before: str = "", after: str = "") -> str:
    """Lines of ``before``, the expression and ``after``, indented; in one line if it is not too long."""
    line = f"{indent}{before}{expression}{after}"
    inner = indent + INDENT
    if len(line) <= WIDTH or isinstance(expression, str):
        return line
    if isinstance(expression, InfixChain):
        whole = f"{inner}{expression}"
        broken = whole if len(whole) <= WIDTH else f"\n{inner}{expression.operator} ".join(expression.operands)
        broken = broken if len(whole) <= WIDTH else inner + broken
        return f"{indent}{before}(\n{broken}\n{indent}){after}"
    lines = [_argument(item, inner) for item in expression.items]
    return "\n".join([f"{indent}{before}{expression.opening}", *lines, f"{indent}{expression.closing}{after}"])


def _argument(item: Expression, indent: str) -> str:
    if isinstance(item, InfixChain) and len(f"{indent}{item},") > WIDTH:
        return indent + f"\n{indent}{item.operator} ".join(item.operands) + ","
    return laid_out(item, indent, after=",")
