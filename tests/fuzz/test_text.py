"""Mutated and generated texts: read, and then written and read back equal, or refused with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prototxt import Net, PrototxtError, net_text, read_net

from . import corpus
from .mutate import mutations

PUNCTUATION = b"{}<>[]:;,.-#'\"\\ \n\t0179xXeEf_+\0\x80\xff"

WORDS = r"""
{ } < > [ ] : ; , - 0 1 -1 3.5 .5 1e400 nan 0x10 010 "a" 'b' "\303" #
name layer layers input input_dim input_shape dim type bottom top include exclude phase TEST TRAIN min_level
stage state convolution_param num_output pad kernel_size pooling_param pool AVE round_mode FLOOR
blobs data shape double_data num param lr_mult loss_weight true false CONVOLUTION RELU clip_param min max
""".split()  # noqa: SIM905


def net_of(data: bytes, path: Path) -> Net | None:
    path.write_bytes(data)
    try:
        return read_net(path)
    except PrototxtError as error:
        assert str(error).startswith(f"{path}:") and "\n" not in str(error) and len(str(error)) < 3000
        return None


def reads_back_equal(net: Net) -> bool:
    """Not a number is the one value that is not equal to itself."""
    again = read_net(net_text(net) + "\n")
    return again == net or "nan" in net_text(net)


def check(data: bytes, path: Path) -> bool:
    net = net_of(data, path)
    if net is None:
        return False
    with np.errstate(all="ignore"):
        assert reads_back_equal(net)
    return True


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)], ids=["few", "many"])
def test_mutations(count: int, tmp_path: Path) -> None:
    files = mutations(corpus.texts(), count, seed=count, telling=PUNCTUATION)
    accepted = sum(check(data, tmp_path / "net.prototxt") for data in files)
    assert count // 50 < accepted < count // 2


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from([*WORDS, "\n"]), max_size=30).map(" ".join) | st.text(max_size=40) | st.binary(max_size=40)
)
def test_generated_texts(tmp_path: Path, text: str | bytes) -> None:
    check(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), tmp_path / "net.prototxt")


def test_the_corpus_is_read(tmp_path: Path) -> None:
    assert all(check(data, tmp_path / "net.prototxt") for data in corpus.texts())
