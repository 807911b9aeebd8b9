"""Caffe's text format: from bytes to a message of the schema, as strict as the C++ parser that Caffe uses.

protobuf's Python parser differs from the C++ one in places: it refuses ``- 2``, ``.5`` and bytes that are not UTF-8,
and takes ``1_0``, ``+1`` and (for a float) ``010``. So the text is first cut into tokens by the C++ rules, and the
tokens are handed on in a spelling on which both agree. Each goes on a line of its own, which makes the parser's line
number the token's index, and its errors lead back to the place in the file. What is left: ``-0`` for an unsigned number
is taken here and ``01`` for true is not, the other way round than in C++.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from icnet_common.errors import PrototxtError

from . import schema

MAX_BYTES = 4 << 20  # twenty times the largest published nets

MAX_TOKENS = 250_000  # the largest published nets have some 30,000; bounds the time that a hostile file can take
MAX_STRING = 1 << 16  # bytes
MAX_DEPTH = 64  # the schema's own depth is below 10

_TOKEN = re.compile(
    rb"""
    (?P<space>[\ \t\r\n\v\f]+|\#[^\n]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<hex>0[xX][0-9a-fA-F]+)
  | (?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?|\d+(?:[eE][+-]?\d+[fF]?|[fF]))
  | (?P<octal>0[0-9]+)
  | (?P<integer>\d+)
  | (?P<string>"[^"\\\n]*(?:\\[^\n][^"\\\n]*){0,32768}"|'[^'\\\n]*(?:\\[^\n][^'\\\n]*){0,32768}')
  | (?P<symbol>[{}<>\[\]:;,./-])
    """,
    re.VERBOSE,
)
_TEXT_BYTES = bytes([*b"\t\n\r\v\f", *range(32, 127)])
_NUMBERS = ("hex", "octal", "float", "integer")

_ESCAPE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})|(?P<plain>[abfnrtv\\?'\"])"
    rb"|u(?P<u4>[0-9a-fA-F]{4})|U(?P<u8>00[0-9a-fA-F]{6})|(?P<unknown>.))",
    re.DOTALL,
)
_PLAIN = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))

#: Beginnings of the parser's messages, and what they are to a reader; {got} is the token, {names} the groups' text.
_MESSAGES: tuple[tuple[str, str], ...] = (
    (r"Couldn't parse integer", "expected an integer, got {got}"),
    (r"Couldn't parse float", "expected a decimal number, got {got}"),
    (r"Value out of range", "{got} is out of this field's range"),
    (r'Expected "true" or "false"', "expected true or false, got {got}"),
    (r"Expected string", "expected a string in quotes, got {got}"),
    (r"Expected identifier", "expected a field's name, got {got}"),
    (r'Expected "(.+)"\.', "expected '{0}', got {got}"),
    (r'Message type "caffe\.\w+" should not have multiple "(\w+)" fields', "{0!r} is given twice"),
)


def parse(data: bytes, source: str) -> tuple[Any, dict[str, list[int]]]:
    """Parse the bytes of a net's text, which messages call ``source``.

    Returns:
        The ``NetParameter`` message, and for the fields ``layer`` and ``layers`` the 1-based line of each block.

    Raises:
        PrototxtError: ``source:line:column: what is wrong``.
    """
    if len(data) > MAX_BYTES:
        raise PrototxtError(f"{source}: {len(data)} bytes are no net in text form (the limit is {MAX_BYTES})")
    tokens = Tokenizer(data, source).tokens()
    net = schema.message("NetParameter")()
    try:
        text_format.Parse("\n".join(token.text for token in tokens), net)
    except text_format.ParseError as error:
        raise _located(error, tokens, data, source) from None
    missing = net.FindInitializationErrors()
    if missing:
        raise PrototxtError(f"{source}: required fields are missing: {', '.join(missing)}")
    return net, _block_lines(tokens, data)


def _located(error: text_format.ParseError, tokens: list[Token], data: bytes, source: str) -> PrototxtError:
    """``error``, whose line number is a token's index, with the place in the file and in a reader's words."""
    index = (error.GetLine() or len(tokens) + 1) - 1
    at_end = index >= len(tokens) or ("Expected" in str(error) and index == len(tokens) - 1 and _is_open(tokens))
    offset = len(data.rstrip()) if at_end else tokens[index].start
    got = "the end of the text" if at_end else repr(data[offset : tokens[index].end].decode("utf-8", "replace")[:60])
    return PrototxtError(f"{source}:{place(data, offset)}: {_in_words(str(error), got)}")


def _is_open(tokens: list[Token]) -> bool:
    symbols = [token.text for token in tokens if token.kind == "symbol"]
    return symbols.count("{") + symbols.count("<") > symbols.count("}") + symbols.count(">")


def _in_words(message: str, got: str) -> str:
    unknown = re.search(r'Message type "caffe\.(\w+)" has no field named "([^"]*)"', message)
    if unknown:
        return _unknown_field(unknown[1], unknown[2])
    enum = re.search(r'Enum type "caffe\.([\w.]+)" has no value', message)
    if enum:
        return f"{got} is none of {', '.join(schema.enum_names(enum[1]))}"
    for pattern, words in _MESSAGES:
        match = re.search(pattern, message)
        if match:
            return words.format(*match.groups(), got=got)
    return re.sub(r"^\d+:\d+ : ", "", message)[:200]


def _unknown_field(message_name: str, field: str) -> str:
    text = f"{message_name} has no field {field[:60]!r}"
    if message_name == "PoolingParameter" and field == "ceil_mode":
        return f"{text}; Caffe's are round_mode: CEIL (the default) and round_mode: FLOOR"
    known = list(schema.message(message_name).DESCRIPTOR.fields_by_name)
    near = difflib.get_close_matches(field[:100].lower(), known, n=1)
    if near:
        return f"{text}; did you mean {near[0]!r}?"
    return f"{text}; it has {', '.join(sorted(known))}" if len(known) < 30 else text


def _block_lines(tokens: list[Token], data: bytes) -> dict[str, list[int]]:
    """The line of each top-level ``layer`` and ``layers`` block, in order."""
    lines: dict[str, list[int]] = {"layer": [], "layers": []}
    depth, field, field_line = 0, "", 0
    line, counted = 1, 0
    for token in tokens:
        line += data.count(b"\n", counted, token.start)
        counted = token.start
        if depth == 0 and token.kind == "name":
            field, field_line = token.text, line
        elif token.text in ("{", "<"):
            if depth == 0 and field in lines:
                lines[field].append(field_line or line)
                field_line = 0  # the next blocks of a list, layer: [{...}, {...}], have no name before them
            depth += 1
        elif token.text in ("}", ">"):
            depth -= 1
    return lines


@dataclass(frozen=True)
class Token:
    """A piece of the text.

    Attributes:
        kind: name, hex, float, octal, integer, string or symbol.
        text: a spelling on which protobuf's C++ and Python parsers agree.
        start, end: where it stands in the bytes.
    """

    kind: str
    text: str
    start: int
    end: int


def place(data: bytes, offset: int) -> str:
    """``line:column`` of a byte, both from 1."""
    line = data.count(b"\n", 0, offset) + 1
    column = offset - data.rfind(b"\n", 0, offset)
    return f"{line}:{column}"


class Tokenizer:
    """Cuts the bytes of one text, which messages call ``source``, into tokens."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self._source = source
        self._tokens: list[Token] = []
        self._string: list[bytes] = []  # the parts of a string that has begun: adjacent literals are one
        self._string_at, self._string_size = (0, 0), 0
        self._not_utf8: dict[str, bytes] = {}
        self._depth = 0

    def tokens(self) -> list[Token]:
        """The tokens, with adjacent strings joined and signs put before their numbers.

        Raises:
            PrototxtError: what is no token, blocks nested too deep, or too many tokens.
        """
        self._refuse_what_is_no_text()
        position = 0
        while position < len(self._data):
            match = _TOKEN.match(self._data, position)
            if match is None:
                raise self._error(position, self._what_is_wrong(position))
            position = match.end()
            if match.lastgroup == "string":
                self._take_string(match)
            elif match.lastgroup != "space":
                self._finish_string()
                self._take(match)
            if len(self._tokens) > MAX_TOKENS:
                raise self._error(position, f"the text has more than {MAX_TOKENS} tokens")
        self._finish_string()
        return self._tokens

    def _take(self, match: re.Match[bytes]) -> None:
        kind, text, start = str(match.lastgroup), match.group().decode("ascii"), match.start()
        if kind in _NUMBERS:
            self._refuse_glued(match.end(), kind)
            text = self._number(kind, text, start)
        elif text.lower() in ("inff", "infinityf"):
            raise self._error(start, f"unexpected {text!r}")  # a float to Python's parser
        self._depth += (text in ("{", "<")) - (text in ("}", ">"))
        if self._depth > MAX_DEPTH:
            raise self._error(start, f"blocks are nested more than {MAX_DEPTH} deep")
        if self._tokens and self._tokens[-1].text == "-":
            if kind not in (*_NUMBERS, "name"):
                raise self._error(start, f"expected a number after '-', got {text!r}")
            start, text = self._tokens.pop().start, f"-{text}"
        self._tokens.append(Token(kind, text, start, match.end()))

    def _number(self, kind: str, text: str, start: int) -> str:
        if kind == "float":
            text = text.rstrip("fF")
            text = f"0{text}" if text.startswith(".") else text
            return f"{text}.0" if text.isdigit() else text  # 1f is no integer
        if kind == "octal":
            if set(text) & set("89"):
                raise self._error(start, "a number with a leading zero is octal and has no digit 8 or 9")
            return hex(int(text, 8))  # like C++, Python's parser takes hexadecimal for integers, not for floats
        return text

    def _take_string(self, match: re.Match[bytes]) -> None:
        if not self._string:
            self._string_at = match.span()
        self._string_size += match.end() - match.start()
        if self._string_size > MAX_STRING:
            raise self._error(match.start(), f"a string of more than {MAX_STRING} bytes")
        self._string.append(self._unescaped(match))
        self._string_at = (self._string_at[0], match.end())

    def _finish_string(self) -> None:
        if self._string:
            start, end = self._string_at
            if self._tokens and self._tokens[-1].text == "-":
                raise self._error(start, "expected a number after '-', got a string")
            self._tokens.append(Token("string", self._quoted(b"".join(self._string), start), start, end))
            self._string, self._string_size = [], 0

    def _unescaped(self, literal: re.Match[bytes]) -> bytes:
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
            raise self._error(literal.start() + 1 + escape.start(), "an invalid escape sequence in the string")

        return _ESCAPE.sub(replacement, literal.group()[1:-1])

    def _quoted(self, value: bytes, offset: int) -> str:
        """``value`` as a literal; what is not UTF-8 becomes U+FFFD, refused where that makes two strings one."""
        text = value.decode("utf-8", "replace")
        if "\ufffd" in text and self._not_utf8.setdefault(text, value) != value:
            raise self._error(offset, "two strings differ only in bytes that are not UTF-8: save the file as UTF-8")
        return f'"{"".join(map(_escaped, text.encode()))}"'

    def _refuse_what_is_no_text(self) -> None:
        data = self._data
        if data.startswith(b"\xef\xbb\xbf"):
            raise self._error(0, "the file begins with a byte-order mark, which Caffe refuses: save it without")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._error(0, "the file is UTF-16, which Caffe refuses: save it as UTF-8")
        if data[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise self._error(0, "this is a web page, not a net: the download has failed")
        zero = data.find(b"\0")
        if zero >= 0:
            binary = zero < 512 and data[:512].translate(None, _TEXT_BYTES) not in (b"", b"\0")
            raise self._error(zero, "a NUL byte: " + ("this is a binary file, not a text" if binary else "remove it"))

    def _what_is_wrong(self, position: int) -> str:
        byte = self._data[position]
        if byte in b"\"'":
            return f"the string has no closing quote on its line, or more than {MAX_STRING} bytes"
        if byte > 126:
            return "letters that are not ASCII may only stand in strings and comments"
        return f"an invalid control character (0x{byte:02x})" if byte < 32 else f"unexpected {chr(byte)!r}"

    def _refuse_glued(self, end: int, kind: str) -> None:
        following = self._data[end : end + 1]
        if following == b".":
            raise self._error(
                end, "a second decimal point" if kind == "float" else "a decimal point in an octal number"
            )
        if following.isalpha() or following == b"_":
            raise self._error(end, "a space is missing between a number and a name")

    def _error(self, offset: int, message: str) -> PrototxtError:
        return PrototxtError(f"{self._source}:{place(self._data, offset)}: {message}")


def _escaped(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b"\"\\'" else f"\\{byte:03o}"
