"""Configurations: every key, and what is said of wrong ones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from icnet_common.config import as_data
from icnet_common.errors import InputError
from pytorch_icnet.supervisely.config import (
    Boxes,
    Roi,
    Sides,
    Windows,
    inference_config_of,
    mode_of,
    read_train_config,
    train_config_of,
)

TRAIN: dict[str, Any] = {
    "dataset_tags": {"train": "learn", "val": "check"},
    "batch_size": {"train": 8, "val": 4},
    "data_workers": {"train": 3, "val": 0},
    "input_size": {"width": 513, "height": 257},
    "allow_corrupted_samples": {"train": 16, "val": 1},
    "special_classes": {"neutral": "void"},
    "epochs": 10,
    "val_every": 0.5,
    "lr": 0.001,
    "lr_decreasing": {"patience": 5, "lr_divisor": 10},
    "weights_init_type": "continue_training",
    "use_batchnorm": False,
    "gpu_devices": [0, 1],
}


def test_every_key_of_a_train_configuration_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TRAIN))
    read = read_train_config(path)
    assert as_data(read) == TRAIN
    defaults = as_data(train_config_of({}, "c"))
    assert defaults.keys() == TRAIN.keys() and all(defaults[key] != TRAIN[key] for key in TRAIN)
    assert train_config_of(defaults, "c") == train_config_of({}, "c")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"epoch": 3}, "c.json: no key epoch; did you mean epochs?"),
        ({"lr_decreasing": {"divisor": 2}}, "no key lr_decreasing.divisor; did you mean lr_decreasing.lr_divisor?"),
        ({"dataset_tags": {"test": "x"}}, "no key dataset_tags.test; there are train, val"),
        ({"epochs": 0}, "epochs is 0; expected a whole number from 1"),
        ({"epochs": True}, "epochs is true; expected a whole number"),
        ({"epochs": 1.5}, "epochs is 1.5; expected a whole number"),
        ({"val_every": 0}, "val_every is 0; expected a number above 0"),
        ({"lr": "0.1"}, 'lr is "0.1"; expected a number above 0'),
        ({"lr_decreasing": {"lr_divisor": 1}}, "lr_decreasing.lr_divisor is 1; expected a number above 1"),
        ({"batch_size": 3}, "batch_size is 3; expected an object with keys"),
        ({"input_size": {"width": 1 << 20}}, "input_size.width is 1048576; expected a whole number from 1 to 16384"),
        ({"weights_init_type": "scratch"}, "expected transfer_learning or continue_training"),
        ({"gpu_devices": []}, "gpu_devices is []; expected a list of different whole numbers"),
        ({"gpu_devices": [0, 0]}, "gpu_devices is [0, 0]"),
        ({"use_batchnorm": 1}, "use_batchnorm is 1; expected true or false"),
        ({"special_classes": {"neutral": ""}}, "special_classes.neutral"),
        ([{"title": "train", "config": {}}], "a list, perhaps of presets"),
        (3, "not a configuration"),
    ],
)
def test_a_wrong_train_configuration_is_refused_in_one_line(data: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        train_config_of(data, "c.json")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"lr": 1, "lr": 2}', "the key 'lr' is there twice"),
        ('{"lr": NaN}', "NaN is no number of JSON"),
        ('{"lr": 1e999}', "lr is Infinity"),
        ("[" * 100_000, "not JSON"),
        ('{"epochs": ' + "9" * 10_000 + "}", "not JSON"),
        ("", "not JSON"),
        ('{"x": "' + "a" * (1 << 20) + '"}', "more than the 1048576"),
        ("\xff", "not JSON"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.json: ") as caught:
        read_train_config(path)
    assert message in str(caught.value) and len(str(caught.value)) < 500


def test_modes() -> None:
    roi = mode_of({"name": "roi", "bounds": {"left": "10%", "top": "4px"}, "save": True, "class_name": "part"}, "c")
    assert isinstance(roi, Roi) and roi.bounds == Sides("10%", "4px", "0px", "0px") and roi.class_name == "part"
    boxes = mode_of({"name": "bboxes", "from_classes": ["car"], "add_suffix": "_in", "padding": {"left": "-2px"}}, "c")
    assert isinstance(boxes, Boxes) and boxes.from_classes == ("car",) and boxes.add_suffix == "_in"
    windows = mode_of({"name": "sliding_window", "window": {"width": 9}, "min_overlap": {"x": 8}}, "c")
    assert isinstance(windows, Windows) and (windows.window.width, windows.window.height) == (9, 128)
    full = mode_of({"model_classes": {"save_names": ["a"]}, "model_tags": {"save_classes": []}}, "c")
    assert full.name == "full_image" and full.model_classes.save_classes == ("a",) and full.model_tags.save_names == ()
    assert full.model_classes.add_suffix == "_icnet" and not full.save_probabilities


def test_the_first_form_of_inference_configurations() -> None:
    old = {
        "mode": {"source": "bboxes", "save": True},
        "model_classes": {"save_classes": "__all__", "add_suffix": "_x"},
        "gpu_device": 1,
    }
    new = {"mode": {"name": "bboxes", "save": True, "model_classes": {"add_suffix": "_x"}}, "model": {"gpu_device": 1}}
    assert inference_config_of(old, "c") == inference_config_of(new, "c")
    assert inference_config_of({}, "c").mode.name == "full_image"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"model": {}, "mod": {}}, "no key mod; did you mean mode?"),
        ({"model": {"gpu": 1}}, "no key model.gpu; there are gpu_device, min_score_threshold"),
        ({"mode": {"name": "tiles"}}, "mode.name is"),
        ({"mode": {"name": 3}}, "mode.name is 3; expected full_image or roi or bboxes or sliding_window"),
        ({"mode": []}, "mode is []; expected an object"),
        ({"mode": {"name": "roi", "padding": {}}}, "no key mode.padding"),
        ({"mode": {"name": "roi", "bounds": {"left": "10"}}}, 'mode.bounds.left is "10"; expected a length'),
        ({"mode": {"name": "roi", "bounds": {"left": "1e9px"}}}, "mode.bounds.left"),
        ({"mode": {"name": "bboxes", "from_classes": "car"}}, 'expected "__all__" or a list of names'),
        ({"mode": {"name": "sliding_window", "window": {"width": 0}}}, "mode.window.width is 0"),
        ({"mode": {"name": "sliding_window", "min_overlap": {"x": 128}}}, "mode.min_overlap.x is 128; expected less"),
        ({"mode": {"model_classes": {"sufix": ""}}}, "did you mean mode.model_classes.add_suffix?"),
        ({"model": {"min_score_threshold": 2}}, "model.min_score_threshold is 2; expected a number from 0 to 1"),
    ],
)
def test_a_wrong_inference_configuration_is_refused_in_one_line(data: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        inference_config_of(data, "c.json")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_configurations_are_values() -> None:
    assert dataclasses.replace(train_config_of({}, "a"), epochs=3) == train_config_of({"epochs": 3}, "b")
