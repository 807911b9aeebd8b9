"""The pages are true: each command line and each example of README.md and docs/ runs as it is written."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from . import programs, tables, world
from .blocks import SHELL, Block, Command, Page, commands
from .check import Visit

ROOT = programs.ROOT
PAGES = [Page.read(path, ROOT) for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
PACKAGES = ("prototxt", "converter", "pytorch_icnet", "evaluation", "training")
FOLDERS = ("benchmarks", "docs", "samplelist", "tests", *PACKAGES)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

Enter = Callable[[str], None]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("docs") / "world"
    world.make(root)
    return root


@pytest.fixture
def enter(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Go into a world for the page of this name."""
    return lambda page: world.enter(made, tmp_path / "here", page, monkeypatch)


@each_page
def test_what_stands_in_the_page_runs(page: Page, enter: Enter) -> None:
    enter(page.name)
    with Visit(page) as visit:
        failures = visit.check()
    print(page.name, visit.counts)
    assert not failures, "\n".join(failures)


WRONG = {
    "    icnet-convert WEIGHTS --outptu x": "No such option",
    "    icnet-convert WEIGHTS [--fold]": "No such option",
    "    icnet-convert WEIGHTS [--to onnx|onx]": "'onx' is none of",
    "    icnet-convert nothing.caffemodel": "No such file or directory",
    "    icnet-covnert WEIGHTS": "icnet-covnert: not a command",
    "    python -m training.scenery --count 1": "python: not a command",
    "    icnet-convert WEIGHTS \\\n        --outptu x": ":1: icnet-convert WEIGHTS --outptu x",
    "    torchrun --nproc-per-node 4 -m training --data-rot D": "No such option",
    "    make dmeo": "no target dmeo",
    "    pip install 'pytorch-icnet[trian]'": "no extra trian",
    "    pytest tests/nothing.py": "no file tests/nothing.py",
    "    python benchmarks/postprocessing.py --nothing": "no option --nothing",
    "    curl http://127.0.0.1:8000/predict": "nothing serves",
    "```sh\nicnet-eval --list val\n```": ":2: icnet-eval --list val",
    "```python\nimport prototxt\nprototxt.read_nte\n```": "page.md:2: line 3: AttributeError",
    "```json\n{\n```": "not JSON",
    "`net.txt`:\n\n```text\nlayer {{\n```\n\n    icnet-convert --summary --prototxt net.txt": ":7: icnet-convert",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_what_is_wrong_is_found(text: str, said: str, enter: Enter) -> None:
    enter("page.md")
    with Visit(Page("page.md", f"{text}\n")) as visit:
        failures = visit.check()
    assert len(failures) == 1 and said in failures[0], failures


def test_what_is_wrong_is_found_in_processes(enter: Enter) -> None:
    name, program = tables.APART[0]
    enter(name)
    with Visit(Page(name, f"    {program} nothing.caffemodel\n")) as visit:
        (failure,) = visit.check()
    assert "No such file or directory" in failure and "Traceback" not in failure


def all_commands() -> list[Command]:
    return [command for page in PAGES for command in page.commands()]


@pytest.mark.parametrize("row", [*tables.ADDED, *tables.EXCEPTED], ids=lambda row: row.pattern)
def test_every_deviation_is_needed(row: tables.Added | tables.Excepted) -> None:
    assert any(row.matches(command) for command in all_commands())
    assert row.reason


def test_every_program_of_the_system_is_used() -> None:
    assert {command.text.split()[0] for command in all_commands()} >= set(tables.BASH)


@pytest.mark.parametrize("placeholder", tables.STANDS_FOR)
def test_every_placeholder_is_used(placeholder: str) -> None:
    assert any(placeholder in command.text for command in all_commands())


@pytest.mark.parametrize("row", tables.EDITED, ids=lambda row: row.name)
def test_every_edited_file_has_what_is_edited(row: tables.Edited) -> None:
    assert any(block.name == row.name and row.old in block.text for page in PAGES for block in page.blocks())


@each_page
def test_options_in_sentences_exist(page: Page) -> None:
    known = {name: program.options() for name, program in ((program.name, program) for program in programs.programs())}
    known["anywhere"] = set().union(*known.values())
    for line, code in page.inline():
        words = code.split()
        if words and (words[0] in known or words[0].startswith("--")):
            found = known.get(words[0], known["anywhere"])
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code):
                assert option in found, f"{page.name}:{line}: {code}"


@each_page
def test_files_and_names_in_sentences_exist(page: Page) -> None:
    for line, code in page.inline():
        where = f"{page.name}:{line}: {code}"
        for path in re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]*", code):
            assert list(ROOT.glob(path.rstrip("/"))), where
        if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+(\(.*\))?", code):
            assert resolves(code.partition("(")[0]), where


def resolves(name: str) -> bool:
    """Whether a dotted name is a module's or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_names_that_do_not_exist_are_found() -> None:
    assert resolves("converter.summary") and resolves("pytorch_icnet.imaging.normalization.CAFFE")
    assert not resolves("converter.sumary") and not resolves("training.nothing.at.all")


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    folder = (ROOT / page.name).parent
    for line, target in page.links():
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = folder / path if path else ROOT / page.name
        assert file.exists(), f"{page.name}:{line}: {target}"
        assert not anchor or anchor in Page.read(file.resolve(), ROOT).anchors(), f"{page.name}:{line}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = next(page for page in PAGES if page.name == "docs/README.md")
    listed = {target for _, target in index.links()}
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert ("docs/README.md") in {target for _, target in PAGES[0].links()}


def test_pages_are_taken_apart() -> None:
    text = (
        "# A\n\n    one --x \\\n        --y    # why\n    two [--a b|c] [--d]\n\n`f.json`, this:\n\n```json\n{}\n```\n"
    )
    page = Page("page.md", text)
    assert list(page.blocks())[1] == Block(10, "json", "{}", "f.json")
    one, two = page.commands()
    assert (one.line, one.text) == (3, "one --x --y") and one.text == one.required
    assert two.required == "two" and two.optional == ("--a b", "--a c", "--d")
    assert [command for block in page.blocks() if block.language in SHELL for command in commands(block)] == [one, two]
