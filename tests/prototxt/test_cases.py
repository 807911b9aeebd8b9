"""The 236 edge cases with what the original Caffe does with each of them.

The weights and mean files, made from seeded weights, are in ``data``; the texts are among the large references.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt import PrototxtError, WeightsError, read_mean, read_net, read_weights

from ..golden import SHARED

DATA = Path(__file__).parent / "data"
CASES = SHARED / "golden" / "formats" / "cases"

#: Texts that Caffe refuses for what concerns the graph, its shapes or its layers, which whoever builds the graph finds.
TEXTS_OF_LATER_STAGES = set(
    """
    v0_no_type v1_type_missing v2_type_enum type_missing type_unknown type_case op_python
    bottom_missing dup_top bottom_undefined cycle order_forward_ref too_many_tops inplace_concat inplace_eltwise
    input_layer_no_shape input_neg_dim input_in_train_only
    share_within_layer share_too_many_params share_relu_param
    conv_k_both conv_k_h_only conv_k_missing conv_k_big conv_n_missing conv_n_zero conv_group_bad conv_engine_cudnn
    pool_glob_k pool_k_none
    op_eltwise_coeff_count op_eltwise_prod_coeff op_reshape_two_neg op_reshape_axis op_reshape_scalar
    op_reshape_zero_oob op_flatten_bad op_scale_two_4d op_lrn_even op_data_lmdb op_hdf5data
    loss_weight_count blobs_in_text_wrong
    """.split()  # noqa: SIM905
)
#: Weights that Caffe refuses for a net that they do not fit, which whoever loads them into the net finds.
WEIGHTS_OF_LATER_STAGES = set(
    "blob_count blob_extra shape_transposed shape_4d_ip bias_4d_new split_layer_message".split()  # noqa: SIM905
)


def rows(index: Path, kind: str) -> list[dict[str, str]]:
    if not index.exists():
        return []
    with index.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["file"].startswith(kind)]


def stem(row: dict[str, str]) -> str:
    return Path(row["file"]).name.partition(".")[0]


def layers_in(result: str) -> list[tuple[str, str]]:
    """Name and type of each layer in the index's ``result``, without the Split layers that Caffe inserts."""
    found = re.findall(r"(?:^|; )([^;]*?)\((\w+)\)", result, re.DOTALL)
    return [(name, kind) for name, kind in found if not (kind == "Split" and name.endswith("_split"))]


def blobs_in(result: str) -> dict[str, list[tuple[float, float, float]]]:
    """Layer name to sum, first and last value of each of its blobs."""
    blobs = {}
    for part in result.split("; "):
        values = re.findall(r"P\[[\d,]*\] sum=(\S+) first=(\S+) last=(\S+)", part)
        if values:
            blobs[part.partition("(")[0]] = [tuple(map(float, triple)) for triple in values]
    return blobs  # type: ignore[return-value]


TEXTS = rows(CASES / "index.csv", "text/")
WEIGHTS = rows(DATA / "index.csv", "weights/")


@pytest.mark.skipif(not TEXTS, reason="needs ../shared/golden")
@pytest.mark.parametrize("row", TEXTS, ids=map(stem, TEXTS))
def test_text(row: dict[str, str]) -> None:
    options: dict[str, Any] = {}
    if "--train" in row["args"]:
        options["phase"] = "TRAIN"
    if found := re.search(r"--level=(\d+)", row["args"]):
        options["level"] = int(found[1])
    if found := re.search(r"--stages=(\S+)", row["args"]):
        options["stages"] = found[1].split(",")
    assert bool(row["args"]) == bool(options), "an option that this test does not know"
    if row["caffe"] == "reject" and stem(row) not in TEXTS_OF_LATER_STAGES:
        with pytest.raises(PrototxtError, match=re.escape(Path(row["file"]).name)):
            read_net(CASES / row["file"], **options)
        return
    net = read_net(CASES / row["file"], **options)
    if row["caffe"] == "accept":
        assert [(layer.name, layer.type) for layer in net.layers] == layers_in(row["result"])
        first = re.match(r"[^;]*\(Input\) data\[([\d,]*)\]", row["result"])
        if first and not stem(row).startswith("inplace"):  # where the index has the shape after the net ran
            assert net.inputs["data"] == tuple(map(int, filter(None, first[1].split(","))))


@pytest.mark.skipif(not TEXTS, reason="needs ../shared/golden")
def test_every_text_is_told() -> None:
    assert len(TEXTS) + len(WEIGHTS) + len(rows(DATA / "index.csv", "mean/")) == 236
    rejected = {stem(row) for row in TEXTS if row["caffe"] == "reject"}
    assert rejected >= TEXTS_OF_LATER_STAGES
    assert len(rejected - TEXTS_OF_LATER_STAGES) == 35


@pytest.mark.parametrize("row", WEIGHTS, ids=[row["file"].removeprefix("weights/") for row in WEIGHTS])
def test_weights(row: dict[str, str]) -> None:
    path = DATA / row["file"]
    if path.read_bytes().startswith(b"\x89HDF"):
        pytest.importorskip("h5py")
    if row["caffe"] == "reject" and stem(row) not in WEIGHTS_OF_LATER_STAGES:
        with pytest.raises(WeightsError, match=re.escape(path.name)):
            read_weights(path)
        return
    weights = read_weights(path)
    if row["caffe"] == "accept":
        expected = blobs_in(row["result"])
        assert set(expected) == {"conv1", "bn", "sc", "pr", "ip"}
        for name in set(weights) & set(expected):
            for blob, (total, first, last) in zip(weights[name], expected[name], strict=True):
                values = blob.reshape(-1).astype(np.float32)
                assert values[[0, -1]].tolist() == pytest.approx([first, last], rel=1e-7, nan_ok=True)
                assert values.sum(dtype=np.float64) == pytest.approx(total, rel=1e-7, nan_ok=True)
        if stem(row) not in ("missing_layer", "v1", "v1_full", "v0_with_input", "empty", "zeros"):
            assert set(weights) >= set(expected)


def test_the_expected_values_are_told_apart() -> None:
    """The comparison above fails for other values: a repeated layer's first blobs are not the ones expected."""
    (row,) = (row for row in WEIGHTS if stem(row) == "dup_layer")
    assert blobs_in(row["result"])["conv1"][0] == (378, 7, 7)
    first = read_weights(DATA / "weights" / "raw_packed.caffemodel")["conv1"][0]
    assert first.sum() != pytest.approx(378, rel=1e-3)


@pytest.mark.parametrize("row", rows(DATA / "index.csv", "mean/"), ids=stem)
def test_mean(row: dict[str, str]) -> None:
    shape, total, first = re.fullmatch(r"mean \[([\d,]+)\] sum=(\S+) first=(\S+) last=\S+", row["result"]).groups()  # type: ignore[union-attr]
    mean = read_mean(DATA / row["file"])
    assert mean.shape == tuple(map(int, shape.split(","))) and mean.dtype == np.float32
    assert float(mean.flat[0]) == pytest.approx(float(first), rel=1e-7)
    assert mean.sum(dtype=np.float64) == pytest.approx(float(total), rel=1e-7)
