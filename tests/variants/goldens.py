"""What the variants' own code gave with seeded weights, and the same weights in our nets."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pytorch_icnet.imaging.images import read_label_map

from ..golden import shared

Net = TypeVar("Net", bound=nn.Module)


@cache
def rules() -> ModuleType:
    """The rules by which the goldens' weights and inputs were made; or skip the test."""
    path = shared("golden", "peers", "seeded_weights.py")
    spec = importlib.util.spec_from_file_location("seeded_weights", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_strict(net: Net) -> Net:
    """A net with the goldens' weights, in eval mode."""
    rules().load(net)
    return net.eval()


def data(folder: str, name: str) -> Any:
    """A JSON file of a peer's folder."""
    return json.loads(shared("golden", "peers", folder, name).read_text())


@cache
def arrays(folder: str) -> Mapping[str, npt.NDArray[Any]]:
    """All arrays of a peer."""
    with np.load(shared("golden", "peers", folder, "golden.npz")) as file:
        return {name: file[name] for name in file.files}


def labels(folder: str, name: str) -> npt.NDArray[np.uint8]:
    """A label map of a peer."""
    return read_label_map(shared("golden", "peers", folder, name))


def image(*shape: int, seed: int) -> torch.Tensor:
    """A seeded input, float32."""
    return torch.from_numpy(rules().seeded_input(shape, seed))


def targets(shape: tuple[int, int, int], seed: int, ignore: int) -> torch.Tensor:
    """Seeded label maps, int64."""
    return torch.from_numpy(rules().seeded_labels(shape, seed, ignore=ignore))


def published_keys(folder: str) -> list[tuple[str, list[int], str]]:
    """Key, shape and type of everything in the published state dict, in its order."""
    return [tuple(each) for each in data(folder, "keys.json")]


def keys_of(net: nn.Module) -> list[tuple[str, list[int], str]]:
    """The same of ours."""
    return [
        (key, list(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in net.state_dict().items()
    ]


def distance(ours: torch.Tensor | npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """The largest absolute difference; shapes must agree."""
    mine = ours.detach().numpy() if isinstance(ours, torch.Tensor) else ours
    assert mine.shape == theirs.shape
    return float(np.abs(mine.astype(np.float64) - theirs).max())


def differing(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """The share of pixels that differ."""
    assert ours.shape == theirs.shape
    return float((ours != theirs).mean())


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def grown_norms(net: nn.Module, reference: Mapping[str, Any], limit: float) -> None:
    """The norms of all gradients and batch-norm buffers are the published ones, relatively within ``limit``."""
    gradients = {
        key: float(parameter.grad.norm()) for key, parameter in net.named_parameters() if parameter.grad is not None
    }
    known = {key: value for key, value in reference["grad_norm"].items() if value is not None}
    assert gradients.keys() == known.keys()
    for key, value in known.items():
        assert abs(gradients[key] - value) <= limit * max(abs(value), 1e-9), key
    assert wrong_buffers(net, reference, limit) == []


def wrong_buffers(net: nn.Module, reference: Mapping[str, Any], limit: float) -> list[str]:
    """The batch-norm buffers whose norm is not the published one."""
    buffers = dict(net.named_buffers())
    assert buffers.keys() == reference["bn_after"].keys()
    return [
        key
        for key, value in reference["bn_after"].items()
        if abs(float(buffers[key].double().norm()) - value) > limit * max(abs(value), 1e-9)
    ]
