"""Tables of a net for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def layer_table(rows: Sequence[Mapping[str, Any]], weights: Mapping[str, str] | None = None) -> str:
    """One line per layer.

    Args:
        rows: as :func:`converter.summary` gives them.
        weights: for layers with weights, where these come from.
    """
    header = ["layer", "type", "top", "parameters", "MMAC"]
    table = [header + (["weights"] if weights is not None else [])]
    for row in rows:
        tops = ", ".join("x".join(map(str, shape)) for shape in row["top_shapes"])
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        macs = f"{row['macs'] / 1e6:,.1f}" if row["macs"] else ""
        cells = [row["name"], row["type"], tops, parameters, macs]
        table.append(cells + ([weights.get(row["name"], "")] if weights is not None else []))
    return aligned(table, right={3, 4})


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
    """Layers, parameters and multiply-accumulates of a whole net, on one line."""
    parameters = sum(row["parameters"] for row in rows)
    macs = sum(row["macs"] for row in rows)
    return f"{len(rows)} layers, {parameters:,} parameters, {macs / 1e9:.2f} GMAC"
