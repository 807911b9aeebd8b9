"""Caffe's names in code: as attributes or keys, and in comments."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from torch import nn

MOST = 80
"""Characters of a name in a comment."""


def attribute_keys(targets: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The base class of the net, and for each module its key there.

    Where all names are Python's, the net is an ``nn.Module`` and they are its attributes. Otherwise it is an
    ``nn.ModuleDict`` and they are its keys, as they are but for the names of a ModuleDict's own methods.
    """
    targets = list(targets)
    if all(_is_attribute(target) for target in targets):
        return "nn.Module", {target: target for target in targets}
    keys: dict[str, str] = {}
    taken = set(targets)
    for target in targets:
        key = target
        while hasattr(nn.ModuleDict, key) or (key != target and key in taken):
            key += "_"
        keys[target] = key
        taken.add(key)
    return "nn.ModuleDict", keys


def path_of(key: str, base: str) -> str:
    """The code for the module or parameter whose key in the state dict is ``key``."""
    first, *rest = key.split(".")
    code = f"self.{first}" if base == "nn.Module" else f'self["{first}"]'
    return code + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def plain(text: str) -> str:
    """``text`` for a comment or a docstring: what could end either is replaced."""
    safe = "".join(character if character.isprintable() and character not in '"\\' else "?" for character in text)
    safe = safe.strip()
    return safe if len(safe) <= MOST else f"{safe[:MOST]}..."


def _is_attribute(name: str) -> bool:
    """Whether ``self.name`` means that name: ASCII, as Python normalises others, and not mangled."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")
