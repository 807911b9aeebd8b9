"""A third opinion: the formulas against OpenCV's own reading of Caffe's layers, where that has them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from converter import summary
from converter.reference import reference
from prototxt import read_net, write_weights

from .goldens import Array, distance
from .small import Small
from .test_translators import text_of

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 6, 7, 9)).astype(np.float32)
MAPS = RANDOM.standard_normal((2, 18, 7, 9)).astype(np.float32)
REGIONS = np.array([[0, 3, 4, 50, 60], [1, 0, 0, 20, 20], [1, 10, 30, 33, 31]], np.float32)
LAYERS: list[tuple[str, str, list[Array]]] = [
    ("MVN", "", [IMAGE]),
    ("MVN", "mvn_param { across_channels: true }", [IMAGE]),
    ("MVN", "mvn_param { normalize_variance: false }", [IMAGE]),
    ("LRN", "lrn_param { local_size: 3 alpha: 0.3 norm_region: WITHIN_CHANNEL }", [IMAGE]),
    ("Normalize", "norm_param { across_spatial: false channel_shared: false }", [IMAGE]),
    ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [IMAGE]),
    ("ShuffleChannel", "shuffle_channel_param { group: 3 }", [IMAGE]),
    ("BNLL", "", [IMAGE]),
    ("ELU", "", [IMAGE]),
    ("ReLU6", "", [IMAGE]),
    ("Swish", "", [IMAGE]),
    ("Mish", "", [IMAGE]),
    ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }", [IMAGE]),
    ("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.125 }", [IMAGE, REGIONS]),
    ("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.125 output_dim: 2 group_size: 3 }", [MAPS, REGIONS]),
]


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) > 4, reason="OpenCV 5 no longer reads Caffe's nets")
@pytest.mark.parametrize(("kind", "params", "bottoms"), LAYERS, ids=[f"{kind} {params}" for kind, params, _ in LAYERS])
def test_opencv_agrees(kind: str, params: str, bottoms: list[Array], tmp_path: Path) -> None:
    text = text_of(kind, Small(params, bottoms))
    net = read_net(text)
    shapes = [shape for row in summary(net) if row["name"] == "l" for shape in row["param_shapes"]]
    blobs = [np.abs(RANDOM.standard_normal(shape)).astype(np.float32) for shape in shapes]
    (tmp_path / "net.prototxt").write_text(text)
    write_weights(tmp_path / "net.caffemodel", net, {"l": blobs} if blobs else {})
    other = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    for index, bottom in enumerate(bottoms):
        other.setInput(bottom, f"b{index}")
    (expected,) = reference(net.layers[-1], bottoms, blobs)
    assert distance(other.forward(), expected) < 1e-6
