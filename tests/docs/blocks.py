"""Markdown pages taken apart: blocks of code, the commands in them, and what a usage line leaves open."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELL = ("", "sh")
"""Languages of blocks that hold commands. Indented blocks have none."""

_FENCE = re.compile(r"```(\w*)$")
_NAMED = re.compile(r"`([\w./-]+\.\w+)`")
_OPTIONAL = re.compile(r"(?<=\s)\[(-[^\[\]]+)\]")
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code."""

    line: int
    """Of its first line, from 1."""
    language: str
    text: str
    name: str | None
    """The file that the paragraph above begins with, such as \\`train.json\\`."""


@dataclass(frozen=True)
class Command:
    """A command line, continued lines joined, without the comment."""

    line: int
    text: str

    @property
    def required(self) -> str:
        """Without what stands in brackets."""
        return " ".join(_OPTIONAL.sub("", self.text).split())

    @property
    def optional(self) -> tuple[str, ...]:
        """What stands in brackets, a text for each alternative: ``[--device cuda|cpu]`` is two."""
        return tuple(text for group in _OPTIONAL.findall(self.text) for text in _alternatives(group))


@dataclass(frozen=True)
class Page:
    """A Markdown page."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path, root: Path) -> Page:
        return cls(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))

    def blocks(self) -> Iterator[Block]:
        """The blocks, fenced and indented, in their order."""
        lines = self.text.splitlines()
        at = 0
        while at < len(lines):
            fence = _FENCE.fullmatch(lines[at])
            if fence:
                end = lines.index("```", at + 1)
                yield Block(at + 2, fence[1], "\n".join(lines[at + 1 : end]), _name_above(lines, at))
                at = end + 1
            elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1]):
                end = at
                while end < len(lines) and (lines[end].startswith("    ") or not lines[end]):
                    end += 1
                yield Block(at + 1, "", "\n".join(line[4:] for line in lines[at:end]).rstrip(), None)
                at = end
            else:
                at += 1

    def commands(self) -> Iterator[Command]:
        """All command lines."""
        for block in self.blocks():
            if block.language in SHELL:
                yield from commands(block)

    def prose(self) -> str:
        """The page without its blocks of code, which are left as empty lines."""
        lines = self.text.splitlines()
        for block in self.blocks():
            for number in range(block.line - 1, block.line + block.text.count("\n")):
                lines[number] = ""
        return "\n".join(lines)

    def inline(self) -> Iterator[tuple[int, str]]:
        """The code within sentences and tables, with its line."""
        for number, line in enumerate(self.prose().splitlines(), 1):
            for code in _INLINE.findall(line):
                yield number, code.replace("\\|", "|")

    def links(self) -> Iterator[tuple[int, str]]:
        """Where links lead, with their line."""
        for number, line in enumerate(self.prose().splitlines(), 1):
            for target in _LINK.findall(line):
                yield number, target

    def anchors(self) -> set[str]:
        """The names by which links reach this page's headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(block: Block) -> Iterator[Command]:
    """The command lines of a block."""
    begun, text = block.line, ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        begun = begun if text else number
        text += line
        if text.endswith("\\"):
            text = text[:-1]
            continue
        stripped = _without_comment(text)
        if stripped:
            yield Command(begun, " ".join(stripped.split()))
        text = ""


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _alternatives(group: str) -> Iterator[str]:
    """``--device cuda|cpu`` as two texts; options of which one is chosen as one each."""
    *words, last = shlex.split(group)
    yield from (" ".join([*words, choice]) for choice in last.split("|"))


def _name_above(lines: list[str], at: int) -> str | None:
    """The file name that the paragraph right above line ``at`` begins with."""
    above = at - 1
    while above >= 0 and not lines[above]:
        above -= 1
    while above > 0 and lines[above - 1]:
        above -= 1
    found = _NAMED.match(lines[above]) if above >= 0 else None
    return found[1] if found else None
