"""The table of supported layer types, for ``icnet-convert --layers`` and the documents."""

from __future__ import annotations

import inspect
from typing import Any

from prototxt import Params
from prototxt.params import default_params

from . import reference, registry
from .registry import INPUT_TYPES, LayerType, count_text

#: Types whose output was compared with that of the original Caffe; a test checks that the references have them all.
COMPARED_WITH_CAFFE = frozenset(
    """
    AbsVal Accuracy ArgMax Axpy BN BatchNorm Bias Concat Convolution Crop Deconvolution DetectionOutput Dropout
    DummyData ELU Eltwise Embed Filter Flatten InnerProduct Interp LRN LSTM PReLU Parameter Permute Pooling Power
    PriorBox ReLU Reshape Scale Sigmoid Slice Softmax SoftmaxWithLoss Split TanH Upsample
    """.split()  # noqa: SIM905
)
_CAFFE, _FORMULA = "the original Caffe", "its formula in NumPy"


def catalogue() -> list[dict[str, Any]]:
    """One row per supported type, by family and name, those that users registered included.

    Returns:
        Rows of ``type``, ``family`` (the module of its translator), ``description``, ``bottoms`` and ``tops`` (how
        many, as text), ``parameters`` (name to default; None: a message such as a filler), ``restrictions`` and
        ``tested_against`` (texts; empty: none).
    """
    rows = [_row(layer_type) for layer_type in registry.registered().values()]
    rows += [_input_row(name) for name in INPUT_TYPES]
    return sorted(rows, key=lambda row: (row["family"], row["type"]))


def catalogue_text() -> str:
    """The table as Markdown: a section for each family, a paragraph for all types that are one."""
    lines = [
        "# Layer types",
        "",
        "What `icnet-convert --layers` prints; [adding-a-layer.md](adding-a-layer.md) shows how to add one.",
    ]
    family = ""
    for rows in _alike(catalogue()):
        if rows[0]["family"] != family:
            family = rows[0]["family"]
            lines += ["", f"## {family}"]
        lines += ["", f"**{', '.join(row['type'] for row in rows)}** — {rows[0]['description']}", ""]
        lines += [f"- {name.replace('_', ' ')}: {text}" for name, text in _facts(rows[0]) if text]
    return "\n".join(lines) + "\n"


def _row(layer_type: LayerType) -> dict[str, Any]:
    name, tops = layer_type.name, count_text(layer_type.tops)
    if layer_type.one_top_each:
        tops = "one for each bottom"
    elif layer_type.automatic_tops:
        tops += ", which need no name"
    tested = [_CAFFE] * (name in COMPARED_WITH_CAFFE) + [_FORMULA] * (name in reference.types())
    return {
        "type": name,
        "family": layer_type.translate.__module__.rpartition(".")[2],
        "description": " ".join((inspect.getdoc(layer_type.translate) or "").split()).replace("``", "`"),
        "bottoms": count_text(layer_type.bottoms),
        "tops": tops,
        "parameters": _parameters(name),
        "restrictions": layer_type.limits,
        "tested_against": ", ".join(tested),
    }


def _input_row(name: str) -> dict[str, Any]:
    is_input = name == "Input"
    return {
        "type": name,
        "family": "inputs",
        "description": "An argument of forward for each top, in the order of the text.",
        "bottoms": "0",
        "tops": "1 or more",
        "parameters": _parameters(name) if is_input else {},
        "restrictions": "" if is_input else "reads no files: its tops are fed, and need shapes from an Input layer",
        "tested_against": _CAFFE if is_input else "",
    }


def _parameters(type_name: str) -> dict[str, Any]:
    """The defaults as JSON has them."""
    defaults = {name: None if isinstance(value, Params) else value for name, value in default_params(type_name).items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


def _alike(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows that differ in no more than their names, together."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        key = repr({**row, "type": "", "tested_against": ""})
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    parameters = ", ".join(f"`{name}`{_default(value)}" for name, value in row["parameters"].items())
    numbers = f"{row['bottoms']}; tops: {row['tops']}"
    return [("bottoms", numbers), ("parameters", parameters)] + [
        (key, row[key]) for key in ("restrictions", "tested_against")
    ]


def _default(value: Any) -> str:
    """The default, where it says more than that there is none."""
    if value in (None, [], 0, "") and value is not False:
        return ""
    return f" = {str(value).lower() if isinstance(value, bool) else value}"
