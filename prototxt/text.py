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
from typing import Any

from google.protobuf import text_format

from icnet_common.errors import PrototxtError

from . import schema
from .tokens import Token, Tokenizer, place

MAX_BYTES = 4 << 20  # twenty times the largest published nets

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
