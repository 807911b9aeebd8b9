"""Python source: runs without these packages, reads as a person would write it, and no name can inject code."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import fx, nn

import converter.layers
from converter import Blobs, register
from converter.export.source import write_source
from converter.export.source.excerpts import Excerpts
from converter.export.source.layout import INDENT, InfixChain, call, dict_of, laid_out, list_of, quoted, tuple_of
from converter.passes.fold_batch_norm import fold_batch_norm
from converter.passes.upsample_convolution import upsample_convolution
from icnet_common.errors import InputError
from prototxt import Params

from ...golden import shared
from ..test_nets import NETS, seeded_graph
from .nets import (
    FULLY,
    GRAPHS,
    convolution,
    graph_of,
    icnet_graph,
    image,
    inputs_of,
    layer,
    outputs_of,
)

ROOT = Path(__file__).parents[3]
ALONE = """
import sys
sys.path.insert(0, {folder!r})
import torch
from safetensors.torch import load_file, save_file
from {name} import Net, load
net = load()
assert isinstance(net, Net) and not net.training
inputs = load_file({inputs!r})
with torch.no_grad():
    outputs = net(*(inputs[str(index)] for index in range(len(inputs))))
outputs = outputs if isinstance(outputs, dict) else {{"": outputs}}
save_file({{name: value.contiguous() for name, value in outputs.items()}}, {outputs!r})
own = [name for name in sys.modules if name.partition(".")[0] in ("prototxt", "converter", "pytorch_icnet")]
assert not own, own
"""
"""Run in an isolated interpreter elsewhere, with nothing but torch and safetensors."""


def run_alone(package: Path, inputs: list[torch.Tensor], elsewhere: Path) -> dict[str, torch.Tensor]:
    elsewhere.mkdir()
    save_file({str(index): value for index, value in enumerate(inputs)}, elsewhere / "inputs.safetensors")
    script = ALONE.format(
        folder=str(package.parent),
        name=package.name,
        inputs=str(elsewhere / "inputs.safetensors"),
        outputs=str(elsewhere / "outputs.safetensors"),
    )
    subprocess.run([sys.executable, "-I", "-B", "-c", script], cwd=elsewhere, check=True, capture_output=True)
    return load_file(elsewhere / "outputs.safetensors")


def ruff(*arguments: object) -> str:
    command = [sys.executable, "-m", "ruff", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def imports(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_source_runs_alone_and_gives_the_same(tmp_path: Path, name: str) -> None:
    graph = GRAPHS[name]()
    assert write_source(tmp_path / "net", graph, {"file": "a.caffemodel", "md5": "0" * 32}) == 0
    inputs = inputs_of(graph)
    found = run_alone(tmp_path / "net", inputs, tmp_path / "elsewhere")
    expected = outputs_of(graph(*inputs))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", GRAPHS)
def test_source_is_well_kept(tmp_path: Path, name: str) -> None:
    write_source(tmp_path / "net", GRAPHS[name](), {"file": "a.caffemodel", "md5": "0" * 32})
    config = ROOT / "ruff.toml"
    assert ruff("format", "--check", "--config", config, tmp_path / "net") == ""
    assert ruff("check", "--config", config, tmp_path / "net") == ""
    code = (tmp_path / "net" / "net.py").read_text()
    assert imports(code) - set(sys.stdlib_module_names) == {"torch", "safetensors"}
    assert "Weights: a.caffemodel" in code and "0" * 32 in code


def test_the_code_of_a_small_net(tmp_path: Path) -> None:
    write_source(tmp_path / "net", graph_of(FULLY), {})
    code = (tmp_path / "net" / "net.py").read_text()
    assert "self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)  # Convolution\n" in code
    assert 'self.pool1 = Pooling("MAX", (3, 3), stride=(2, 2))  # Pooling\n' in code
    assert "x = F.relu(self.bn1(self.conv1(data)))  # ReLU relu1\n" in code
    assert code.count("class ") == 3, "Net, Pooling and Interp, and no class that is not used"


def test_names_that_are_no_identifiers_become_keys(tmp_path: Path) -> None:
    write_source(tmp_path / "net", GRAPHS["branches"](), {})
    code = (tmp_path / "net" / "net.py").read_text()
    assert "class Net(nn.ModuleDict):" in code
    assert 'self["conv1/3x3"] = nn.Conv2d(3, 8, 3, padding=1)  # Convolution\n' in code
    assert 'low, high = self["cut"](x)' in code
    assert 'return {"global"' not in code and 'return {"prob": prob, "up": up}' in code


def test_shared_parameters_are_tied(tmp_path: Path) -> None:
    write_source(tmp_path / "net", GRAPHS["siamese"](), {})
    code = (tmp_path / "net" / "net.py").read_text()
    assert "self.conv_right.weight = self.conv_left.weight\n" in code
    assert sorted(load_file(tmp_path / "net" / "weights.safetensors")) == ["conv_left.bias", "conv_left.weight"]


def test_folded_and_rewritten_graphs_are_written(tmp_path: Path) -> None:
    graph = upsample_convolution(fold_batch_norm(icnet_graph(merged=False)))
    assert write_source(tmp_path / "net", graph, {}) == 0
    code = (tmp_path / "net" / "net.py").read_text()
    assert "class UpsampledConvolution(nn.Module):" in code and "BatchNorm" not in code


IDENTIFIERS = ["import", "__class__", "__init__", "_modules", "self", "Self", "torch", "x", "F", "Net", "load", "data"]
NASTY = [
    'x")); open("ran", "w"); ((',
    "'\nopen('ran', 'w')\n'",
    '"""\nopen("ran","w")#',
    "# \u2028open('ran', 'w')",
    "\\",
    "\\N{BULLET}{0}%s{self}",
    "pop",
    "\N{LATIN SMALL LIGATURE FI}",
    "name with blanks ",
    "tab\tand\rreturn",
    "0",
    "1.5",
]


@pytest.mark.parametrize("names", [IDENTIFIERS, [*IDENTIFIERS, *NASTY]], ids=["attributes", "keys"])
def test_no_name_injects_code(tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    escaped = ["".join(f"\\{byte:03o}" for byte in name.encode()) for name in names]
    text = f'name: "{escaped[-1]}"\n' + image(4, 5, "first")
    for name in escaped:
        text += convolution(name, "first", name, 3) + layer("ReLU", f"{name}_relu", name, f"{name}_top")
        text += layer("Power", f"{name}_power", name, f"{name}_other")
    graph = graph_of(text)
    provenance = {"file": escaped[-1], "md5": NASTY[0], "sha256": NASTY[2]}
    assert write_source(tmp_path / "net", graph, provenance) == 0
    inputs = inputs_of(graph)
    found = run_alone(tmp_path / "net", inputs, tmp_path / "elsewhere")
    expected = outputs_of(graph(*inputs))
    assert found.keys() == expected.keys() and len(found) == 2 * len(names)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not list(tmp_path.rglob("ran"))
    assert ruff("format", "--check", "--config", ROOT / "ruff.toml", tmp_path / "net") == ""


def classes() -> list[type[nn.Module]]:
    modules = [
        importlib.import_module(f"converter.layers.{m.name}") for m in pkgutil.iter_modules(converter.layers.__path__)
    ]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__ == module.__name__
    ]


def test_the_source_of_all_layers_together() -> None:
    excerpts = Excerpts({"torch", "nn", "F"})
    names = [excerpts.add(kind) for kind in classes()]
    assert len(names) == len(set(names)) > 50
    text = "\n".join(sorted(found.statement() for found in excerpts.imports)) + "\n\n\n" + excerpts.text()
    assert imports(text) - set(sys.stdlib_module_names) == {"torch"}
    namespace: dict[str, object] = {}
    exec(compile("from __future__ import annotations\n" + text, "all.py", "exec"), namespace)
    assert all(inspect.isclass(namespace[name]) for name in names)


def test_a_class_within_a_function_is_refused(tmp_path: Path) -> None:
    @register("Local", bottoms=1, tops=1)
    def local(params: Params, shapes: list[tuple[int, ...]], blobs: Blobs) -> nn.Module:
        class Local(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + 1

        return Local()

    graph = graph_of(image(4, 4) + layer("Local", "here", "data", "y"))
    with pytest.raises(InputError, match="cannot be written as source"):
        write_source(tmp_path / "net", graph, {})
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_module_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a factor that is off by one per mille."""
    from converter.export.source import constructors

    monkeypatch.setattr(constructors, "number", lambda value: repr(value * 1.001))
    graph = graph_of(image(4, 4) + layer("Power", "p", "data", "y", "power_param { scale: 1.25 }"))
    with pytest.raises(InputError, match="differs from the graph"):
        write_source(tmp_path / "net", graph, {})
    assert list(tmp_path.iterdir()) == []


def test_only_packages_of_this_kind_are_replaced(tmp_path: Path) -> None:
    graph = graph_of(FULLY)
    write_source(tmp_path / "net", graph, {"file": "first"})
    write_source(tmp_path / "net", graph, {"file": "second"})
    assert "Weights: second" in (tmp_path / "net" / "net.py").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    (tmp_path / "net" / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="is there already"):
        write_source(tmp_path / "net", graph, {})
    assert (tmp_path / "net" / "mine.txt").read_text() == "keep me"


def test_layout() -> None:
    names = [f"a_rather_long_name_{index}" for index in range(6)]
    wide = [laid_out(InfixChain("+", names), INDENT, "x = ")]
    wide.append(laid_out(call("f", InfixChain("+", [*names, *names])), INDENT, "y = "))
    wide.append(laid_out(call("torch.cat", list_of(names), "1"), INDENT, "z = ", "  # Concat"))
    wide.append(laid_out(dict_of((quoted(name), name) for name in names), INDENT, "return "))
    short = [laid_out(tuple_of(["1"]), INDENT, "t = "), laid_out(call("f"), INDENT, "u = ")]
    code = "def f():\n" + "\n".join([*short, *wide]) + "\n"
    ast.parse(code)
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--config", ROOT / "ruff.toml", "-"],
        input=code, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == code


@pytest.mark.parametrize("text", ["plain", "it's", 'say "x"', "'\"", "a\\b", "\n\x00\u2028", "\ud800"])
def test_quoted(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text and "\n" not in quoted(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_public_architectures(tmp_path: Path, name: str) -> None:
    shared("golden", "nets")
    graph = seeded_graph(name)
    assert write_source(tmp_path / "net", graph, {}) == 0
    assert ruff("format", "--check", "--config", ROOT / "ruff.toml", tmp_path / "net") == ""


def test_every_graph_keeps_its_module_names(tmp_path: Path) -> None:
    graph: fx.GraphModule = GRAPHS["icnet"]()
    write_source(tmp_path / "net", graph, {})
    assert load_file(tmp_path / "net" / "weights.safetensors").keys() == graph.state_dict().keys()
