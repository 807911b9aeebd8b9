"""Recipes: what they fix, what is refused, and the schedules that they name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from icnet_common.config import as_data
from icnet_common.errors import InputError
from training.recipes.recipe import names, read_recipe, recipe_of
from training.schedules import Plateau, Poly, schedule_of

MMSEG = [f"mmseg-r{depth}-{iterations}k" for depth in (18, 50, 101) for iterations in (80, 160)]


def test_all_are_there() -> None:
    assert sorted(names()) == sorted(["icnet", "demo", "liminn", "supervisely", *MMSEG])


@pytest.mark.parametrize("name", names())
def test_each_is_valid_and_says_where_it_comes_from(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.source
    assert recipe_of(yaml.safe_load(yaml.safe_dump(as_data(recipe))), name) == recipe


def test_icnet_is_the_papers() -> None:
    recipe = read_recipe("icnet")
    assert recipe.loss.weights == (1.0, 0.4, 0.16) and recipe.loss.compare == "labels"
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.momentum) == ("sgd", 0.01, 0.9)
    assert (recipe.optimizer.weight_decay, recipe.train.batch, recipe.train.iterations) == (1e-4, 16, 30_000)
    assert recipe.data.scale == (0.5, 2.0) and recipe.schedule.power == 0.9


@pytest.mark.parametrize("name", MMSEG)
def test_relatives_are_fixed(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.model.network == name.rpartition("-")[0]
    assert recipe.train.iterations == 1000 * int(name.rpartition("-")[2].removesuffix("k"))
    assert recipe.data.crop == (832, 832) and recipe.loss.weights == (1.0, 0.4, 0.4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.learning=1", "no key optimizer.learning"),
        ("optimizer.momentun=1", "did you mean optimizer.momentum?"),
        ("optimiser.lr=1", "did you mean optimizer?"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast'; expected a number"),
        ("optimizer.name=sgdm", "expected sgd, adam, adamw"),
        ("train.batch=2.5", "expected a whole number"),
        ("train.batch=true", "expected a whole number"),
        ("train.batch=0", "at least 1"),
        ("data.crop=[1]", "a list of 2"),
        ("data.scale=[2, 1]", "ascending"),
        ("loss.weights=[1]", "expected three"),
        ("train", "expected section.key=value"),
        ("train.batch=[1", "not YAML"),
        ("train.batch=!!python/name:os.system", "not YAML"),
        ("data.crop=[&a 1, *a]", "aliases"),
    ],
)
def test_mistakes_are_named(change: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe("icnet", [change])
    assert message in str(caught.value)


def test_overrides_win() -> None:
    recipe = read_recipe("icnet", ["optimizer.lr=5e-3", "data.crop=null", "model.freeze=[conv1_, conv2_]"])
    assert recipe.optimizer.lr == 0.005 and recipe.data.crop is None and recipe.model.freeze == ("conv1_", "conv2_")


def test_unknown_recipe_is_named() -> None:
    with pytest.raises(InputError, match="did you mean icnet"):
        read_recipe("icnett")


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("train: {batch: 3}")
    assert read_recipe(path).train.batch == 3
    path.write_text("- 1")
    with pytest.raises(InputError, match="not a recipe"):
        read_recipe(path)


def test_poly_against_its_closed_form() -> None:
    poly = Poly(1000)
    for iteration in (0, 1, 500, 999):
        assert math.isclose(poly.factor(iteration), (1 - iteration / 1000) ** 0.9, rel_tol=1e-15)
    assert poly.factor(1000) == 0 and len({poly.factor(i) for i in range(1000)}) == 1000


def test_poly_with_minimum_and_warmup() -> None:
    schedule = schedule_of(read_recipe("mmseg-r18-80k"))
    assert schedule.factor(0) == 1 and math.isclose(schedule.factor(80_000) * 0.01, 1e-4)
    assert [Poly(10**9, warmup=3).factor(i) for i in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1], abs=1e-6)


def test_plateau_waits_and_resumes() -> None:
    plateau, losses = Plateau(1, 5.0), [3.0, 2.0, 2.5, 2.0, 1.9, 2.0, 2.0]
    factors = []
    for loss in losses:
        plateau.observe(loss)
        factors.append(plateau.factor(0))
        again = Plateau(1, 5.0)
        again.load_state_dict(plateau.state_dict())
        plateau = again
    assert factors == [1, 1, 1, 0.2, 0.2, 0.2, pytest.approx(0.04)]
