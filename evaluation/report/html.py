"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from icnet_common.files import atomic_write
from pytorch_icnet.datasets.classes import ClassTable

from ..protocols import Result
from . import confusion
from .pictures import IGNORED, RIGHT, WRONG, Tiles

Colour = tuple[int, int, int]

_NAMES = {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
_AUDITED = ("mean_iou", "pixel_accuracy", "changed")
_CLASS_COLUMNS = ("accuracy", "instance_iou", "dice", "fscore", "precision", "true_iou")
"""Columns of protocols that the class table shows besides the IoU."""


@dataclass(frozen=True)
class Pictures:
    """A group of images on the page."""

    title: str
    tiles: Sequence[Tiles]

    @property
    def errors(self) -> bool:
        return any(tile.error for tile in self.tiles)


def write_page(
    path: str | os.PathLike[str],
    data: Mapping[str, Any],
    results: Sequence[Result],
    table: ClassTable,
    pictures: Sequence[Pictures],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        data: the JSON report.
        results: by protocol; none where nothing was scored.
        table: the classes, for their colours.
        pictures: images to look at.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(page(data, results, table, pictures), encoding="utf-8", errors="replace")


def page(data: Mapping[str, Any], results: Sequence[Result], table: ClassTable, pictures: Sequence[Pictures]) -> str:
    """The page's text; see :func:`write_page`. Everything that comes from files is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evaluation.report", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    first = results[0] if results else None
    return environment.get_template("page.html").render(
        data=data,
        title=_title(data),
        subtitle=_subtitle(data, first),
        cards=_cards(data, first),
        published=_published(data.get("published")),
        expected=data.get("expected"),
        protocols=[_protocol(result) for result in results if len(results) > 1 or result.notes],
        audit=_audit(data.get("audit")),
        classes=first and _classes(first, table),
        confusion=first and confusion.picture(first),
        pictures=[group for group in pictures if group.tiles],
        legend=[("right", css(RIGHT)), ("wrong", css(WRONG)), ("ignored", css(IGNORED))],
        facts=_facts(data),
    )


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _title(data: Mapping[str, Any]) -> str:
    return str(data["weights"]["file"] if "weights" in data else data["predictions"])


def _subtitle(data: Mapping[str, Any], first: Result | None) -> str:
    count = f"{len(first.images)} images scored" if first else f"{data['timing']['images']} images predicted"
    protocol = f", protocol {first.protocol}" if first else ""
    return f"{count}, list {data['list']['file']}{protocol}"


def _cards(data: Mapping[str, Any], first: Result | None) -> list[dict[str, str]]:
    cards = []
    if first is not None:
        cards = [
            {
                "name": _NAMES.get(figure.key, figure.name),
                "value": percent(figure.value),
                "note": f"{first.protocol}: {figure.name}",
            }
            for figure in first.figures[:3]
        ]
        cards.append({"name": "images", "value": str(len(first.images)), "note": _pixels(first)})
    if timing := data.get("timing"):
        note = f"{timing['processes']} process{'es' if timing['processes'] > 1 else ''}, {data['device_name']}"
        cards.append({"name": "images/s", "value": f"{timing['images_per_s']:.2f}", "note": note})
    return cards


def _pixels(result: Result) -> str:
    return f"{sum(image.labelled for image in result.images):,} labelled pixels".replace(",", "\u202f")


def _published(published: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not published:
        return None
    rows = []
    for key, name in _NAMES.items():
        if published[key]["published"] is not None:
            difference = published[key]["difference"]
            rows.append(
                {
                    "name": name,
                    "published": f"{published[key]['published']:g} %",
                    "measured": f"{published[key]['measured']:.2f} %",
                    "difference": f"{difference:+.2f}",
                    "verdict": "good" if abs(difference) <= 0.1 else "bad",
                }
            )
    return {**published, "rows": rows}


def _protocol(result: Result) -> dict[str, Any]:
    figures = [{"name": figure.name, "value": percent(figure.value)} for figure in result.figures]
    return {"name": result.protocol, "source": result.source, "figures": figures, "notes": result.notes}


def _audit(audit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    findings = [
        {
            **finding,
            **{key: "–" if finding[key] is None else percent(finding[key]) for key in _AUDITED},
        }
        for finding in (audit["right"], *audit["mistakes"])
    ]
    return {"images": audit["images"], "findings": findings}


def _classes(result: Result, table: ClassTable) -> dict[str, Any]:
    columns = result.classes.columns
    shown = [key for key in _CLASS_COLUMNS if key in columns]
    labelled = result.confusion.sum(axis=1)
    shares = confusion.row_shares(labelled[None])[0]
    rows = []
    for index, name in enumerate(result.classes.rows):
        iou = float(columns["iou"][index])
        rows.append(
            {
                "name": name,
                "colour": css(table.scored[index].colour),
                "iou": percent(iou),
                "width": f"{0 if math.isnan(iou) else 100 * iou:.1f}",
                "others": [percent(float(columns[key][index])) for key in shown],
                "share": percent(float(shares[index])),
                "taken_for": _taken_for(result, index),
            }
        )
    return {"columns": [key.replace("_", " ") for key in shown], "rows": rows}


def _taken_for(result: Result, index: int) -> str:
    """The classes that most of a class's wrong pixels became."""
    shares = confusion.row_shares(result.confusion)[index].copy()
    shares[index] = 0
    worst = [int(other) for other in np.argsort(-shares, kind="stable")[:2] if shares[other] >= 0.005]
    return ", ".join(f"{result.classes.rows[other]} {100 * shares[other]:.1f} %" for other in worst)


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if weights := data.get("weights"):
        facts += [("weights", str(weights.get("file"))), ("SHA-256", str(weights.get("sha256")))]
        facts.append(("input size", " x ".join(map(str, data["input_size"]))))
        facts.append(("device", f"{data['device']}, {data['device_name']}, {data['precision']}"))
    facts.append(("list", f"{data['list']['file']}, {data['list']['lines']} lines, SHA-256 {data['list']['sha256']}"))
    facts += [("settings", ", ".join(f"{key} {value}" for key, value in data["settings"].items() if value is not None))]
    facts += [("protocol", f"{each['name']}: {each['source']}") for each in data["protocols"]]
    if timing := data.get("timing"):
        stages = ", ".join(f"{key} {ms:.1f}" for key, ms in timing["mean_ms"].items() if ms is not None)
        facts.append(("time", f"{timing['wall_s']:.1f} s for {timing['images']} images, {timing['kept']} kept"))
        facts.append(("ms per image", stages))
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in data["versions"].items())))
    return facts


def percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f} %"
