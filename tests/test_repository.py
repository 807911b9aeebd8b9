"""The repository's own rules: who may import whom, what is packaged, and that its versions agree."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.util
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("icnet_common", "prototxt", "converter", "pytorch_icnet", "evaluation", "training")
"""Each folder may import those before it."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_command(module: str) -> bool:
    return module.rpartition(".")[2] in ("cli", "__main__")


MODULES = {module_name(path): path for folder in ORDER for path in sorted((ROOT / folder).rglob("*.py"))}


def imports(module: str, source: str, *, package: bool) -> Iterator[str]:
    """Absolute names of what ``source`` imports, anywhere in it; ``from a import b`` gives both a and a.b."""
    home = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def offences(module: str, source: str, *, package: bool = False) -> list[str]:
    """The imports of a module that break the rule. A ``__main__`` is its folder's door and may import its command."""
    folder = module.partition(".")[0]
    later = ORDER[ORDER.index(folder) + 1 :]
    found = []
    for name in imports(module, source, package=package):
        top = name.partition(".")[0]
        upward = top in later and not is_command(module)
        own = module.endswith(".__main__") and name.startswith(module.removesuffix("__main__"))
        if upward or (is_command(name) and not own) or (folder in ("icnet_common", "prototxt") and top == "torch"):
            found.append(name)
    return found


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    path = MODULES[module]
    assert offences(module, path.read_text(), package=path.name == "__init__.py") == []


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty where there are none."""
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in finished:
            for other in sorted(graph.get(module, ())):
                if found := visit(other, (*path, module)):
                    return found
            finished.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, ()))), [])


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions and for types alone count too. A package is entered through the modules it names."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        package = path.name == "__init__.py"
        named = imports(module, path.read_text(), package=package)
        graph[module] = {name for name in named if name in MODULES and not module.startswith(f"{name}.")} - {module}
    assert cycle(graph) == []


def test_circles_are_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def classes_and_functions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def test_public_classes_have_names_of_their_own() -> None:
    places: dict[str, list[str]] = {}
    for module, node in classes_and_functions():
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{module}.{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for module, node in classes_and_functions()
        if not isinstance(node, ast.ClassDef)
    }
    assert {name: length for name, length in lengths.items() if length > 80} == {}


@pytest.mark.parametrize(
    ("module", "source", "package"),
    [
        ("icnet_common.files", "import prototxt.net", False),
        ("icnet_common.files", "import torch", False),
        ("prototxt.text", "import torch", False),
        ("prototxt.text", "from torch import nn", False),
        ("prototxt.text", "from converter import graph", False),
        ("converter.graph", "def f():\n    import pytorch_icnet.icnet", False),
        ("converter", "from . import cli", True),
        ("pytorch_icnet.icnet", "from converter.cli import main", False),
        ("pytorch_icnet.imaging", "from ...evaluation import score", True),
        ("evaluation.score", "import training.scenes", False),
        ("training.loop", "from evaluation.timing.cli import main", False),
    ],
)
def test_forbidden_imports_are_found(module: str, source: str, package: bool) -> None:
    assert offences(module, source, package=package)


def test_commands_may_import_from_any_folder() -> None:
    assert offences("converter.cli", "from pytorch_icnet import console") == []
    assert offences("converter.__main__", "from .cli import main") == []


def test_nothing_else_imports_a_command() -> None:
    assert offences("converter.cli", "import converter.__main__")
    assert offences("evaluation.__main__", "from converter.cli import main")


def test_only_tests_are_named_test() -> None:
    assert [name for name, path in MODULES.items() if path.name.startswith("test_")] == []


@pytest.mark.parametrize(("name", "count"), [("val", 500), ("test", 1525), ("train", 2975), ("demo", 40)])
def test_lists_are_packaged(name: str, count: int) -> None:
    lines = resources.files("samplelist").joinpath(f"{name}.txt").read_text().splitlines()
    fields = 1 if name == "test" else 2
    assert len(lines) == len(set(lines)) == count
    assert {len(line.split()) for line in lines} == {fields}


@pytest.mark.parametrize("folder", ORDER)
def test_types_are_packaged(folder: str) -> None:
    assert resources.files(folder).joinpath("py.typed").is_file()


def test_package_data_matches_files() -> None:
    """Every pattern finds a file, and every data file of a package is found by a pattern."""
    for package, patterns in setup()["options.package_data"].items():
        folder = ROOT / package
        matched = {
            path for pattern in patterns.replace("\n", ",").split(",") for path in folder.glob(pattern.strip() or "-")
        }
        present = {
            path
            for path in folder.rglob("*")
            if path.is_file()
            and path.suffix != ".py"
            and not path.name.startswith(".")
            and "__pycache__" not in path.parts
        }
        assert matched == present, package


def test_nets_are_packaged() -> None:
    nets = resources.files("prototxt").joinpath("nets")
    assert {net.name for net in nets.iterdir() if net.name.endswith(".prototxt")} == {
        "icnet_cityscapes.prototxt",
        "icnet_cityscapes_bnnomerge.prototxt",
    }


@pytest.mark.parametrize("script", setup()["options.entry_points"]["console_scripts"].split("\n")[1:])
def test_console_scripts_resolve(script: str) -> None:
    _, _, target = script.partition("=")
    module, _, function = target.strip().partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert is_command(module)


def test_folders_are_packaged() -> None:
    included = {line.rstrip("*") for line in setup()["options.packages.find"]["include"].split()}
    assert included == {*ORDER, "samplelist"}


def test_versions_agree() -> None:
    version = setup()["metadata"]["version"]
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (?:\[Unreleased\] )?\[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation is not None and newest is not None
    assert citation[1] == newest[1] == version


def test_constraints_satisfy_the_ranges() -> None:
    """Each requirement of the package and its tests is pinned, at a version that setup.cfg allows."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    options = setup()
    extras = options["options.extras_require"]
    required = [Requirement(f"{options['metadata']['name']}[test]")]
    required += map(Requirement, options["options"]["install_requires"].split("\n")[1:])
    checked = set()
    for requirement in required:  # grows while extras refer to others
        name = canonicalize_name(requirement.name)
        if name == options["metadata"]["name"]:
            required += [
                Requirement(line) for extra in requirement.extras for line in extras[extra].split("\n") if line
            ]
        else:
            assert requirement.specifier.contains(pinned[name]), requirement
            checked.add(name)
    assert {"torch", "pytest", "h5py", "onnxruntime", "numba", "matplotlib", "pillow", "av", "tensorboard"} <= checked


def test_hub_offers_icnet() -> None:
    import hubconf
    from pytorch_icnet import icnet

    assert hubconf.icnet is icnet
    for dependency in hubconf.dependencies:
        assert importlib.util.find_spec(dependency) is not None
