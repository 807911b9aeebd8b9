"""A converted net as a Python package that needs torch and safetensors only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import fx, nn

from icnet_common.files import atomic_folder

from ...record import original_net
from ..program import check_outputs
from ..safetensors import save_state
from .package import WEIGHTS_FILE, Package

INIT = '''"""A net converted from Caffe: ``load()`` gives it with its weights."""

from .net import Net, load

__all__ = ["Net", "load"]
'''
FILES = frozenset({"__init__.py", "__pycache__", "net.py", WEIGHTS_FILE})


def write_source(path: str | os.PathLike[str], graph: fx.GraphModule, provenance: Mapping[str, Any]) -> float:
    """Write a package: ``net.py`` with the net's class and ``load()``, and its weights; whole or not at all.

    Before it appears its code is run, and its outputs must be those of ``graph``. A package of this kind that is there
    already is replaced. Folding and rewrites are kept. ``file``, ``md5`` and ``sha256`` of the weights, as far as
    ``provenance`` has them, go into the docstring.

    Returns:
        The largest relative difference from the graph's outputs.

    Raises:
        InputError: a layer cannot be written as source, the outputs differ, or the folder cannot be written.
    """
    net = original_net(graph)
    package = Package(graph, net)
    code = package.code(provenance)
    with atomic_folder(path, _is_package) as folder:
        (folder / "__init__.py").write_text(INIT, encoding="utf-8")
        (folder / "net.py").write_text(code, encoding="utf-8")
        save_state(folder / WEIGHTS_FILE, package.state(), {"provenance": dict(provenance)})
        return check_outputs(f"{path}: the source", graph, net, _loaded(folder / "net.py", code))


def _is_package(folder: Path) -> bool:
    return {"net.py", WEIGHTS_FILE} <= {file.name for file in folder.iterdir()} <= FILES


def _loaded(file: Path, code: str) -> nn.Module:
    """The net of the module ``file``, as an import gives it, but without a trace of the module."""
    module = ModuleType(f"converted net {id(code)}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses look for their module
    try:
        exec(compile(code, str(file), "exec"), module.__dict__)
        net: nn.Module = module.load()
        return net
    finally:
        del sys.modules[module.__name__]
