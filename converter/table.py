"""Tables of a net for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def layer_table(rows: Sequence[Mapping[str, Any]], weights: Mapping[str, str] | None = None) -> str:
    """One line per layer.

    Args:
        rows: as :func:`converter.summary` gives them, or :func:`converter.summary.detailed_summary`.
        weights: for layers with weights, where these come from.
    """
    detailed = bool(rows) and "memory" in rows[0]
    header = ["layer", "type", "top", "parameters", "MMAC", *(["memory MB", "field"] if detailed else [])]
    table = [header + (["weights"] if weights is not None else [])]
    for row in rows:
        tops = ", ".join("x".join(map(str, shape)) for shape in row["top_shapes"])
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        macs = f"{row['macs'] / 1e6:,.1f}" if row["macs"] else ""
        cells = [row["name"], row["type"], tops, parameters, macs]
        if detailed:
            field = "x".join(map(str, row["receptive_field"] or ()))
            cells += [f"{row['memory'] / 1e6:,.1f}" if row["memory"] else "", field]
        table.append(cells + ([weights.get(row["name"], "")] if weights is not None else []))
    return aligned(table, right={3, 4, 5, 6} if detailed else {3, 4})


def aligned(table: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows of cells as text with columns of one width; columns in ``right`` are flush right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def totals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Layers, parameters, multiply-accumulates and, where the rows have it, memory of a whole net, on one line."""
    parameters = sum(row["parameters"] for row in rows)
    macs = sum(row["macs"] for row in rows)
    memory = sum(row.get("memory", 0) for row in rows)
    tops = f", {memory / 1e6:,.0f} MB of tops" if memory else ""
    return f"{len(rows)} layers, {parameters:,} parameters, {macs / 1e9:.2f} GMAC{tops}"
