"""Comparisons as a table (CSV) and as a picture of error against depth (PNG)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from prototxt import Net

from .compare import Difference
from .names import tops_of
from .verify import Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("comparison", "depth", "layer", "type", "absolute", "relative", "limit", "verdict")
EQUAL = 1e-17
"""Where the picture puts a difference of 0, below the smallest that float64 can have."""
FARTHEST = 1e6
"""Where it puts an infinite one, for shapes that differ or numbers that are none."""
NAMED = 40
"""The picture names the layers where there are no more than these, else it numbers them."""
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")


class PlotError(InputError):
    """The picture cannot be drawn here."""


def write_report(folder: Path, checks: Sequence[Verification], net: Net) -> list[str]:
    """Write ``verification.csv`` and ``verification.png`` into ``folder``.

    Returns:
        The files written; in place of the picture, why there is none, where matplotlib is not installed.

    Raises:
        InputError: a file cannot be written.
    """
    types = {top.key: top.type for top in tops_of(net)}
    table, picture = folder / "verification.csv", folder / "verification.png"
    write_csv(table, checks, types)
    try:
        write_picture(picture, checks, types)
    except PlotError as error:
        return [str(table), str(error)]
    return [str(table), str(picture)]


def write_csv(path: Path, checks: Sequence[Verification], types: Mapping[str, str]) -> None:
    """One row per comparison and top, in the order in which the layers run, then the layers that were not compared.

    Columns: comparison; depth, the number of the layer from 0; layer, as :func:`converter.activations` names tops;
    type; absolute, max|a - b|; relative, that over max|b|; limit; verdict: ``equal``, ``close`` (within the limit),
    ``first divergence``, ``diverges``, or ``unchecked: `` and the reason. ``types`` is the layer type of each top. The
    file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    depths = {key: depth for depth, key in enumerate(types)}
    for check in checks:
        writer.writerows(_rows(check, types, depths))
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")


def _rows(check: Verification, types: Mapping[str, str], depths: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
    first = check.diverging
    for item in check.layers:
        place = (check.what, depths.get(item.layer, ""), item.layer, types.get(item.layer, ""))
        yield (*place, f"{item.absolute:.6g}", f"{item.relative:.6g}", f"{check.limit:g}", _verdict(item, check, first))
    for layer, reason in ((item.layer, item.reason) for item in check.unchecked):
        place = (check.what, depths.get(layer, ""), layer, types.get(layer, ""))
        yield (*place, "", "", f"{check.limit:g}", f"unchecked: {reason}")


def _verdict(item: Difference, check: Verification, first: Difference | None) -> str:
    if item is first:
        return "first divergence"
    if not item.relative <= check.limit:
        return "diverges"
    return "close" if item.relative else "equal"


def write_picture(path: Path, checks: Sequence[Verification], types: Mapping[str, str]) -> None:
    """Relative error against depth, on a logarithmic scale, with each comparison's limit and first divergence.

    ``path`` is a PNG, which appears whole or not at all; ``types`` has the net's tops in the order in which they run.

    Raises:
        PlotError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(f"{path}: no picture: it needs matplotlib (pip install 'pytorch-icnet[plot]')") from error
    figure = Figure(figsize=(min(max(8.0, 0.2 * len(types)), 14.0), 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    depths = {key: depth for depth, key in enumerate(types)}
    for check, colour in zip(checks, COLOURS * len(checks), strict=False):
        _draw(axes, check, depths, colour)
    _mark_first(axes, checks, depths)
    axes.set_ylim(EQUAL / 3, axes.get_ylim()[1] * 10)
    axes.set_yticks([EQUAL, *(10.0**power for power in range(-16, 20, 2) if 10.0**power < axes.get_ylim()[1])])
    axes.set_yticklabels(["equal", *(label.get_text() for label in axes.get_yticklabels()[1:])])
    axes.set_xlim(-0.5, len(types) - 0.5)
    axes.set_ylabel("relative error, max|a - b| / max|b|")
    axes.grid(alpha=0.3)
    figure.legend(
        loc="outside upper left", ncols=2, fontsize="small", title="dashed: the limit", title_fontsize="small"
    )
    if len(types) <= NAMED:
        axes.set_xticks(range(len(types)), [_plain(key) for key in types], rotation=90, fontsize="small")
    else:
        axes.set_xlabel("depth: number of the layer in the order in which they run")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(axes: Axes, check: Verification, depths: Mapping[str, int], colour: str) -> None:
    points = [(depths[item.layer], _height(item)) for item in check.layers if item.layer in depths]
    style = "-" if check.accumulates else "none"
    axes.plot(
        *zip(*points, strict=True), color=colour, marker=".", linestyle=style, linewidth=0.8, label=_plain(check.what)
    )
    if math.isfinite(check.limit):
        axes.axhline(check.limit, color=colour, linestyle="--", linewidth=0.8)


def _plain(name: str) -> str:
    """A name as matplotlib shows it: dollars would begin a formula, and a long name leaves no room for the picture."""
    short = name if len(name) <= 60 else f"{name[:57]}..."
    return short.encode("utf-8", "replace").decode().replace("$", r"\$")


def _height(item: Difference) -> float:
    """Where an error is drawn: 0 and infinity at the picture's edges."""
    return min(max(item.relative, EQUAL), FARTHEST)


def _mark_first(axes: Axes, checks: Sequence[Verification], depths: Mapping[str, int]) -> None:
    """A ring around the first divergence of each comparison, and its name."""
    firsts = [check.diverging for check in checks]
    places = {first.layer: (depths[first.layer], _height(first)) for first in firsts if first and first.layer in depths}
    for layer, place in places.items():
        right = place[0] > len(depths) / 2
        axes.plot(*place, marker="o", markersize=10, markerfacecolor="none", markeredgecolor="red", linestyle="none")
        axes.annotate(
            f"first divergence: {_plain(layer)}",
            place,
            (-10 if right else 10, 12),
            textcoords="offset points",
            horizontalalignment="right" if right else "left",
            color="red",
        )
