"""Syntax and schema of text nets: what Caffe's parser takes and refuses, and where errors point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prototxt import PrototxtError, read_net
from prototxt import text as text_format
from prototxt.text import MAX_BYTES, MAX_DEPTH, MAX_STRING


def power(value: str) -> Any:
    """The ``scale`` of a Power layer, a float field."""
    return read_net(f'layer {{ name: "p" type: "Power" power_param {{ scale: {value} }} }}').layers[0].params.scale


def convolution(fields: str) -> Any:
    return read_net(f'layer {{ name: "c" type: "Convolution" convolution_param {{ {fields} }} }}').layers[0].params


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("-2", -2),
        ("- 2", -2),
        ("-  # a comment\n 2", -2),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5),
        ("0.5f", 0.5),
        ("2F", 2),
        ("25E-2", 0.25),
        ("inf", float("inf")),
        ("- Infinity", -float("inf")),
        ("1e400", float("inf")),
    ],
)
def test_floats(text: str, value: float) -> None:
    assert power(text) == value


@pytest.mark.parametrize(
    "text",
    ["0x10", "010", "+1", "1_0", "1.2.3", "--1", "1e", "0x", "inff", '"1"', "a", "true", "[1]", "", "-", "- - 1"],
)
def test_no_floats(text: str) -> None:
    with pytest.raises(PrototxtError):
        power(text)


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("010", 8), ("0x1F", 31), ("0X1f", 31), ("4294967295", 2**32 - 1)]
)
def test_integers(text: str, value: int) -> None:
    assert convolution(f"num_output: {text}").num_output == value


@pytest.mark.parametrize(
    "text", ["-1", "4.0", "4e0", "1f", "089", "4294967296", "9" * 5000, "'4'", "0b1", "0o7", "1_0", "4a"]
)
def test_no_unsigned_integers(text: str) -> None:
    with pytest.raises(PrototxtError):
        convolution(f"num_output: {text}")


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("t", True), ("1", True), ("false", False), ("f", False), ("0", False)],
)
def test_booleans(text: str, value: bool) -> None:
    assert convolution(f"bias_term: {text}").bias_term is value


@pytest.mark.parametrize("text", ["TRUE", "yes", "no", "2", "'true'", "-1"])
def test_no_booleans(text: str) -> None:
    with pytest.raises(PrototxtError, match="expected true or false"):
        convolution(f"bias_term: {text}")


@pytest.mark.parametrize(
    ("literal", "name"),
    [
        ('"a"', "a"),
        ("'a\"b'", 'a"b'),
        (r'"\x41\101\n\t\\\"\'\?"', "AA\n\t\\\"'?"),
        ("'ab' \"cd\"\n 'e'", "abcde"),
        ('"é\\303\\251"', "éé"),
        ('"\\303" "\\251"', "é"),
        ('"\\u00e9\\U000000e9"', "éé"),
        ('"# no comment"', "# no comment"),
        ('"\\777"', "\ufffd"),
    ],
)
def test_strings(literal: str, name: str) -> None:
    assert read_net(f"layer {{ name: {literal} }}").layers[0].name == name


@pytest.mark.parametrize(
    "literal", ['"a', "'a\"", '"a\nb"', r'"\q"', r'"\x"', r'"\u00"', r'"\U00110000"', '"a"b', "a", "1", '"\\']
)
def test_no_strings(literal: str) -> None:
    with pytest.raises(PrototxtError):
        read_net(f"layer {{ name: {literal} }}\n")


def test_names_that_are_not_utf8_stay_apart_or_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'layer { name: "\xff\xfe" } layer { name: "\xff" } # \xff in a comment')
    assert [layer.name for layer in read_net(path).layers] == ["\ufffd\ufffd", "\ufffd"]
    path.write_bytes(b'layer { name: "\xff" } layer { name: "\xfe" }')
    with pytest.raises(PrototxtError, match="differ only in bytes that are not UTF-8"):
        read_net(path)


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" type: "Pooling" pooling_param { pool: AVE kernel_size: 3 } }',
        'layer < name: "a", type: "Pooling"; pooling_param: < pool: AVE kernel_size: 3 > >',
        'layer:{name:"a"type:"Pooling"pooling_param:{pool:1,kernel_size:3}}',
        'layer: [ { name: "a" type: "Pooling" pooling_param { pool: AVE kernel_size: 3 } } ]',
        'layer\t{\r\n\vname\f:\n"a" type: # why\n"Pooling" pooling_param { pool: AVE kernel_size: 3 } # }\n}',
    ],
)
def test_spellings_of_one_layer(text: str) -> None:
    (layer,) = read_net(text + "\n").layers
    assert (layer.name, layer.type, layer.params.pool, layer.params.kernel_size) == ("a", "Pooling", "AVE", 3)


def test_lists() -> None:
    params = convolution("pad: [1, 2] kernel_size: 3 kernel_size: 5 stride: []")
    assert (params.pad, params.kernel_size, params.stride) == ((1, 2), (3, 5), ())
    assert not params.is_set("stride")


ERRORS = [
    ('layer {\n  name: "a"\n  tpye: "ReLU"\n}', "3:3: LayerParameter has no field 'tpye'; did you mean 'type'?"),
    (
        "layer { pooling_param { ceil_mode: false } }",
        "1:25: PoolingParameter has no field 'ceil_mode'; Caffe's are round_mode",
    ),
    ("layer { pooling_param { pool: MIN } }", "1:31: 'MIN' is none of MAX, AVE, STOCHASTIC"),
    ('layer { pooling_param { pool: "MAX" } }', "1:31: '\"MAX\"' is none of MAX, AVE, STOCHASTIC"),
    ("layer { pooling_param { pool: 7 } }", "1:31: '7' is none of MAX, AVE, STOCHASTIC"),
    ("layer {\n# comment\n  convolution_param { pad: x } }", "3:28: expected an integer, got 'x'"),
    ("layer { power_param { scale: 010 } }", "1:30: expected a decimal number, got '010'"),
    ("layer { name: a }", "1:15: expected a string in quotes, got 'a'"),
    ('name: "a"\nname: "b"', "'name' is given twice"),
    ("layer { relu_param { } relu_param { } }", "'relu_param' is given twice"),
    ("layer {\n  name: 'a'\n\n", "2:12: expected '}', got the end of the text"),
    ("layer { name: 'a' } }", "1:21: expected a field's name, got '}'"),
    ("layer { name 'a' }", "expected ':', got \"'a'\""),
    ("layer { clip_param { min: 0 } }", "required fields are missing: layer[0].clip_param.max"),
    ("layer { phase: TEST é }", "1:21: letters that are not ASCII may only stand in strings and comments"),
    ("layer { \x01 }", "1:9: an invalid control character (0x01)"),
    ("layer { pad: 3x }", "1:15: a space is missing between a number and a name"),
    ("\ufefflayer { }", "1:1: the file begins with a byte-order mark"),
    ("layer { }\n\0", "2:1: a NUL byte: remove it"),
    ("\n<!DOCTYPE html>", "1:1: this is a web page"),
    ("[a.b] { }", "1:"),
    ("layer { a@b: 1 }", "1:10: unexpected '@'"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors_say_where_and_what(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(text.encode())
    with pytest.raises(PrototxtError) as caught:
        read_net(path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_files_and_utf16_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\x0a\x04name\xa2\x06\x80\x01\x0a\x00\x00\x00")
    with pytest.raises(PrototxtError, match="this is a binary file, not a text"):
        read_net(path)
    path.write_bytes("layer { }\n".encode("utf-16"))
    with pytest.raises(PrototxtError, match="UTF-16"):
        read_net(path)


@pytest.mark.parametrize(
    "text",
    [
        "layer { " + "a { " * 5000 + "}" * 5001,
        "layer { convolution_param { pad: " + "[" * 500 + "] }",
        "layer { " * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1),
        'name: "' + "a" * (MAX_STRING + 1) + '" layer {',
        'name: "' + "\\x41" * MAX_STRING + '" layer {',
        "name: " + '"a"' * MAX_STRING + " layer {",
        "{" * (MAX_BYTES + 1),
    ],
    ids=["unknown", "lists", "blocks", "string", "escapes", "parts", "bytes"],
)
def test_what_would_take_too_long_is_refused(text: str) -> None:
    with pytest.raises(PrototxtError):
        read_net(text)


def test_too_many_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read_net("layer{}" * 10).layers) == 10
    monkeypatch.setattr(text_format, "MAX_TOKENS", 29)
    with pytest.raises(PrototxtError, match="more than 29 tokens"):
        read_net("layer{}" * 10)


def test_lines_of_blocks() -> None:
    net = read_net(
        'name: "n"\nlayer { name: "a" relu_param {\n} }\n\n# layer {\n  layer\n{ name: "b" }\n'
        'layer: [{ name: "c" },\n  { name: "d layer {" }] layer { name: "e" }'
    )
    assert [(layer.name, layer.line) for layer in net.layers] == [
        ("a", 2),
        ("b", 6),
        ("c", 8),
        ("d layer {", 9),
        ("e", 9),
    ]


def test_path_or_text(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('name: "n"')
    assert read_net(path).name == read_net(str(path)).name == read_net('name: "n"\n').name == "n"
    assert (read_net(path).source, read_net('name: "n"\n').source) == (str(path), "<text>")
    assert read_net("\n").layers == ()
    for missing in (tmp_path / "other.prototxt", tmp_path, "", "a\0b"):
        with pytest.raises(PrototxtError):
            read_net(missing)
