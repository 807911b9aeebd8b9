"""The files that the pages speak of, under the names that they use: narrow seeded nets, small scenes, projects."""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converter import activations, load_caffe
from prototxt import read_net, write_weights
from pytorch_icnet.runtime.engine import BUILDERS
from pytorch_icnet.variants import liminn, mmseg, semseg
from pytorch_icnet.weights.checkpoints import Checkpoint, Provenance, write_checkpoint
from training.scenes import scene, write_scenes
from training.scenes.scene import write_list

from ..nets import seeded, write_caffemodel
from ..supervisely.small import write_project

ROOT = Path(__file__).parents[2]
SCENE = (64, 128)
"""Height and width of generated scenes."""

NET = """
name: "small"
input: "data"
input_shape { dim: 1 dim: 3 dim: 33 dim: 33 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""

MERGED = ("icnet_cityscapes_train_30k.caffemodel", "WEIGHTS.caffemodel", "WEIGHTS")
UNMERGED = ("icnet_cityscapes_train_30k_bnnomerge.caffemodel",)
CONVERTED = ("icnet_cityscapes_train_30k.safetensors", "FILE", "net.safetensors")


def make(root: Path) -> None:
    """All files, below ``root``."""
    root.mkdir(parents=True)
    _icnets(root)
    _small_net(root)
    _scenes(root)
    _supervisely(root)
    shutil.copytree(ROOT / "samplelist", root / "samplelist", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "demo", root / "demo", ignore=shutil.ignore_patterns("out"))


def _icnets(root: Path) -> None:
    merged, unmerged = seeded(), seeded(merged=False, aux=True)
    for name in MERGED:
        write_caffemodel(root / name, merged)
    for name in UNMERGED:
        write_caffemodel(root / name, unmerged)
    for name in CONVERTED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        provenance = Provenance.of(root / MERGED[0])
        write_checkpoint(root / name, Checkpoint(dict(merged.state_dict()), provenance))


def _small_net(root: Path) -> None:
    (root / "net.prototxt").write_text(NET)
    random = np.random.default_rng(0)
    blobs = {
        "conv": [random.standard_normal((4, 3, 3, 3), np.float32), random.standard_normal(4, np.float32)],
        "norm": [
            random.standard_normal(4, np.float32),
            random.uniform(0.5, 1.5, 4).astype(np.float32),
            np.ones(1, "f4"),
        ],
    }
    for name in ("net.caffemodel", "weights.caffemodel"):
        write_weights(root / name, read_net(NET), blobs)


def _mmseg(path: Path) -> None:
    torch.save({"meta": {}, "state_dict": mmseg.MMSegICNet(18).state_dict()}, path)


def _liminn(path: Path) -> None:
    torch.save(liminn.LiminnICNet().state_dict(), path)


def _semseg(path: Path) -> None:
    torch.save({"model_state": semseg.SemSegICNet().state_dict()}, path)


def _whole_icnet(path: Path) -> None:
    """Of the published width, and as published without a scaled input."""
    model = seeded(width=1.0, merged=False, aux=True)
    torch.nn.init.ones_(model.data_sub1.weight)
    write_caffemodel(path, model)


LARGE: dict[tuple[str, str], Callable[[Path], None]] = {
    ("docs/mmseg.md", "icnet_r50-d8_832x832_80k_cityscapes_20210926_044625-c6407341.pth"): _mmseg,
    ("docs/mmseg.md", "FILE"): _mmseg,
    ("docs/variants.md", "FILE"): _liminn,
    ("docs/variants.md", "semseg.pkl"): _semseg,
    ("docs/variants.md", UNMERGED[0]): _whole_icnet,
}
"""Files of nets that have one width, which are made for the page that speaks of them."""


def _scenes(root: Path) -> None:
    """Cityscapes with a few scenes, under the first names of each of its lists; and one's own images."""
    data = root / "cityscapes"
    for split in ("train", "val", "test"):
        lines = (ROOT / "samplelist" / f"{split}.txt").read_text().splitlines()[:2]
        for made, line in zip(write_scenes(root / "made", 2, split, size=SCENE), lines, strict=True):
            for ours, theirs in zip(made.split(), line.split(), strict=False):
                (data / theirs).parent.mkdir(parents=True, exist_ok=True)
                (root / "made" / ours).rename(data / theirs)
    shutil.rmtree(root / "made")
    (root / "CITYSCAPES").symlink_to("cityscapes")
    for split in ("train", "val"):
        write_list(root / f"{split}.txt", write_scenes(root / "data", 2, split, size=SCENE))


def _supervisely(root: Path) -> None:
    write_project(root / "PROJECT")
    (root / "PROJECT" / "ds0").rename(root / "PROJECT" / "ds")
    for kind, suffix in (("img", ".png"), ("ann", ".png.json")):
        folder = root / "PROJECT" / "ds" / kind
        (folder / f"0{suffix}").rename(folder / f"street{suffix}")
    shutil.copy(root / "PROJECT" / "ds" / "img" / "street.png", root)


def enter(made: Path, root: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``root`` a copy of the world, go there, and let a page's examples find what they import."""
    shutil.copytree(made, root, symlinks=True)
    torch.manual_seed(0)
    for (name, file), maker in LARGE.items():
        if name == page:
            maker(root / file)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setitem(sys.modules, "caffe", caffe())
    eager_first = {"eager": BUILDERS["eager"], **BUILDERS}
    monkeypatch.setattr(sys.modules["pytorch_icnet.runtime.engine"], "BUILDERS", eager_first)


def names() -> dict[str, Any]:
    """What examples use without making it: an image, and a network's input."""
    rgb, _ = scene(0, 0, SCENE)
    image = torch.randn(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    return {"rgb": rgb, "image": image}


def caffe() -> types.ModuleType:
    """pycaffe as far as the pages use it; the values are those of the converted graph."""

    class Blob:
        def __init__(self, data: Any) -> None:
            self.data = data

    class Net:
        def __init__(self, prototxt: str, weights: str, phase: int) -> None:
            self._net, self._graph = read_net(Path(prototxt)), load_caffe(Path(prototxt), weights)
            self.inputs = list(self._net.inputs)
            random = np.random.default_rng(0)
            shapes = self._net.inputs.items()
            self.blobs = {name: Blob(random.standard_normal(shape, np.float32)) for name, shape in shapes}

        def forward(self) -> None:
            inputs = [torch.from_numpy(self.blobs[name].data) for name in self.inputs]
            values = activations(self._graph, *inputs)
            for layer in (layer for layer in self._net.layers if layer.bottoms):
                self.blobs.update((top, Blob(values[layer.name].numpy())) for top in layer.tops)

    module: Any = types.ModuleType("caffe")
    module.Net, module.TEST = Net, 1
    return module  # type: ignore[no-any-return]
