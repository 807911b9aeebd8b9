"""Whatever JSON is given: a value or one line, never another error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_common.config import as_data
from icnet_common.errors import InputError
from pytorch_icnet.supervisely.annotation import annotation_of
from pytorch_icnet.supervisely.config import inference_config_of, train_config_of
from pytorch_icnet.supervisely.meta import meta_of

from .small import META, annotation, bitmap, points
from .test_config import TRAIN

KNOWN = meta_of(META, "meta.json")
ANNOTATION = annotation(
    bitmap("sky", np.eye(3), 2, 3),
    points("road", [[0, 0], [9, 0], [9, 9]], [[1, 1], [2, 1], [2, 2]], geometryType="polygon"),
    points("car", [[1, 1], [5, 5]]),
    {"classTitle": "sky", "parts": [{"exterior": [[0, 0], [4, 0], [4, 4]], "interior": []}]},
    tags=[{"name": "train"}, "val"],
)
INFERENCE = {
    "model": {"gpu_device": 0},
    "mode": {
        "name": "bboxes",
        "from_classes": ["car"],
        "padding": {"left": "1px", "top": "2%"},
        "model_classes": {"save_classes": "__all__", "add_suffix": "_x"},
    },
}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars | st.sampled_from(["__all__", "sky", "graph", "10px", [[1, 2], [3, 4]], {"exterior": []}]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a value."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def changed(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with something else at a place."""
    if not place:
        return value
    made = copy.deepcopy(data)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def draw(canvas_of: Any) -> Any:
    indices = {each.title: number for number, each in enumerate(KNOWN.classes)}
    return annotation_of(canvas_of, KNOWN, "a.json").label_map(indices, "a.json")


READERS: list[tuple[Any, Callable[[Any], Any]]] = [
    (ANNOTATION, draw),
    (META, lambda data: meta_of(data, "m.json").as_data()),
    (TRAIN, lambda data: as_data(train_config_of(data, "t.json"))),
    (INFERENCE, lambda data: inference_config_of(data, "i.json")),
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_files_are_read_or_refused_in_one_line(data: st.DataObject) -> None:
    good, read = data.draw(st.sampled_from(READERS))
    made = good
    for _ in range(data.draw(st.integers(1, 2))):
        made = changed(made, data.draw(st.sampled_from(places(made))), data.draw(values))
    try:
        read(made)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


def test_the_files_are_good_before_they_are_changed() -> None:
    for good, read in READERS:
        read(good)
