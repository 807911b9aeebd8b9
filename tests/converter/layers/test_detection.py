"""DetectionOutput on random predictions, against the formula and against a case that can be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from converter import summary
from converter.compare import first_diverging
from converter.layers.detection import overlaps

from .single import by_module, compare, net_of

PRIORS, CLASSES = 60, 4


def predictions(per_box: int, seed: int = 3, images: int = 2) -> list[NDArray[Any]]:
    """Locations, scores and prior boxes, with many overlaps; scores that differ, so that their order is certain."""
    generator = np.random.default_rng(seed)
    centres, sizes = generator.uniform(0.2, 0.8, (PRIORS, 2)), generator.uniform(0.1, 0.5, (PRIORS, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)
    priors = np.stack([boxes.ravel(), np.tile([0.1, 0.1, 0.2, 0.2], PRIORS)])[None]
    locations = generator.standard_normal((images, PRIORS * per_box * 4))
    scores = generator.permutation(images * PRIORS * CLASSES).reshape(images, -1) / (images * PRIORS * CLASSES)
    return [locations, scores, priors]


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "confidence_threshold: 0.3 nms_param { nms_threshold: 0.45 top_k: 20 } keep_top_k: 12",
        "nms_param { nms_threshold: 0.9 eta: 0.8 } keep_top_k: 30 background_label_id: 2",
        "variance_encoded_in_target: true background_label_id: -1 nms_param { nms_threshold: 0.1 top_k: 5 }",
        "share_location: false confidence_threshold: 0.5 nms_param { nms_threshold: 0.5 }",
    ],
)
def test_detections_equal_the_formula(code: str, parameters: str) -> None:
    layer = f"DetectionOutput detection_output_param {{ num_classes: {CLASSES} code_type: {code} {parameters} }}"
    found = compare(layer, predictions(CLASSES if "share_location: false" in parameters else 1))
    assert first_diverging(found, 1e-6) is None, found


def by_hand(parameters: str, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
    """Three boxes in one image: the second overlaps the first by 0.6, the third none."""
    boxes = np.array([[0, 0, 0.4, 0.4], [0, 0.1, 0.4, 0.5], [0.6, 0.6, 1, 1]])
    priors = np.stack([boxes.ravel(), np.ones(12)])[None]
    scores = np.array([[0.2, 0.8, 0.1, 0.9, 0.7, 0.3]])
    bottoms = [np.zeros((1, 12)), scores, priors]
    net = net_of(
        f"DetectionOutput detection_output_param {{ num_classes: 2 {parameters} }}", [b.shape for b in bottoms]
    )
    return by_module(net, bottoms, [], dtype)[0].numpy()


def test_a_better_box_suppresses_what_overlaps_it() -> None:
    rows = by_hand("nms_param { nms_threshold: 0.5 }")
    expected = [[0, 1, 0.9, 0, 0.1, 0.4, 0.5], [0, 1, 0.3, 0.6, 0.6, 1, 1]]
    np.testing.assert_allclose(rows, np.array([[expected]]), atol=1e-7)
    assert by_hand("nms_param { nms_threshold: 0.61 }").shape == (1, 1, 3, 7)
    assert by_hand("nms_param { nms_threshold: 0.61 } keep_top_k: 2")[0, 0, :, 2].tolist() == pytest.approx([0.9, 0.8])
    assert by_hand("nms_param { nms_threshold: 0.61 top_k: 1 }").shape == (1, 1, 1, 7)


def test_without_detections_there_is_a_row_for_each_image() -> None:
    assert by_hand("confidence_threshold: 0.95").tolist() == [[[[0, -1, -1, -1, -1, -1, -1]]]]


def test_before_it_runs_there_is_one_row_as_in_caffe() -> None:
    shapes = [bottom.shape for bottom in predictions(1)]
    net = net_of(f"DetectionOutput detection_output_param {{ num_classes: {CLASSES} }}", shapes)
    assert summary(net)[-1]["top_shapes"] == [[1, 1, 1, 7]]


def test_overlap_of_boxes_that_touch_or_are_inside_out_is_zero() -> None:
    box = torch.tensor([0.0, 0.0, 0.5, 0.5])
    others = torch.tensor([[0.5, 0.0, 1.0, 0.5], [0.4, 0.4, 0.1, 0.1], [0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 0.5]])
    assert overlaps(box, others).tolist() == pytest.approx([0, 0, 1, 1 / 3])
