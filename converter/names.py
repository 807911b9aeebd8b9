"""Caffe's layer names, as names of modules, and the names of tops that activations go by."""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import dataclass

from torch import fx, nn

from prototxt import Net

_RESERVED = frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph())))


def unique_names(names: list[str]) -> list[str]:
    """Layer names made unique: the second layer ``fc`` is ``fc#2``; layers without a name are ``#1``, ``#2``, ...

    The first of several keeps its name, as the first is the one into which Caffe loads weights.
    """
    taken = set(names)
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0) + 1
        unique = name if name and count == 1 else f"{name}#{count}"
        while unique != name and unique in taken:
            count += 1
            unique = f"{name}#{count}"
        seen[name] = count
        taken.add(unique)
        result.append(unique)
    return result


def module_name(name: str) -> str:
    """``name`` as the name of a submodule, which is also the prefix of its keys in the state dict.

    Names stay as they are, slashes included, but for what torch or Python cannot take: ``.`` becomes ``_dot_``; a
    keyword or an attribute of modules (``type``, ``half``, ``forward``) gets a trailing ``_``; quotes, backslashes,
    unprintable characters and those that Python takes for others in a name become their code point (``_x22_``), since
    torch.fx writes names into source code.
    """
    safe = "".join(_safe(character) for character in name)
    return safe + "_" if keyword.iskeyword(safe) or safe in _RESERVED or safe.lower() == "self" else safe


def argument_name(blob: str, taken: set[str]) -> str:
    """``blob`` as the name of an argument of ``forward``; the name is added to ``taken``."""
    name = re.sub(r"\W", "_", blob, flags=re.ASCII)
    if not name.isidentifier() or keyword.iskeyword(name) or name.lower() == "self":
        name = f"_{name}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _safe(character: str) -> str:
    if character == ".":
        return "_dot_"
    normal = unicodedata.normalize("NFKC", character) == character
    if character in "\"'\\{}" or not character.isprintable() or not normal:
        return f"_x{ord(character):x}_"
    return character


@dataclass(frozen=True)
class Top:
    """One top of a layer.

    Attributes:
        key: as :func:`converter.activations` names it: an input's blob, the layer for its first top, ``layer:blob``.
        blob: the blob's name.
        layer: the layer's name, made unique.
        type: the layer's type.
        index: which of the layer's tops.
    """

    key: str
    blob: str
    layer: str
    type: str
    index: int


def tops_of(net: Net) -> list[Top]:
    """Every top of every layer, in the net's order."""
    tops = []
    names = unique_names([layer.name for layer in net.layers])
    for layer, name in zip(net.layers, names, strict=True):
        for index, blob in enumerate(layer.tops):
            is_input = not layer.bottoms and blob in net.inputs
            key = blob if is_input else f"{name}:{blob}" if index else name
            tops.append(Top(key, blob, name, layer.type, index))
    return tops
