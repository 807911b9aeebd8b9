"""Annotations and projects: what is read, drawn, written, and refused."""

from __future__ import annotations

import base64
import io
import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from icnet_common.errors import InputError
from pytorch_icnet.imaging import png
from pytorch_icnet.supervisely.annotation import Annotation, AnnotationFigure, annotation_of
from pytorch_icnet.supervisely.meta import Meta, ObjectClass, meta_of
from pytorch_icnet.supervisely.project import Item, new_project, read_project
from pytorch_icnet.supervisely.shapes import Bitmap, Polygon, Rectangle, decode_mask, encode_mask

from .small import META, annotation, bitmap, packed, points, write_project

KNOWN = meta_of(META, "meta.json")
INDICES = {"sky": 1, "road": 2, "car": 3, "neutral": 255}


def read(*objects: dict[str, Any], **options: Any) -> Annotation:
    return annotation_of(annotation(*objects, **options), KNOWN, "a.json")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1 << 30))
def test_bitmaps_survive_and_pillow_agrees(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    assert (decode_mask(encode_mask(mask), mask.size) == mask).all()
    assert (decode_mask(packed(mask), mask.size) == mask).all()
    data = zlib.decompress(base64.b64decode(encode_mask(mask)))
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert ((shown[:, :, 3] > 0) == mask).all()


def test_gray_bitmaps_are_masks_too() -> None:
    mask = np.eye(5, dtype=bool)
    data = base64.b64encode(zlib.compress(png.encode(mask.astype(np.uint8) * 255))).decode()
    assert (decode_mask(data, 25) == mask).all()


def test_figures_lie_above_each_other() -> None:
    found = read(
        bitmap("sky", np.ones((64, 96)), 0, 0),
        points("road", [[10, 10], [20, 10], [20, 20], [10, 20]], [[13, 13], [16, 13], [16, 16], [13, 16]]),
        points("car", [[40, 5], [30, 2]]),
        bitmap("neutral", np.eye(3), 94, 62),
    )
    labels = found.label_map(INDICES, "a.json")
    expected = np.ones((64, 96), np.uint8)
    expected[10:21, 10:21] = 2
    expected[13:17, 13:17] = 1
    expected[2:6, 30:41] = 3
    expected[62, 94] = expected[63, 95] = 255
    assert (labels == expected).all()


def test_figures_may_reach_beyond_the_image() -> None:
    far = 1 << 20
    found = read(
        bitmap("sky", np.ones((4, 4)), -2, -2),
        points("road", [[-far, 60], [far, 60], [far, far], [-far, far]], geometryType="polygon"),
        points("car", [[90, 0], [200, 3]]),
        bitmap("car", np.ones((4, 4)), 500, 500),
    )
    labels = found.label_map(INDICES, "a.json")
    assert (labels[:2, :2] == 1).all() and (labels[60:] == 2).all() and (labels[:4, 90:] == 3).all()
    assert np.bincount(labels.ravel())[1:].tolist() == [4, 4 * 96, 4 * 6]


def test_old_annotations_lean_on_the_shape_of_the_class() -> None:
    """Without geometryType, with names for tags, with `bitmap` null and empty `points` beside a bitmap."""
    square = [[5, 5], [9, 9]]
    old = {**bitmap("sky", np.ones((2, 2)), 3, 4), "points": {"exterior": [], "interior": []}}
    found = read(points("car", square), old, tags=["train"])
    assert [type(figure.shape) for figure in found.figures] == [Rectangle, Bitmap]
    assert found.tag_names() == ("train",)
    with pytest.raises(InputError, match=r"object 1 .sky.: 2 points; expected at least 3"):
        read(points("sky", square))


def test_shapes_without_area_are_kept_but_not_drawn() -> None:
    graph = {"classTitle": "sky", "geometryType": "graph", "nodes": {"a": {"loc": [1, 2]}}}
    parts = [{"exterior": [[0, 0], [3, 0], [3, 3]], "interior": []}, {"exterior": [[9, 9], [12, 9], [12, 12]]}]
    line = points("road", [[0, 30], [9, 30]], geometryType="line")
    multi = {"classTitle": "sky", "geometryType": "multipolygon", "parts": parts}
    found = read(graph, line, multi)
    labels = found.label_map(INDICES, "a.json")
    assert (labels[30, :10] == 2).all() and labels[1, 2] == 1 and labels[10, 12] == 1
    assert found.as_data()["objects"] == [graph, line, multi]


def test_new_figures_are_written_as_they_are_read() -> None:
    exterior = np.array([[1, 1], [8, 1], [8, 8]], np.int32)
    shapes = [
        Bitmap.of(np.eye(4, dtype=bool), 7, 9),
        Polygon(((exterior, (exterior[::-1] // 2 + 3,)),)),
        Polygon(((exterior, ()), (exterior + 20, ()))),
        Rectangle(Bitmap.of(np.ones((3, 5), bool), 2, 2).box),
    ]
    made = Annotation((64, 96), tuple(AnnotationFigure("sky", shape) for shape in shapes))
    again = annotation_of(json.loads(json.dumps(made.as_data())), KNOWN, "a.json")
    assert (again.label_map(INDICES, "a") == made.label_map(INDICES, "a")).all()
    assert [figure.shape.as_data() for figure in again.figures if figure.shape] == [s.as_data() for s in shapes]
    assert Bitmap.of(np.pad(np.ones((2, 3), bool), 4), 10, 20).box == Bitmap.of(np.ones((2, 3), bool), 14, 24).box


def bomb(width: int, height: int) -> str:
    """A PNG of zeros: small when packed twice."""
    header = struct.pack(">IIBBBBB", width, height, 1, png.GRAY, 0, 0, 0)
    rows = zlib.compress(bytes(height * (width // 8 + 1)), 9)
    return base64.b64encode(zlib.compress(png.assemble([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]))).decode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("@@@", "cannot be unpacked"),
        (base64.b64encode(b"no zlib").decode(), "cannot be unpacked"),
        (base64.b64encode(zlib.compress(b"no png" * 20)).decode(), "does not begin with a PNG header"),
        (base64.b64encode(zlib.compress(bytes(1 << 28))).decode(), "unpacks to too much"),
        (base64.b64encode(zlib.compress(bytes(1 << 12))[:-8]).decode(), "cut off"),
        (bomb(20_000, 20_000), "a bitmap of 20000x20000, more than the image has"),
        (packed(np.ones((9, 9)))[:-40], "cannot be unpacked|cut off"),
        (base64.b64encode(zlib.compress(cv2.imencode(".png", np.ones((3, 3, 3)))[1].tobytes())).decode(), "colours"),
        (3, "a bitmap whose `data` is 3"),
    ],
)
def test_bitmaps_that_are_damaged_or_bombs_are_refused(data: Any, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=f"a.json: object 1 .sky.: .*({message})"):
            read({"classTitle": "sky", "bitmap": {"data": data, "origin": [0, 0]}})
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_many_bitmaps_are_no_bomb_either() -> None:
    full = bitmap("sky", np.ones((64, 96)), 0, 0)
    assert len(read(*[full] * 16).figures) == 16
    with pytest.raises(InputError, match=r"object 17 .sky.: a bitmap of 96x64, more than"):
        read(*[full] * 17)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "not an annotation"),
        ({"objects": []}, "its size is null"),
        ({"size": {"height": 0, "width": 4}}, "its size is"),
        ({"size": {"height": 1 << 20, "width": 1 << 20}}, "pixels are more than"),
        ({"size": {"height": 4, "width": 4}, "objects": 3}, "must be lists"),
        ({"size": {"height": 4, "width": 4}, "objects": [3]}, "object 1: its classTitle is null"),
        (annotation(points("cat", [])), "object 1: no class 'cat' in meta.json; did you mean car?"),
        (annotation({"classTitle": "road", "points": {"exterior": [["a", 1]] * 3}}), "no pairs of numbers"),
        (annotation(points("road", [[1, 2, 3]] * 3)), "no pairs of numbers"),
        (annotation(points("road", [[1, 1 << 40]] * 3)), "no pairs of numbers up to"),
        (annotation({"classTitle": "sky", "bitmap": {"data": "", "origin": [1]}}), "no pairs of numbers"),
        (annotation(tags=[{"value": 3}]), "a tag is"),
        (annotation(*[points("car", [[0, 0], [1, 1]])] * 20_001), "more than 20000"),
    ],
)
def test_wrong_annotations_are_refused_in_one_line(data: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        annotation_of(data, KNOWN, "a.json")
    assert str(caught.value).startswith("a.json: ") and message in str(caught.value) and "\n" not in str(caught.value)


def test_meta_of_every_generation() -> None:
    old = meta_of({"classes": [{"title": "a", "shape": "line", "color": "#0A0B0C"}], "tags": ["x", "y"]}, "m")
    middle = meta_of(
        {"classes": [], "tags_images": [{"name": "x"}], "tags_objects": [{"name": "y"}, {"name": "x"}]}, "m"
    )
    assert old.classes == (ObjectClass("a", "line", (10, 11, 12)),)
    assert sorted(old.tag_names()) == sorted(middle.tag_names()) == ["x", "y"]
    assert meta_of(META, "m").as_data() == META


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "expected an object with `classes`"),
        ({"classes": [{"title": "a"}, {"title": "a"}]}, "the class 'a' is there twice"),
        ({"classes": [{"title": "a", "color": "red"}]}, "expected #RRGGBB"),
        ({"classes": [{"title": ""}]}, "class 1: its title"),
        ({"classes": [3]}, "class 1: its title"),
        ({"classes": [], "tags": [3]}, "a tag is 3"),
        ({"classes": [], "tags": 3}, "tags is 3"),
        ({"classes": [], "projectType": "videos"}, "only images"),
    ],
)
def test_wrong_meta_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        meta_of(data, "meta.json")
    assert message in str(caught.value)


def test_a_project_is_read_and_written(tmp_path: Path) -> None:
    project = read_project(write_project(tmp_path / "p"))
    assert [(item.dataset, item.name) for item in project.items] == [
        ("ds0", "0.png"),
        ("ds0", "2.png"),
        ("ds1", "1.png"),
        ("ds1", "3.png"),
    ]
    with new_project(tmp_path / "q", project.meta) as writer:
        for item in project.items:
            writer.add(item, item.read(project.meta))
        assert not (tmp_path / "q").exists()
    again = read_project(tmp_path / "q")
    assert again.meta == project.meta
    for one, other in zip(project.items, again.items, strict=True):
        assert one.image.read_bytes() == other.image.read_bytes()
        assert one.annotation is not None and other.annotation is not None
        assert json.loads(one.annotation.read_text()) == json.loads(other.annotation.read_text())
    with pytest.raises(InputError, match="is there already"), new_project(tmp_path / "q", project.meta):
        raise AssertionError("must not begin")


def test_nothing_is_left_of_a_project_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_project(tmp_path / "q", Meta()):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_images_without_annotation_and_old_names(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p")
    (root / "ds0" / "ann" / "0.png.json").rename(root / "ds0" / "ann" / "0.json")
    (root / "ds1" / "ann" / "1.png.json").unlink()
    first, _, bare, _ = read_project(root).items
    assert len(first.read(KNOWN).figures) == 4
    assert bare.annotation is None and bare.read(KNOWN) == Annotation((64, 96))


@pytest.mark.parametrize("place", ["ds0/img/secret.png", "ds0/ann/0.png.json", "meta.json"])
def test_links_that_lead_out_of_a_project_are_refused(tmp_path: Path, place: str) -> None:
    root = write_project(tmp_path / "p")
    (root / place).unlink(missing_ok=True)
    (tmp_path / "outside").write_text("{}")
    (root / place).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="a link that leads out of the project"):
        read_project(root)


@pytest.mark.parametrize("name", ["../x.png", "..", "a/b.png", "/etc/x.png", "x\0.png", ""])
def test_names_cannot_lead_out_of_a_new_project(tmp_path: Path, name: str) -> None:
    root = write_project(tmp_path / "p")
    project = read_project(root)
    for item in (Item("ds0", name, project.items[0].image, None), Item(name, "a.png", project.items[0].image, None)):
        with pytest.raises(InputError), new_project(tmp_path / "q", project.meta) as writer:
            writer.add(item, Annotation((64, 96)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no meta\.json"):
        read_project(tmp_path)
    root = write_project(tmp_path / "p")
    (root / "ds0" / "img" / "x.webp").write_bytes(b"")
    with pytest.raises(InputError, match="convert it to PNG or JPEG"):
        read_project(root)
