"""The speed of networks as mmsegmentation measures it, with ``tools/benchmark.py`` of 0.30.0.

Single images, already prepared, of 1024x2048: five untimed, then 195 timed, each from its copy to the device to the
copy of its label map back, with the device waited for on both sides, and cuDNN not choosing algorithms by trial. What
it calls fps is their number over the sum of their times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pytorch_icnet
from icnet_common.errors import InputError
from pytorch_icnet.card import card_of
from pytorch_icnet.variants.mmseg import FAMILY, INPUT_SIZE, MMSegICNet
from pytorch_icnet.weights.checkpoints import ICNET
from pytorch_icnet.weights.known import of_network

from .passes import Times, setting_of, time_forward

__all__ = ["DEPTHS", "FAMILY", "INPUT_SIZE", "TIMED", "WARM_UP", "benchmark"]

WARM_UP, TIMED = 5, 195
"""How many images."""

DEPTHS = (18, 50, 101)
"""Of the networks that are timed with random weights, where none are given."""


def benchmark(
    weights: Path | None,
    device: torch.device,
    *,
    size: tuple[int, int] = INPUT_SIZE,
    iterations: int = TIMED,
    warmup: int = WARM_UP,
    dtype: torch.dtype = torch.float32,
    training_gb: Callable[[str], float] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Time a network of mmsegmentation's, or all three with random weights.

    Args:
        weights: a checkpoint; None: depths 18, 50 and 101.
        device: where the networks run.
        size: height and width of the images.
        iterations: timed images.
        warmup: untimed images before them.
        dtype: in which the networks compute.
        training_gb: measures the memory of training a network, by its name in recipes.

    Returns:
        The report as text, and as data for JSON.

    Raises:
        InputError: the file cannot be used or holds a network of another family.
    """
    torch.backends.cudnn.benchmark = False
    rows = []
    for network in _networks(weights):
        times = _time(network.to(device, dtype).eval(), device, size, iterations, warmup)
        name = f"mmseg-r{network.depth}"
        rows.append(
            {
                "network": name,
                "weights": network.card.weights_data() or None,
                "fps": 1000 * iterations / sum(times.passes),
                "ms": times.passes,
                "training_gb": None if training_gb is None else training_gb(name),
                "published": _published(name),
            }
        )
    setting = {**setting_of(device, size, 1, iterations, warmup), "precision": str(dtype).removeprefix("torch.")}
    return _text(rows, setting), {**setting, "networks": rows}


def _networks(weights: Path | None) -> Iterator[MMSegICNet]:
    if weights is None:
        yield from (MMSegICNet(depth, aux=False) for depth in DEPTHS)
        return
    network = pytorch_icnet.load(weights)
    if not isinstance(network, MMSegICNet):
        architecture = card_of(network).architecture
        family = "Caffe's" if architecture == ICNET else architecture
        raise InputError(f"{weights}: a network of the family {family}; --protocol {FAMILY} times mmsegmentation's")
    yield network


def _time(network: nn.Module, device: torch.device, size: tuple[int, int], iterations: int, warmup: int) -> Times:
    dtype = next(network.parameters()).dtype
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))

    def label_map(image: torch.Tensor) -> torch.Tensor:
        return network(image.to(device, dtype)).softmax(1).argmax(1).cpu()  # type: ignore[no-any-return]

    return time_forward(label_map, image, iterations, warmup)


def _published(name: str) -> dict[str, Any]:
    """Of the one checkpoint of a network whose speed was published."""
    for known in of_network(name):
        if known.fps is not None:
            return {"fps": known.fps, "training_gb": known.training_gb, "device": known.device, "source": known.source}
    return {}


def _text(rows: list[dict[str, Any]], setting: dict[str, Any]) -> str:
    lines = [
        f"mmsegmentation's benchmark: {setting['height']}x{setting['width']}, batch 1, {setting['iterations']} images "
        f"after {setting['warmup']}, {setting['precision']}, {setting['device_name']}, {setting['threads']} threads, "
        f"torch {setting['versions']['torch']}",
        f"{'network':<12}{'fps':>8}{'published':>11}{'ms':>9}{'training, GB':>14}{'published':>11}",
    ]
    for row in rows:
        published = row["published"]
        lines.append(
            f"{row['network']:<12}{row['fps']:>8.2f}{_number(published.get('fps')):>11}{1000 / row['fps']:>9.2f}"
            f"{_number(row['training_gb']):>14}{_number(published.get('training_gb')):>11}"
        )
    if published := next(filter(None, (row["published"] for row in rows)), None):
        lines.append(
            f"Published for one {published['device']} at 1024x2048, which is another machine, and for training with "
            f"two images of 832x832 on each GPU ({published['source']})."
        )
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
