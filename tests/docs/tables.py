"""Where the commands of the pages are not run to the letter, and why. Tests check that each row is still needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from . import programs
from .blocks import Command

ROOT = programs.ROOT


@dataclass(frozen=True)
class Added:
    """Options that the commands which ``pattern`` finds get at their end."""

    pattern: str
    options: str
    reason: str

    def matches(self, command: Command) -> bool:
        return re.search(self.pattern, filled(command.required)) is not None


@dataclass(frozen=True)
class Edited:
    """A file of which a page shows the text, as the page's commands get it: with ``new`` in place of ``old``."""

    name: str
    old: str
    new: str
    reason: str


@dataclass(frozen=True)
class Excepted:
    """Commands that are not run. ``check`` tells what is wrong with one, as far as that can be seen."""

    pattern: str
    reason: str
    check: Callable[[Command], str | None]

    def matches(self, command: Command) -> bool:
        return re.match(self.pattern, command.text) is not None


def _in_repository(command: Command) -> str | None:
    """Files of the repository must be there, and Python files that are run must know the options."""
    _, words = programs.split(command.text)
    words = [f"{word.replace('.', '/')}.py" if word.startswith("benchmarks.") else word for word in words]
    files = [word for word in words if word.startswith(("tests/", "benchmarks/")) or word == "constraints.txt"]
    if missing := [name for name in files if not (ROOT / name).exists()]:
        return f"no file {missing[0]}"
    scripts = [(ROOT / name).read_text() for name in files if words[0] == "python"]
    options = [word for word in words if word.startswith("--")]
    unknown = [option for option in options if not all(f'"{option}"' in script for script in scripts)]
    return f"no option {unknown[0]}" if scripts and unknown else None


def _target_exists(command: Command) -> str | None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = [word for word in command.text.split()[1:] if "=" not in word]
    return next((f"no target {name}" for name in wanted if name not in targets), None)


def _extras_exist(command: Command) -> str | None:
    extras = programs.setup()["options.extras_require"]
    named = [name for group in re.findall(r"\[([\w,]+)\]", command.text) for name in group.split(",")]
    return next((f"no extra {name}" for name in named if name not in extras), None) or _in_repository(command)


def _module_takes_them(command: Command) -> str | None:
    """What torchrun starts: the module, and the arguments after it."""
    words = filled(command.text).split()
    at = words.index("-m")
    found = programs.find(["python", *words[at:]])
    return f"no module {words[at + 1]}" if found is None else found[0].misuse(found[1])


def _nothing(command: Command) -> str | None:
    return None


STANDS_FOR = {
    "--list ...": "--list val",
    "--weights ...": "--weights FILE",
    "icnet-eval ...": "icnet-eval --list val --data-root CITYSCAPES --weights FILE",
    "/data/cityscapes": "cityscapes",
}
"""What is left open in commands, or lies where a test cannot put it."""

BASH = ("curl", "head")
"""Programs of the system, whose lines bash runs."""

APART = (("README.md", "icnet-convert"), ("README.md", "icnet-predict"))
"""Commands, by page, that run in processes of their own, as they do for users; others run in the test's."""

ADDED = (
    Added(r"^icnet-convert icnet_", "--allow-md5-mismatch", "a narrow net stands under the published name"),
    Added(r"^icnet-eval .*(--list|--split)", "--limit 1", "there are two images of each list"),
    Added(r"^icnet-eval .*icnet_r50", "--flip", "with views the image has its own size; without, 2048x1024: slow"),
    Added(
        r"^(icnet-eval|icnet-predict|icnet-serve|test_time)(?!.*(--backend|mmseg|--score-only))",
        "--backend eager",
        "others compile for up to half a minute; they have tests of their own",
    ),
    Added(r"^icnet-serve .*(icnet_|net\.)", "--input-size 65 97", "it warms up, which takes seconds at full size"),
    Added(r"^icnet-serve", "--port 0", "port 8000 may be taken"),
    Added(r"^test_time", "--iterations 1 --warmup 0", "a pass shows that it runs"),
    Added(r"^test_time(?!.*--weights)", "--height 65 --width 65", "nets of full width are slow at full size"),
    Added(r"--count \d\d", "--count 2 --size 65 129", "so many scenes take minutes"),
    Added(r"icnet-train .*--measure-memory", "--size 65 97", "nets of full width are slow at full size"),
    Added(
        r"icnet-train (?!.*(--measure-memory|--supervisely))",
        "--set train.iterations=2 --set train.batch=2 --set data.workers=0",
        "two iterations show that it runs",
    ),
    Added(
        r"icnet-train (?!.*(--measure-memory|--recipe (mmseg|liminn)))",
        "--set model.width=0.1",
        "nets of full width are slow at full size",
    ),
    Added(r"icnet-train (?!.*(--measure-memory|--supervisely))", "--set data.crop=[65,97]", "large crops are slow"),
    Added(
        r"icnet-train .*--recipe mmseg(?!.*--measure)",
        "--set model.network=mmseg-r18 --set train.iterations=1",
        "a ResNet-50 is slow",
    ),
)

EDITED = (Edited("train.json", '"width": 2049, "height": 1025', '"width": 97, "height": 65', "slow at full size"),)

EXCEPTED = (
    Excepted(r"make ", "installs packages; tests/training/test_demo.py has what the demo does", _target_exists),
    Excepted(r"pip install", "installs packages", _extras_exist),
    Excepted(r"python3 -m venv", "makes an environment", _nothing),
    Excepted(r"torchrun", "starts several processes; tests/evaluation/test_distributed.py does", _module_takes_them),
    Excepted(r"pytest ", "runs the suite, of which this is a part", _in_repository),
    Excepted(r"(\w+=\d )?python (-m )?benchmarks", "measures for minutes", _in_repository),
)


def filled(text: str) -> str:
    """A command with what :data:`STANDS_FOR` puts in place."""
    for placeholder, value in STANDS_FOR.items():
        text = text.replace(placeholder, value)
    return text


def added(command: Command) -> list[str]:
    return [word for row in ADDED if row.matches(command) for word in row.options.split()]


def excepted(command: Command) -> Excepted | None:
    return next((row for row in EXCEPTED if row.matches(command)), None)


def edited(name: str, text: str) -> str:
    """The text of a file that a page shows, as the commands get it."""
    for row in EDITED:
        if row.name == name:
            text = text.replace(row.old, row.new)
    return text
