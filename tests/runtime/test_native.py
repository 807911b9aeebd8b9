"""The kernels, compiled to all instructions that this processor has, against the plain network in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from converter.passes.upsample_convolution import UpsampledConvolution
from icnet_common.errors import InputError
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.runtime import engine, rewritten
from pytorch_icnet.runtime.cache import Cache, Unavailable
from pytorch_icnet.runtime.native import borders, compiler
from pytorch_icnet.runtime.native.compiler import ALL_INSTRUCTIONS, Instructions, NumberFormat, cpp_compiler
from pytorch_icnet.runtime.native.network import pyramid_matrices
from pytorch_icnet.runtime.native.program import packed, split_numbers

from ..golden import arrays, shared
from ..nets import seeded
from .judging import gap, image, judged


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of the file, so that the kernels are compiled once."""
    return tmp_path_factory.mktemp("kernels") / "cache"


class Emulated(Instructions):
    """Instructions that this processor need not have: AVX2 does their work."""

    def flags(self) -> list[str]:
        header = Path(__file__).parent / "emulated.hpp"
        tiles = ["-DTILES"] if "amx_tile" in self.needed else []
        return [*ALL_INSTRUCTIONS[-1].flags(), *tiles, "-include", str(header)]

    def missing(self) -> list[str]:
        return ALL_INSTRUCTIONS[-1].missing()


EMULATED = [
    pytest.param(Emulated(one.name, one.needed, one.formats), id=f"{one.name}-emulated", marks=pytest.mark.slow)
    for one in ALL_INSTRUCTIONS[:-1]
    if one.missing()
]


@pytest.fixture(scope="module", params=[*ALL_INSTRUCTIONS, *EMULATED], ids=lambda one: one.name)
def kernels(request: pytest.FixtureRequest, cache: Path) -> Iterator[Instructions]:
    """Nothing but these instructions, and the kernels compiled to them."""
    chosen: Instructions = request.param
    if chosen.missing():
        pytest.skip(f"the processor lacks {', '.join(chosen.missing())}")
    try:
        compiler.library(Cache(cache), chosen)
    except Unavailable as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "ALL_INSTRUCTIONS", (chosen,))
        yield chosen


@pytest.mark.parametrize("size", [(65, 65), (65, 129), (129, 97), (161, 65)], ids=str)
def test_any_number_of_threads_gives_the_same_scores(size: tuple[int, int], kernels: Instructions, cache: Path) -> None:
    net, x = seeded(width=0.5), image(size)
    for precision in kernels.formats:
        all_scores = [
            engine(net, precision=precision, size=size, backend="native", threads=threads, cache_dir=cache)(x)
            for threads in (1, 2, 5)
        ]
        assert gap(all_scores[0], judged(net, x)) < {"fp32": 1e-6, "bf16": 0.03}[precision]
        assert all(torch.equal(scores, all_scores[0]) for scores in all_scores)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0.3, "num_classes": 40},
        {"channels": {"conv1_2_3x3": 7, "conv4_2_3x3": 33, "conv_sub2": 20, "conv3_sub1_proj": 20}},
        {"pyramid": {"pool1": (3, 5, 3, 5), "pool2": (2, 3, 1, 2), "pool3": (1, 2, 1, 1), "pool6": (1, 1, 1, 1)}},
    ],
    ids=["classes", "pruned", "windows"],
)
def test_other_networks(options: dict[str, object], kernels: Instructions, cache: Path) -> None:
    net, x = seeded(**options), image((65, 129), 2)
    ready = engine(net, size=(65, 129), backend="native", cache_dir=cache)
    assert gap(ready(x), judged(net, x)) < 2e-6


def test_calls_do_not_leave_traces(kernels: Instructions, cache: Path) -> None:
    """Windows and borders are clean again after each call, whatever the image was."""
    net, x = seeded(), image((97, 97))
    ready = engine(net, size=(97, 97), backend="native", cache_dir=cache)
    first = ready(x)
    ready(torch.full_like(x, 1e4))
    assert torch.equal(ready(x), first)


@pytest.fixture(scope="module")
def pictures() -> list[torch.Tensor]:
    """Eight inputs of one size: the golden one, turned and mirrored, with its channels in both orders."""
    x = arrays(shared("golden", "icnet", "bnnomerge_129x257.npz"))["data"]
    return [each.flip(axes) for each in (x, x.flip(1)) for axes in ((), (-1,), (-2,), (-1, -2))]


def rounding_error(
    compute: Callable[[torch.Tensor], torch.Tensor], exact: list[torch.Tensor], pictures: list[torch.Tensor]
) -> float:
    """The mean square difference from the scores in float64, over all pictures."""
    with torch.inference_mode():
        errors = [(compute(x).double() - y).square().mean() for x, y in zip(pictures, exact, strict=True)]
    return float(torch.stack(errors).mean())


def test_float32_rounds_less_than_the_plain_net(
    kernels: Instructions, cache: Path, pictures: list[torch.Tensor]
) -> None:
    """Over several pictures: which of two sums comes out nearer for one picture is chance.

    On the golden input the plain net's error depends on the convolutions that oneDNN chooses for the processor: with
    AVX-512 it is 0.9e-9, with AVX2 2.0e-9, and the vector kernels' 1.1e-9 lies between. Over all eight it is 1.8e-9
    with AVX-512, where oneDNN rounds least; 1.3e-9 by the vector kernels and 0.3e-9 by the tiles.
    """
    plain = icnet(shared("golden", "icnet", "icnet_merged_from_bn.caffemodel")).eval()
    exact = [judged(plain, x) for x in pictures]
    plainly = rounding_error(plain.quarter_scores, exact, pictures)
    ready = engine(plain, size=(129, 257), backend="native", cache_dir=cache)
    assert rounding_error(ready, exact, pictures) < plainly

    generator = torch.Generator().manual_seed(0)
    for parameter in plain.parameters():  # the control: two to four units in the weights' last place are too much
        signs = 1 - 2 * torch.randint(2, parameter.shape, generator=generator)
        parameter.data.mul_(1 + signs * 2.0**-22)
    worse = engine(plain, size=(129, 257), backend="native", cache_dir=cache)
    assert rounding_error(worse, exact, pictures) > 1.5 * plainly


@pytest.mark.parametrize("size", [(33, 65), (66, 98), (65, 104)], ids=str)
def test_other_sizes_are_left_to_other_backends(size: tuple[int, int], kernels: Instructions, cache: Path) -> None:
    with pytest.raises(InputError, match="native cannot be used: the kernels take heights and widths of 65"):
        engine(seeded(), size=size, backend="native", cache_dir=cache)


def test_the_instructions_that_a_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "ALL_INSTRUCTIONS", ALL_INSTRUCTIONS)
    amx, avx512, avx2 = ALL_INSTRUCTIONS
    for flags, expected in ((amx.needed, amx), (amx.needed - {"amx_bf16"}, avx512), (avx2.needed | {"avx512f"}, avx2)):
        monkeypatch.setattr(compiler, "processor_flags", lambda flags=flags: flags)
        assert compiler.instructions("fp32") is expected
    with pytest.raises(Unavailable, match="lacks amx_bf16, amx_tile"):
        compiler.instructions("bf16")
    with pytest.raises(Unavailable, match="computes float32 and bfloat16"):
        compiler.instructions("fp16")
    monkeypatch.setattr(compiler, "processor_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(Unavailable, match=r"lacks fma$"):
        compiler.instructions("fp32")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ALL_INSTRUCTIONS, ids=lambda one: one.name)
def test_a_compiler_takes_the_kernels(chosen: Instructions, tmp_path: Path) -> None:
    """For any of the instructions; what was compiled is not run."""
    if cpp_compiler() is None:
        pytest.skip("there is no C++ compiler")
    compiler.compile_kernels(tmp_path / "kernels.so", chosen)
    assert (tmp_path / "kernels.so").stat().st_size > 10_000


def test_a_machine_without_a_compiler(kernels: Instructions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Unavailable, match=r"no C\+\+ compiler"):
        compiler.library(Cache(tmp_path / "cache"), kernels)


def test_a_compiler_that_fails(kernels: Instructions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(Unavailable, match="cannot compile the kernels"):
        compiler.library(Cache(tmp_path / "cache"), kernels)
    assert not list((tmp_path / "cache").glob("*.so"))


@pytest.mark.parametrize("size", [(3, 3), (4, 7), (9, 5)], ids=str)
def test_borders_are_means_of_the_coarse_result(size: tuple[int, int]) -> None:
    """The lines and pairs, followed in NumPy's way, against the module that they stand for."""
    torch.manual_seed(0)
    weight, bias = torch.randn(2, 3, 3, 3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    x = torch.randn(3, *size, dtype=torch.float64)
    padded = F.pad(x, (1, 1, 1, 1))
    coarse = torch.full((2, size[0] + 2, size[1] + 2), torch.nan, dtype=torch.float64)
    for row, column, out_row, out_column, count, vertical, top, bottom, left, right in borders.lines(*size):
        for i in range(count):
            r, c = (i, 0) if vertical else (0, i)
            taps = padded[:, row + r + top : row + r + bottom, column + c + left : column + c + right]
            value = torch.einsum("oihw,ihw->o", weight[:, :, top:bottom, left:right], taps) + bias
            assert coarse[:, out_row + r, out_column + c].isnan().all(), "computed twice"
            coarse[:, out_row + r, out_column + c] = value
    rows, columns = (torch.from_numpy(borders.pairs(n)).long() for n in size)
    corners = [coarse[:, rows[:, i]][:, :, columns[:, j]] for i, j in itertools.product((0, 1), repeat=2)]
    fine = torch.stack(corners).mean(0)
    module = UpsampledConvolution(torch.nn.Parameter(weight), torch.nn.Parameter(bias))
    assert gap(fine, module(x[None])[0].detach()) < 1e-12


def test_the_pyramid_as_matrices() -> None:
    net = rewritten(seeded().double())
    assert isinstance(net, ICNet)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    pool, spread = pyramid_matrices(net, 3, 4)
    flat = x.flatten(2)
    assert gap((flat + flat @ (spread @ pool).T).reshape(x.shape), net._pyramid_sum(x)) < 1e-12


def test_numbers_are_split_without_loss() -> None:
    values = torch.randn(1000) * torch.logspace(-20, 20, 1000)
    first, second, third = (part.float() for part in split_numbers(values, 3))
    assert torch.equal(first + (second + third), values)
    assert torch.equal(split_numbers(values, 1)[0], values.bfloat16())


def test_weights_in_the_order_of_the_tiles() -> None:
    weight = torch.arange(40 * 3 * 2).reshape(40, 3, 2, 1).float().remainder(97)
    found = torch.from_numpy(packed(weight, 2, NumberFormat.BFLOAT16).view(np.int16)).view(torch.bfloat16).float()
    assert found.shape == (2, 2, 1, 1, 1, 2, 16, 16, 2)
    for output, channel, row in ((0, 0, 0), (39, 2, 1), (17, 1, 0), (33, 0, 1)):
        place = (output // 32, row, 0, 0, 0, output % 32 // 16, channel // 2, output % 16, channel % 2)
        assert found[place] == weight[output, channel, row, 0]
    assert found.sum() == weight.sum()


def test_weights_in_the_order_of_the_vectors() -> None:
    weight = torch.arange(40 * 35 * 2).reshape(40, 35, 2, 1).float()
    found = packed(weight, 2, NumberFormat.FLOAT32)
    assert found.shape == (2, 2, 1, 2, 2, 16, 2, 16)
    for output, channel, row in ((0, 0, 0), (39, 34, 1), (17, 1, 0), (33, 31, 1)):
        place = (output // 32, row, 0, channel // 32, output % 32 // 16, channel % 32 // 2, channel % 2, output % 16)
        assert found[place] == weight[output, channel, row, 0]
    assert found.sum(dtype=np.float64) == weight.double().sum()
