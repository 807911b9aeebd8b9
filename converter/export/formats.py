"""The kinds of files that a converted net is written as, and their names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from icnet_common.files import atomic_write

from .caffe import write_caffe
from .onnx import write_onnx
from .program import BATCH, SIZE, Written, write_pt2
from .safetensors import save_graph
from .source import write_source

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


def write(format_name: str, paths: tuple[Path, ...], graph: fx.GraphModule, provenance: Mapping[str, Any]) -> Output:
    """Write a net in one of :data:`FORMATS`, to the paths that :func:`paths_of` gives, whole or not at all.

    Raises:
        InputError: what stands in its way.
    """
    note = ""
    match format_name:
        case "safetensors":
            save_graph(paths[0], graph, provenance)
        case "pth":
            save_pth(paths[0], graph.state_dict())
        case "pt2":
            note = _proven(write_pt2(paths[0], graph))
        case "onnx":
            note = _proven(write_onnx(paths[0], graph))
        case "source":
            note = f"largest difference from the graph {write_source(paths[0], graph, provenance):.1e}"
        case "caffe":
            write_caffe(paths[0], paths[1], graph)
            note = "read again: the same bits"
    return Output(format_name, paths, note)


def _proven(written: Written) -> str:
    opened = {(BATCH, SIZE): "any batch and size", (BATCH,): "any batch"}.get(written.opened, "of fixed shape")
    return f"{opened}; largest difference from the graph {written.difference:.1e}"


def save_pth(path: str | os.PathLike[str], state: Mapping[str, torch.Tensor]) -> None:
    """Write a plain dict of tensors, which ``torch.load(path, weights_only=True)`` reads; whole or not at all.

    Keys that are one parameter stay one: torch stores and restores their memory once.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as stream:  # a stream, lest the file's name goes into it
        torch.save({key: value.detach() for key, value in state.items()}, stream)
