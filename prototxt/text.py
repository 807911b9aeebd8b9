"""Caffe's text format: from bytes to a message of the schema, exactly as strict as the C++ parser that Caffe uses.

protobuf's Python parser differs from the C++ one in places: it refuses ``- 2``, ``.5`` and bytes that are not UTF-8,
and takes ``1_0``, ``+1`` and (for a float) ``010``. So the text is first cut into tokens by the C++ rules, and the tokens
are handed on in a spelling on which both agree. Each goes on a line of its own, which makes the parser's line number
the token's index, and its errors lead back to the place in the file.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from . import schema
from .errors import PrototxtError

MAX_BYTES = 8 << 20  # forty times the largest published nets; bounds the time that a hostile file can take
MAX_DEPTH = 64  # the schema's own depth is below 10

_TOKEN = re.compile(
    rb"""
    (?P<space>[\ \t\r\n\v\f]+|\#[^\n]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<hex>0[xX][0-9a-fA-F]+)
  | (?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?|\d+(?:[eE][+-]?\d+[fF]?|[fF]))
  | (?P<octal>0[0-9]+)
  | (?P<integer>\d+)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
  | (?P<symbol>[{}<>\[\]:;,./-])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})|(?P<plain>[abfnrtv\\?'\"])"
    rb"|u(?P<u4>[0-9a-fA-F]{4})|U(?P<u8>00[0-9a-fA-F]{6})|(?P<unknown>.))",
    re.DOTALL,
)
_PLAIN = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    offset: int


def parse(data: bytes, source: str) -> tuple[Any, dict[str, list[int]]]:
    """Parse a net's text.

    Args:
        data: the file's bytes.
        source: the file's name for messages.

    Returns:
        The ``NetParameter`` message, and for the fields ``layer`` and ``layers`` the 1-based line of each block.

    Raises:
        PrototxtError: ``source:line:column: what is wrong``.
    """
    if len(data) > MAX_BYTES:
        raise PrototxtError(f"{source}: {len(data)} bytes are no net in text form (the limit is {MAX_BYTES})")
    tokens = _Tokenizer(data, source).tokens()
    net = schema.message("NetParameter")()
    lines = "\n".join(token.text for token in tokens)
    try:
        text_format.Parse(lines, net)
    except text_format.ParseError as error:
        raise _located(error, tokens, data, source) from None
    missing = net.FindInitializationErrors()
    if missing:
        raise PrototxtError(f"{source}: required fields are missing: {', '.join(missing)}")
    return net, _block_lines(tokens, data)


class _Tokenizer:
    """Cuts a text into tokens, by the rules of protobuf's C++ tokenizer with its text-format settings."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self._source = source
        self._foreign: dict[str, bytes] = {}

    def tokens(self) -> list[_Token]:
        """The tokens, with adjacent strings joined and signs put before their numbers."""
        self._refuse_what_is_no_text()
        tokens: list[_Token] = []
        strings: list[bytes] = []  # the parts of the string that ends the list of tokens
        depth = 0
        position = 0
        while position < len(self._data):
            match = _TOKEN.match(self._data, position)
            if match is None:
                raise self._error(position, self._what_is_wrong(position))
            start, position, kind = position, match.end(), str(match.lastgroup)
            if kind == "space":
                continue
            if kind == "string":
                strings = (
                    [*strings, self._unescape(match)]
                    if tokens and tokens[-1].kind == "string"
                    else [self._unescape(match)]
                )
                offset = start
                if len(strings) > 1:
                    offset = tokens.pop().offset
                tokens.append(_Token("string", self._quoted(b"".join(strings), offset), offset))
                continue
            if kind in ("hex", "octal", "float", "integer"):
                self._refuse_glued(position, kind)
            text = _spelling(kind, match.group().decode("ascii"))
            if text is None:
                raise self._error(start, "numbers with a leading zero are octal and have no digits 8 and 9")
            depth += (text in "{<") - (text in "}>")
            if depth > MAX_DEPTH:
                raise self._error(start, f"blocks are nested more than {MAX_DEPTH} deep")
            if tokens and tokens[-1].kind == "symbol" and tokens[-1].text == "-":
                if kind not in ("hex", "octal", "float", "integer", "name"):
                    raise self._error(start, f"expected a number after '-', got {text!r}")
                start, text = tokens.pop().offset, f"-{text}"
            tokens.append(_Token(kind, text, start))
        return tokens

    def _refuse_what_is_no_text(self) -> None:
        if self._data.startswith(b"\xef\xbb\xbf"):
            raise self._error(
                0, "the file begins with a byte-order mark, which Caffe refuses: save it as UTF-8 without"
            )
        if self._data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._error(0, "the file is UTF-16, which Caffe refuses: save it as UTF-8")
        if self._data[:512].lstrip()[:14].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise self._error(0, "this is a web page, not a net: the download failed")
        zero = self._data.find(b"\0")
        if zero >= 0:
            binary = zero < 512 and not self._data[:1].isspace()
            hint = ": is this a binary file (weights)?" if binary else ": remove it"
            raise self._error(zero, f"a NUL byte in the text{hint}")

    def _what_is_wrong(self, position: int) -> str:
        byte = self._data[position]
        if byte in b"\"'":
            return "the string has no closing quote on its line"
        if byte > 127:
            return "letters that are not ASCII may only stand in strings and comments"
        if byte < 32:
            return f"an invalid control character (0x{byte:02x})"
        return f"unexpected {chr(byte)!r}"

    def _refuse_glued(self, end: int, kind: str) -> None:
        following = self._data[end : end + 1]
        if following == b".":
            raise self._error(
                end, "a second decimal point" if kind == "float" else "hex and octal numbers are integers"
            )
        if following.isalpha() or following == b"_":
            raise self._error(end, "there must be a space between a number and a name")

    def _unescape(self, match: re.Match[bytes]) -> bytes:
        def replacement(escape: re.Match[bytes]) -> bytes:
            kind, value = escape.lastgroup, escape[escape.lastgroup or 0]
            if kind == "octal":
                return bytes([int(value, 8) & 0xFF])
            if kind == "hex":
                return bytes([int(value, 16)])
            if kind == "plain":
                return bytes([_PLAIN[value[0]]])
            if kind in ("u4", "u8") and int(value, 16) <= 0x10FFFF:
                return chr(int(value, 16)).encode("utf-8", "surrogatepass")
            raise self._error(match.start() + 1 + escape.start(), "an invalid escape sequence in the string")

        return _ESCAPE.sub(replacement, match.group()[1:-1])

    def _quoted(self, value: bytes, offset: int) -> str:
        """``value`` as a literal; what is not UTF-8 becomes U+FFFD, refused where that makes two strings one."""
        text = value.decode("utf-8", "replace")
        if "\ufffd" in text and self._foreign.setdefault(text, value) != value:
            raise self._error(offset, "two strings differ only in bytes that are not UTF-8: save the file as UTF-8")
        return (
            '"'
            + "".join(
                f"\\{byte:03o}" if byte < 32 or byte > 126 or byte in b"\"\\'" else chr(byte)
                for byte in text.encode("utf-8")
            )
            + '"'
        )

    def _error(self, offset: int, message: str) -> PrototxtError:
        return PrototxtError(f"{self._source}:{_place(self._data, offset)}: {message}")


def _spelling(kind: str, text: str) -> str | None:
    """A token's text in the spelling that Python's parser takes; None for an octal number with digits 8 or 9."""
    if kind == "float":
        text = text.rstrip("fF")
        return f"0{text}" if text.startswith(".") else text
    if kind == "octal":
        # hexadecimal: like C++, Python's parser takes it for integers and refuses it for floats
        return None if set(text) & set("89") else hex(int(text, 8))
    return text


def _place(data: bytes, offset: int) -> str:
    line = data.count(b"\n", 0, offset) + 1
    column = offset - data.rfind(b"\n", 0, offset)
    return f"{line}:{column}"


def _located(error: text_format.ParseError, tokens: list[_Token], data: bytes, source: str) -> PrototxtError:
    """``error``, whose line number is a token's index, with the place in the file and the nearest known name."""
    message = re.sub(r"^\d+:\d+ : ", "", str(error))
    index = min(max((error.GetLine() or 1) - 1, 0), len(tokens))
    offset = tokens[index].offset if index < len(tokens) else len(data)
    unknown = re.search(r'Message type "caffe\.(\w+)" has no field named "([^"]*)"', message)
    if unknown:
        message = _unknown_field(unknown[1], unknown[2])
    elif index == len(tokens):
        message = "the text ends inside a block: a closing brace is missing"
    return PrototxtError(f"{source}:{_place(data, offset)}: {message}")


def _unknown_field(message_name: str, field: str) -> str:
    text = f"{message_name} has no field {field!r}"
    if message_name == "PoolingParameter" and field == "ceil_mode":
        return f"{text}; Caffe's are round_mode: CEIL (the default) and round_mode: FLOOR"
    known = list(schema.message(message_name).DESCRIPTOR.fields_by_name)
    near = difflib.get_close_matches(field[:100].lower(), known, n=1)
    return f"{text}; did you mean {near[0]!r}?" if near else f"{text}; it has {', '.join(sorted(known))}"


def _block_lines(tokens: list[_Token], data: bytes) -> dict[str, list[int]]:
    """The line of each top-level ``layer`` and ``layers`` block, in order."""
    lines: dict[str, list[int]] = {"layer": [], "layers": []}
    depth, field = 0, ""
    line, counted = 1, 0
    for token in tokens:
        line += data.count(b"\n", counted, token.offset)
        counted = token.offset
        if token.kind == "name" and depth == 0:
            field, field_line = token.text, line
        elif token.kind == "symbol" and token.text in "{<":
            if depth == 0 and field in lines:
                lines[field].append(field_line)
            depth += 1
        elif token.kind == "symbol" and token.text in "}>":
            depth -= 1
        elif token.kind == "symbol" and token.text == "," and depth == 0:
            field_line = line  # the next block of a list: layer: [{...}, {...}]
    return lines
