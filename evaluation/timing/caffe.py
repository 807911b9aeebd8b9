"""A forward pass as ``caffe time`` measures it, each layer, and all from PNG file to label map."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from icnet_common.errors import InputError
from pytorch_icnet import icnet
from pytorch_icnet.icnet import INPUT_SIZE, ICNet, folded
from pytorch_icnet.imaging.images import decode_image
from pytorch_icnet.runtime import engine
from pytorch_icnet.runtime.devices import arithmetic
from pytorch_icnet.runtime.work import FlopAndBytes, ceilings, work
from pytorch_icnet.variants import NAMES
from pytorch_icnet.variants.mmseg import FAMILY
from pytorch_icnet.weights.checkpoints import ICNET, read_checkpoint
from pytorch_icnet.weights.known import PUBLISHED_TIME_MS

from .passes import Times, setting_of, street_like_png, time_end_to_end, time_forward, time_layers

TIMED = 100
"""Passes of the original's ``test_time.sh``."""


@dataclasses.dataclass(frozen=True)
class CaffeTime:
    """What is timed, and how: ``test_time``'s options, whose help says what they mean."""

    device: torch.device
    weights: Path | None = None
    height: int | None = None
    width: int | None = None
    iterations: int = TIMED
    warmup: int = 5
    batch: int = 1
    threads: int | None = None
    precision: str = "fp32"
    backend: str = "auto"
    rewrite: bool = True
    per_layer: bool = False
    forward_only: bool = False
    image: Path | None = None

    def run(self) -> tuple[str, dict[str, Any]]:
        """Time the net.

        Returns:
            The report as text, and as data for JSON.

        Raises:
            InputError: a file cannot be used, holds another network, or the net takes no such size.
        """
        model = _model(self.weights)
        own = model.card.input_size or INPUT_SIZE
        size = (self.height or own[0], self.width or own[1])
        asked = (self.device, self.precision, size, self.batch, self.backend)
        net = engine(model, *asked, rewrite=self.rewrite, full=True, threads=self.threads)
        png = None if self.forward_only or self.batch > 1 else _image_file(self.image, size)
        generator = torch.Generator().manual_seed(0)
        x = (torch.rand(self.batch, 3, *size, generator=generator) * 255 - 110).to(self.device)

        times = time_forward(net, x, self.iterations, self.warmup)
        dtype, to_quarter = net.request.dtype, dataclasses.replace(net, quarter=True)
        with arithmetic(self.precision):
            layers = time_layers(model.to(self.device, dtype), x.to(dtype), self.iterations) if self.per_layer else None
        end_to_end = None if png is None else time_end_to_end(to_quarter, png, self.iterations, self.warmup)
        done = work(net.request.module, x.shape, self.precision)
        reached = speed(done, times.statistics()["median"], ceilings(self.device, self.precision))
        setting = {
            "net": "ICNet, merged" + ("" if self.weights else ", random weights"),
            "weights": model.card.weights_data() or None,
            **setting_of(self.device, size, self.batch, self.iterations, self.warmup),
            **net.as_data(),
        }
        results = {
            **setting,
            "forward_ms": {**times.statistics(), "passes": times.passes},
            "layers_ms": layers,
            "road_ms": None if end_to_end is None else {name: each.statistics() for name, each in end_to_end.items()},
            "speed": reached,
            "published_ms": {"device": "TitanX", "range": PUBLISHED_TIME_MS},
        }
        return report(times, layers, reached, end_to_end, setting), results


def speed(done: FlopAndBytes, milliseconds: float, limits: FlopAndBytes) -> dict[str, float]:
    """What a pass reaches, per second, beside what the machine does."""
    seconds = milliseconds / 1000
    return {
        "flop": done.flop,
        "bytes": done.bytes,
        "flop_per_second": done.flop / seconds,
        "bytes_per_second": done.bytes / seconds,
        "ceiling_flop_per_second": limits.flop,
        "ceiling_bytes_per_second": limits.bytes,
    }


def report(
    times: Times,
    layers: Mapping[str, float] | None,
    reached: Mapping[str, float],
    end_to_end: Mapping[str, Times] | None,
    setting: Mapping[str, Any],
) -> str:
    """The text that is printed and logged, in the words of ``caffe time``."""
    lines = [
        f"{setting['net']}: batch {setting['batch']}, {setting['height']}x{setting['width']}, {setting['precision']}, "
        f"{setting['device_name']}, {setting['threads']} threads, torch {setting['versions']['torch']}, "
        f"backend {setting['backend']}{'' if setting['rewritten'] else ', not rewritten'}",
        *(f"Note: {note}." for note in setting["notes"]),
        "*** Benchmark begins ***",
        f"Testing for {len(times.passes)} iterations.",
    ]
    if layers is not None:
        lines.append("Average time per layer, as PyTorch runs the layers one by one:")
        lines += [f"{name:>28} forward: {milliseconds:.4g} ms." for name, milliseconds in layers.items()]
    found = times.statistics()
    low, high = PUBLISHED_TIME_MS
    giga = {name: value / 1e9 for name, value in reached.items()}
    lines += [
        f"Average Forward pass: {found['mean']:.4g} ms.",
        f"Median {found['median']:.4g} ms, minimum {found['min']:.4g} ms, 95th percentile {found['p95']:.4g} ms.",
        f"Total Time: {sum(times.passes):.5g} ms.",
        f"Convolutions: {giga['flop']:.4g} GFLOP at {giga['flop_per_second']:.4g} GFLOP/s, where torch's product of "
        f"matrices reaches {giga['ceiling_flop_per_second']:.4g}; {giga['bytes']:.3g} GB at "
        f"{giga['bytes_per_second']:.3g} GB/s, where a copy reaches {giga['ceiling_bytes_per_second']:.3g}.",
        "*** Benchmark ends ***",
        f"Published for the original: {low:.0f}~{high:.0f} ms on a TitanX (caffe time, merged net, "
        "1025x2049, batch 1), which is another machine.",
    ]
    if end_to_end is not None:
        medians = {name: stage.statistics()["median"] for name, stage in end_to_end.items()}
        stages = ", ".join(f"{name} {median:.4g}" for name, median in medians.items() if name != "total")
        lines += [
            f"From a PNG file to its label map, medians in ms: {stages}; together {medians['total']:.4g}. "
            "The forward pass ends at the quarter scores here.",
        ]
    return "\n".join(lines) + "\n"


def _model(weights: Path | None) -> ICNet:
    if weights is None:
        return icnet().eval()
    checkpoint = read_checkpoint(weights)
    family = checkpoint.architecture
    if family != ICNET:
        advice = f"--protocol {FAMILY} times it" if family == FAMILY else "only Caffe's and mmsegmentation's are timed"
        raise InputError(f"{weights}: {NAMES[family]}; {advice}")
    return folded(checkpoint.model()).eval()


def _image_file(image: Path | None, size: tuple[int, int]) -> bytes:
    """The user's, whole and readable, or one that is made up, for blobs of ``size``."""
    if image is None:
        return street_like_png((size[0] - 1, size[1] - 1))
    content = image.read_bytes()
    decode_image(content, image)
    return content
