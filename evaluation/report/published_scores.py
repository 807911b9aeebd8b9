"""Whether an evaluation gave the figures that were expected of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icnet_common.errors import InputError
from pytorch_icnet.weights.known import KNOWN_WEIGHTS, KnownWeights, lookup

from ..protocols import Result

TOLERANCE = 0.1
"""Percent points. Published figures have one digit after the point, so rounding alone accounts for 0.05."""

_KEYS = ("mean_iou", "pixel_accuracy")


@dataclass(frozen=True)
class Expected:
    """A figure that is expected."""

    key: str
    """Of a figure of the protocol."""
    percent: float
    source: str = ""
    """Where it was published."""


@dataclass(frozen=True)
class ScoreComparison:
    """A figure beside what was expected of it."""

    expected: Expected
    measured: float
    """Percent; NaN where undefined."""
    met: bool


@dataclass(frozen=True)
class Comparison:
    """Some figures beside what was expected of them."""

    lines: tuple[ScoreComparison, ...]
    tolerance: float
    """Percent points."""

    @property
    def met(self) -> bool:
        """Whether all figures are within the tolerance; an undefined one is not."""
        return all(line.met for line in self.lines)

    def as_text(self) -> str:
        """A line per figure."""
        return "\n".join(self._text(line) for line in self.lines)

    def as_data(self) -> dict[str, Any]:
        """For JSON, in percent; with the text, for pages."""
        figures = [
            {
                "key": line.expected.key,
                "measured": line.measured,
                "expected": line.expected.percent,
                "source": line.expected.source,
                "met": line.met,
            }
            for line in self.lines
        ]
        return {"met": self.met, "tolerance": self.tolerance, "figures": figures, "text": self.as_text()}

    def _text(self, line: ScoreComparison) -> str:
        measured = "undefined" if math.isnan(line.measured) else f"{line.measured:.2f}%"
        source = f" ({line.expected.source})" if line.expected.source else ""
        return (
            f"{'As expected' if line.met else 'NOT as expected'}: {line.expected.key} {measured}, "
            f"expected {line.expected.percent:g}% within {self.tolerance:g}{source}"
        )


def given(values: Sequence[float]) -> tuple[Expected, ...]:
    """A mean IoU and, where there is a second value, a pixel accuracy; percent.

    Raises:
        InputError: no such values.
    """
    if not 1 <= len(values) <= len(_KEYS) or not all(0 <= value <= 100 for value in values):
        raise InputError("expected a mean IoU and perhaps a pixel accuracy, in percent, such as 67.7 94.5")
    return tuple(Expected(key, value) for key, value in zip(_KEYS, values, strict=False))


def published(md5: str, file: str = "", *, multi_scale: bool | None = False) -> tuple[Expected, ...]:
    """The figures that were published for weights.

    They belong to all images of a split of Cityscapes, which the source names, and to the weights' own protocol.

    Args:
        md5: of the weights' file.
        file: its name, which tells weights whose md5 is not known.
        multi_scale: whether each image is averaged over, as published; None: averaged over otherwise.

    Raises:
        InputError: nothing is known of them.
    """
    known = lookup(md5, file)
    if known is None:
        names = ", ".join(weights.file for weights in KNOWN_WEIGHTS)
        raise InputError(f"nothing is published of these weights; say what to expect, or use one of {names}")
    scores = _scores(known, multi_scale)
    if not scores:
        raise InputError(f"nothing is published of {known.file} with these --scales and --flip; say what to expect")
    source = f"{known.source}, {known.split}"
    return tuple(Expected(key, percent, source) for key, percent in scores.items())


def compare(result: Result, expected: Sequence[Expected], tolerance: float = TOLERANCE) -> Comparison:
    """A protocol's figures beside what is expected of them.

    Raises:
        InputError: the protocol has no such figure.
    """
    lines = []
    for item in expected:
        keys = [figure.key for figure in result.figures]
        if item.key not in keys:
            raise InputError(f"the protocol {result.protocol} has no figure {item.key}; it has {', '.join(keys)}")
        measured = 100 * result[item.key]
        # A billionth for 0.1 itself, which binary fractions do not hit.
        lines.append(ScoreComparison(item, measured, abs(measured - item.percent) <= tolerance + 1e-9))
    return Comparison(tuple(lines), tolerance)


def beside_published(
    provenance: Mapping[str, Any], result: Result, *, multi_scale: bool | None = False
) -> dict[str, Any] | None:
    """Measured against published, percent; None where nothing is known of the weights.

    The published figures belong to a split of Cityscapes, to all of its images and to the weights' own protocol, which
    this cannot verify.

    Args:
        provenance: md5 and name of the weights' file.
        result: what was measured.
        multi_scale: whether each image was averaged over, as published; None: averaged over otherwise.
    """
    known = lookup(str(provenance.get("md5", "")), str(provenance.get("file", "")))
    scores = _scores(known, multi_scale)
    if known is None or not scores:
        return None
    compared: dict[str, Any] = {
        "weights": known.file,
        "split": known.split,
        "source": known.source,
        "protocol": known.protocol,
        "by_name": not known.md5,
    }
    for key in _KEYS:
        published, measured = scores.get(key), 100 * result[key]
        difference = None if published is None else measured - published
        compared[key] = {"measured": measured, "published": published, "difference": difference}
    return compared


def _scores(known: KnownWeights | None, multi_scale: bool | None) -> Mapping[str, float]:
    """The published figures, percent, by key; none where nothing is known of such averaging."""
    return {} if known is None or multi_scale is None else known.scores(multi_scale=multi_scale)
