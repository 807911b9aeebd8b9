"""The kinds of files that a converted net is written as, and their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import fx

from .caffe import write_caffe
from .onnx import write_onnx
from .program import BATCH, SIZE, Written
from .pt2 import write_pt2
from .pth import save_pth
from .safetensors import save_graph
from .source import write_source

Provenance = Mapping[str, Any]

FORMATS = ("safetensors", "pth", "pt2", "onnx", "source", "caffe")

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "pth": (".pth",),
    "pt2": (".pt2",),
    "onnx": (".onnx",),
    "source": ("",),
    "caffe": (".prototxt", ".caffemodel"),
}
"""Of each format's files; ``source`` is a folder."""


@dataclass(frozen=True)
class Output:
    """What was written.

    Attributes:
        format: one of :data:`FORMATS`.
        paths: the files, or the folder.
        note: what was proven of them.
    """

    format: str
    paths: tuple[Path, ...]
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths)) + (f" ({self.note})" if self.note else "")


def paths_of(format_name: str, base: Path) -> tuple[Path, ...]:
    """The files of a format, from a path without suffix; a folder of source gets a name that Python can import."""
    if format_name == "source":
        name = re.sub(r"\W", "_", base.name, flags=re.ASCII)
        return (base.with_name(f"_{name}" if name[:1].isdigit() else name),)
    return tuple(base.with_name(base.name + suffix) for suffix in SUFFIXES[format_name])


def write(format_name: str, paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> Output:
    """Write a converted net in one format, whole or not at all.

    Args:
        format_name: one of :data:`FORMATS`.
        paths: as :func:`paths_of` gives them.
        graph: the net.
        provenance: where its weights come from.

    Raises:
        InputError: what stands in its way.
    """
    return Output(format_name, paths, _WRITERS[format_name](paths, graph, provenance))


def _safetensors(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    save_graph(paths[0], graph, provenance)
    return ""


def _pth(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    save_pth(paths[0], graph.state_dict())
    return ""


def _pt2(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    return _proven(write_pt2(paths[0], graph))


def _onnx(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    return _proven(write_onnx(paths[0], graph))


def _source(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    return f"largest difference from the graph {write_source(paths[0], graph, provenance):.1e}"


def _caffe(paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Provenance) -> str:
    write_caffe(paths[0], paths[1], graph)
    return "read again: the same bits"


def _proven(written: Written) -> str:
    opened = {(BATCH, SIZE): "any batch and size", (BATCH,): "any batch"}.get(written.opened, "of fixed shape")
    return f"{opened}; largest difference from the graph {written.difference:.1e}"


_WRITERS: Mapping[str, Callable[[tuple[Path, ...], fx.GraphModule, Provenance], str]] = {
    "safetensors": _safetensors,
    "pth": _pth,
    "pt2": _pt2,
    "onnx": _onnx,
    "source": _source,
    "caffe": _caffe,
}
