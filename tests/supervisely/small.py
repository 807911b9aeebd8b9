"""A small Supervisely project, written by hand, and a narrow network for it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pytorch_icnet import ICNet
from pytorch_icnet.supervisely.meta import ObjectClass
from pytorch_icnet.supervisely.results import PluginCheckpoint, write_checkpoint_folder

from ..nets import seeded

SIZE = (64, 96)
CLASSES = ("sky", "road", "car", "neutral")
META = {
    "classes": [
        {
            "title": title,
            "shape": "rectangle" if title == "car" else "bitmap",
            "color": f"#1020{number:02X}",
            "hotkey": "q",
        }
        for number, title in enumerate(CLASSES)
    ],
    "tags": [{"name": "train", "value_type": "none", "color": "#FFFFFF"}, {"name": "val", "value_type": "none"}],
    "projectType": "images",
}


def packed(mask: npt.NDArray[Any]) -> str:
    """A bitmap's data, made with Pillow."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def bitmap(title: str, mask: npt.NDArray[Any], left: int, top: int) -> dict[str, Any]:
    return {"classTitle": title, "tags": [], "bitmap": {"data": packed(mask), "origin": [left, top]}}


def points(title: str, exterior: list[list[int]], *holes: list[list[int]], **more: Any) -> dict[str, Any]:
    return {"classTitle": title, "points": {"exterior": exterior, "interior": list(holes)}, "bitmap": None, **more}


def annotation(*objects: dict[str, Any], tags: list[Any] | None = None, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    return {
        "description": "",
        "size": {"height": size[0], "width": size[1]},
        "tags": tags or [],
        "objects": list(objects),
    }


def write_project(root: Path, tags: tuple[str, ...] = ("train", "train", "val", "val")) -> Path:
    """A project with an image per tag, in two data sets: sky above, road below, a car, and a neutral corner."""
    random = np.random.default_rng(0)
    root.mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps(META))
    for number, tag in enumerate(tags):
        folder = root / f"ds{number % 2}"
        for kind in ("img", "ann"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "img" / f"{number}.png"), cv2.resize(coarse, SIZE[::-1]))
        horizon = 20 + 4 * number
        objects = [
            bitmap("sky", np.ones((horizon, SIZE[1]), bool), 0, 0),
            points("road", [[0, horizon], [95, horizon], [95, 63], [0, 63]], geometryType="polygon"),
            points("car", [[10, 30], [29, 49]], geometryType="rectangle"),
            bitmap("neutral", np.ones((8, 8), bool), 80, 50),
        ]
        data = annotation(*objects, tags=[{"name": tag, "value": None}])
        (folder / "ann" / f"{number}.png.json").write_text(json.dumps(data))
    return root


def net(num_classes: int = 4) -> ICNet:
    """A narrow net whose label maps have every class somewhere."""
    model = seeded(num_classes=num_classes, merged=False, aux=True)
    model.card = replace(model.card, input_size=(65, 97))
    return model


def write_checkpoint(folder: Path) -> PluginCheckpoint:
    """A checkpoint folder with background and the project's three classes."""
    torch.manual_seed(0)
    classes = tuple(ObjectClass(title, "bitmap", (number, 5, 7)) for number, title in enumerate(("car", "road", "sky")))
    settings = {"input_size": {"width": 97, "height": 65}}
    checkpoint = PluginCheckpoint(folder, settings, classes, {"car": 1, "road": 2, "sky": 3})
    write_checkpoint_folder(checkpoint, net().state_dict())
    return checkpoint
