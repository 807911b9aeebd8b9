"""Inference modes against what the predictor gives, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from icnet_common.errors import InputError
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.predict.cli import main as predict_main
from pytorch_icnet.supervisely.__main__ import main
from pytorch_icnet.supervisely.annotation import Annotation
from pytorch_icnet.supervisely.config import Sides, mode_of
from pytorch_icnet.supervisely.modes import DeployedModel, Inference, inner, outer
from pytorch_icnet.supervisely.project import Project, read_project
from pytorch_icnet.supervisely.results import read_checkpoint_folder
from pytorch_icnet.supervisely.shapes import Box

from .small import write_checkpoint, write_project

ALL = ("car", "road", "sky")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return read_project(write_project(tmp_path_factory.mktemp("project") / "p"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "00000000").folder


@pytest.fixture(scope="module")
def model(folder: Path) -> DeployedModel:
    return read_checkpoint_folder(folder).model(device="cpu", backend="eager")


def run(project: Project, model: DeployedModel, **mode: Any) -> tuple[Inference, Annotation, Annotation, Any]:
    inference = Inference(mode_of(mode, "c"), model, project.meta)
    item = project.items[0]
    rgb, before = read_image(item.image), item.read(project.meta)
    after, regions = inference.annotate(rgb, before)
    assert after.figures[: len(before.figures)] == before.figures
    return inference, before, after, regions


def drawn(after: Annotation, before: Annotation, suffix: str = "_icnet") -> Any:
    """The label map of the bitmaps that were added; 0 where there are none."""
    added = Annotation(after.size, after.figures[len(before.figures) :])
    indices = {f"{title}{suffix}": index for index, title in enumerate(ALL, start=1)}
    return added.label_map(indices, "a")


def test_full_image(project: Project, model: DeployedModel) -> None:
    inference, before, after, regions = run(project, model)
    labels = model.predictor.labels(read_image(project.items[0].image))
    assert len(np.unique(labels)) > 2 and (drawn(after, before) == labels).all()
    titles = [each.title for each in inference.meta.classes]
    assert titles == ["sky", "road", "car", "neutral", "car_icnet", "road_icnet", "sky_icnet"] and regions == []


def test_the_plugins_arithmetic_is_used(project: Project, model: DeployedModel) -> None:
    """OpenCV's cubic resize overshoots, which no other rule does."""
    probabilities = model.predictor.probabilities(read_image(project.items[0].image))
    assert model.predictor.recipe.__class__.__name__ == "SuperviselyRecipe" and probabilities.min() < 0


def test_only_some_classes_under_other_names(project: Project, model: DeployedModel) -> None:
    chosen = {"save_classes": ["road"], "add_suffix": "_x"}
    inference, before, after, regions = run(project, model, model_classes=chosen, save_probabilities=True)
    labels = model.predictor.labels(read_image(project.items[0].image))
    assert (drawn(after, before, "_x") == np.where(labels == 2, 2, 0)).all()
    assert inference.titles() == ["road_x"] and regions[0].probabilities.shape == (1, 64, 96)


def test_roi(project: Project, model: DeployedModel) -> None:
    bounds = {"left": "10px", "top": "25%", "right": "3px", "bottom": "0px"}
    inference, before, after, _ = run(project, model, name="roi", bounds=bounds, save=True, class_name="part")
    rgb = read_image(project.items[0].image)
    expected = np.zeros((64, 96), np.uint8)
    expected[16:, 10:93] = model.predictor.labels(np.ascontiguousarray(rgb[16:, 10:93]))
    *bitmaps, frame = after.figures[len(before.figures) :]
    found = Annotation(after.size, tuple(bitmaps))
    assert (drawn(found, Annotation(after.size)) == expected).all()
    assert frame.title == "part" and frame.shape is not None and frame.shape.box == Box(10, 16, 92, 63)
    assert inference.meta.find("part") is not None
    with pytest.raises(InputError, match=r"bounds \(left 50px, .*\) leave no part of an image of 64x96"):
        run(project, model, name="roi", bounds={"left": "50px", "right": "50%"})


def test_bboxes(project: Project, model: DeployedModel) -> None:
    padding = {"left": "50%", "top": "2px", "right": "-1px", "bottom": "500px"}
    mode = {"name": "bboxes", "from_classes": ["car"], "padding": padding, "save": True, "save_probabilities": True}
    inference, before, after, regions = run(project, model, **mode)
    rgb = read_image(project.items[0].image)
    box = Box(0, 28, 28, 63)
    expected = np.zeros((64, 96), np.uint8)
    expected[28:, :29] = model.predictor.labels(np.ascontiguousarray(rgb[28:, :29]))
    *bitmaps, frame = after.figures[len(before.figures) :]
    assert (drawn(Annotation(after.size, tuple(bitmaps)), Annotation(after.size)) == expected).all()
    assert frame.title == "car_input_bbox" and frame.shape is not None and frame.shape.box == box
    new = inference.meta.find("car_input_bbox")
    assert new is not None and new.shape == "rectangle" and [region.box for region in regions] == [box]


def test_sliding_window(project: Project, model: DeployedModel) -> None:
    mode = {"name": "sliding_window", "window": {"width": 50, "height": 40}, "min_overlap": {"x": 10, "y": 5}}
    _, before, after, regions = run(project, model, **mode, save=True, save_probabilities=True)
    rgb = read_image(project.items[0].image)
    total, count = np.zeros((4, 64, 96)), np.zeros((64, 96))
    corners = [(top, left) for top in (0, 24) for left in (0, 40, 46)]
    for top, left in corners:
        total[:, top : top + 40, left : left + 50] += model.predictor.probabilities(
            np.ascontiguousarray(rgb[top : top + 40, left : left + 50])
        )
        count[top : top + 40, left : left + 50] += 1
    mean = total / count
    assert np.abs(regions[0].probabilities - mean[1:]).max() < 1e-5
    frames = [figure for figure in after.figures if figure.title == "sliding_window"]
    assert [(f.shape.box.top, f.shape.box.left) for f in frames if f.shape] == corners
    kept = Annotation(after.size, tuple(figure for figure in after.figures if figure not in frames))
    assert (drawn(kept, before) != mean.argmax(0)).mean() < 0.001


def test_a_window_larger_than_the_image_is_the_image(project: Project, model: DeployedModel) -> None:
    mode = {"name": "sliding_window", "window": {"width": 500, "height": 400}, "min_overlap": {"x": 200, "y": 300}}
    _, before, after, _ = run(project, model, **mode)
    assert (drawn(after, before) == model.predictor.labels(read_image(project.items[0].image))).all()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ({"model_classes": {"save_classes": ["tree"]}}, "the model has no class 'tree'; it has car, road, sky"),
        ({"name": "bboxes", "from_classes": ["tree"]}, "the project has no class 'tree'"),
        ({"name": "roi", "save": True, "class_name": "sky"}, "the class 'sky' is there already, for bitmap"),
        ({"model_classes": {"add_suffix": ""}}, "the class 'car' is there already, for rectangle"),
    ],
)
def test_modes_that_do_not_fit(project: Project, model: DeployedModel, mode: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Inference(mode_of(mode, "c"), model, project.meta)


def test_an_annotation_of_another_size_is_refused(project: Project, model: DeployedModel) -> None:
    inference = Inference(mode_of({}, "c"), model, project.meta)
    with pytest.raises(InputError, match="the image is 8x8, its annotation 64x96"):
        inference.annotate(np.zeros((8, 8, 3), np.uint8), Annotation((64, 96)))


def test_sides() -> None:
    box = Box(10, 20, 29, 59)
    assert outer(box, Sides("1px", "10%", "50%", "-1px")) == Box(9, 16, 39, 58)
    assert inner(box, Sides("1px", "10%", "50%", "0px")) == Box(11, 24, 19, 59)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--device", "cpu", "--backend", "eager"])


def test_command(project: Project, folder: Path, model: DeployedModel, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": {}, "mode": {"name": "full_image", "save_probabilities": True}}))
    done = command(config, "--weights", folder, "--project", project.root, "--output", tmp_path / "q")
    assert done.exit_code == 0 and "4 images" in done.output, done.output
    made = read_project(tmp_path / "q")
    for old, new in zip(project.items, made.items, strict=True):
        rgb = read_image(new.image)
        assert (rgb == read_image(old.image)).all()
        before, after = old.read(project.meta), new.read(made.meta)
        assert (drawn(after, before) == model.predictor.labels(rgb)).all()
        stored = np.load(tmp_path / "q" / new.dataset / "probabilities" / f"{new.name}.npz")
        assert stored["classes"].tolist() == ["car_icnet", "road_icnet", "sky_icnet"]
        assert (stored["probabilities_0"] == model.predictor.probabilities(rgb)[1:]).all()
        assert stored["box_0"].tolist() == [0, 0, 95, 63]


def test_icnet_predict_does_the_same(project: Project, folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": {}, "mode": {"name": "full_image", "save_probabilities": True}}))
    assert command(config, "--weights", folder, "--project", project.root, "--output", tmp_path / "a").exit_code == 0
    fixed = ("--supervisely", str(config), str(project.root), "--weights", str(folder), "--output", str(tmp_path / "b"))
    how = ("--device", "cpu", "--backend", "eager")
    done = CliRunner().invoke(predict_main, [*fixed, *how])
    assert done.exit_code == 0 and done.output.endswith(f"{tmp_path / 'b'}: 4 images\n"), done.output
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert len(files) == 1 + 3 * 4
    for name in files:
        if name.suffix == ".npz":
            one, other = np.load(tmp_path / "a" / name), np.load(tmp_path / "b" / name)
            assert all(np.array_equal(one[key], other[key]) for key in one.files)
        else:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    for arguments, message in (
        ([*fixed, "--native"], "--native does not go with --supervisely"),
        ([*fixed, "other"], "--supervisely takes one input"),
        ([str(project.root), "--weights", str(folder)], "a folder; expected a file"),
    ):
        wrong = CliRunner().invoke(predict_main, [*arguments, *how])
        assert wrong.exit_code == 2 and message in wrong.output, wrong.output


def test_command_names_the_file_that_is_damaged(project: Project, folder: Path, tmp_path: Path) -> None:
    root = write_project(tmp_path / "p")
    (root / "ds1" / "ann" / "1.png.json").write_text("{")
    config = tmp_path / "config.json"
    config.write_text("{}")
    done = command(config, "--weights", folder, "--project", root, "--output", tmp_path / "q")
    assert done.exit_code == 1 and "1.png.json: not JSON" in done.output and not (tmp_path / "q").exists()
    done = command(config, "--weights", folder, "--project", tmp_path, "--output", tmp_path / "q")
    assert done.exit_code == 1 and "not a Supervisely project" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_title_to_idx": {}}, "class_title_to_idx is"),
        ({"class_title_to_idx": {"car": 300}}, "expected 0 to 255"),
        ({"class_title_to_idx": {"car": 1, "road": 1}}, "one index to two classes"),
        ({"class_title_to_idx": {"car": 200}}, "scores 4 classes, but config.json has 201"),
        ({"settings": {"input_size": {"width": -1}}}, "settings.input_size.width is -1"),
        ({"classes": None}, "not of a checkpoint"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = write_checkpoint(tmp_path / "c").folder
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(InputError, match=message):
        read_checkpoint_folder(folder).model(device="cpu")


def test_checkpoints_name_the_index_without_a_class(folder: Path) -> None:
    table = read_checkpoint_folder(folder).table()
    assert table.names == ("background", "car", "road", "sky")
