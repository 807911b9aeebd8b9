"""A converted net as a program of torch.export."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import fx

from .program import NetProgram, Run, Written, write_program


def write_pt2(path: str | os.PathLike[str], graph: fx.GraphModule) -> Written:
    """Write a ``.pt2`` file, for ``torch.export.load(path).module()``, with the batch and the size open where possible.

    Before it appears it is loaded, and its outputs must be those of ``graph``. Like a pickle, such a file can run code
    where it is loaded: load those that you trust.

    Args:
        path: the file.
        graph: a converted net; folding is kept.

    Raises:
        InputError: the net cannot be exported (what it gives has shapes that depend on values), or the file cannot be
            written.
    """
    return write_program(path, graph, "a pt2 file", _write)


def _write(program: NetProgram, path: Path) -> Run:
    with path.open("wb") as stream:
        torch.export.save(program.program, stream)
    module = torch.export.load(path).module()
    assert callable(module)
    return module
