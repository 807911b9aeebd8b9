"""Each call of each module, in float32, against the published networks': order, shape, spread and four values.

Supervisely's copy has no such file of its own; its keys, weights and outputs are pytorch-semseg's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pytorch_icnet.variants import liminn
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.semseg import SemSegICNet

from . import goldens, mmseg_golden
from .layers import Trace, diverging, in_other_order, missing
from .mmseg_golden import DEPTHS, FOLDERS

LIMIT = 1e-4
"""Of a difference, over the spread of the output. Seen: 1.5e-5 (liminn), 4e-8 (pytorch-semseg)."""


def traced_liminn(patch: pytest.MonkeyPatch, model: LiminnICNet) -> Trace:
    """The pyramid and the head are functions here, or give the scores in other places: noted as published."""
    trace, pyramid = Trace(), liminn.pyramid_sum

    def noted(x: torch.Tensor) -> torch.Tensor:
        total = pyramid(x)
        trace.note("ppm", total)
        return total

    patch.setattr(liminn, "pyramid_sum", noted)
    with trace.of(model):
        outputs = model.outputs(goldens.image(1, 3, 128, 256, seed=2))
    # Ours gives the last three of the published head's four outputs.
    trace.rows = [row for row in trace.rows if not row.name.startswith("head[")]
    trace.note("head", outputs)
    return trace


def published_liminn() -> Trace:
    return Trace.published("liminn", "layers_128x256.json")


def test_liminn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row by row where the late stages also run on the image at a half, as published."""
    ours = traced_liminn(monkeypatch, goldens.load_strict(LiminnICNet(published_mistakes=True)))
    theirs = published_liminn()
    assert [row.key for row in ours.rows] == [row.key for row in theirs.rows]
    assert diverging(ours, theirs, LIMIT) is None


def test_liminn_without_the_run_that_nothing_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published rows but for one of the two calls of the late stages."""
    ours = traced_liminn(monkeypatch, goldens.load_strict(LiminnICNet()))
    theirs = published_liminn()
    late = ("pretrained.layer3", "pretrained.layer4")
    half = [row for row in theirs.rows if row.name.startswith(late) and len(row.shape) == 4 and row.shape[2] == 8]
    assert {row.call for row in half} == {0, 1, 2}  # ReLUs are called three times in a block
    kept = Trace()
    for row in theirs.rows:
        if row not in half:
            kept._add(row.name, row.shape, row.numbers)
    assert [row.key for row in ours.rows] == [row.key for row in kept.rows]
    assert diverging(ours, kept, LIMIT) is None


def late_dilation(model: Any) -> None:
    first = model.pretrained.layer4[0].conv2
    first.dilation = first.padding = (4, 4)


def small_epsilon(model: Any) -> None:
    model.pretrained.layer2[1].bn2.eps = 1e-2


@pytest.mark.parametrize(
    ("broken", "where"),
    [(late_dilation, "pretrained.layer4.0.conv2"), (small_epsilon, "pretrained.layer2.1.bn2")],
)
def test_the_first_wrong_layer_is_found(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[Any], None], where: str
) -> None:
    model = goldens.load_strict(LiminnICNet(published_mistakes=True))
    broken(model)
    assert diverging(traced_liminn(monkeypatch, model), published_liminn(), LIMIT) == where


def traced_semseg(model: SemSegICNet) -> Trace:
    """With the heads of training, and the second run of ``res_block3_identity``, which eval mode leaves out."""
    trace, features = Trace(), []
    handle = model.conv5_4_k1.register_forward_hook(lambda module, inputs, output: features.append(output))
    with trace.of(model):
        model.cascade_scores(goldens.image(1, 3, 1025, 2049, seed=0))
        model.res_block3_identity(features[0])
    handle.remove()
    heads = {f"{name}.low_classifier_conv": f"{name}[1]" for name in ("cff_sub24", "cff_sub12")}
    for row in [row for row in trace.rows if row.name in heads]:
        trace.rows.append(row._replace(name=heads[row.name]))
    return trace.renamed({name: f"{name}[0]" for name in ("cff_sub24", "cff_sub12")})


def published_semseg() -> Trace:
    return Trace.published("semseg_icnetBN", "layers_1025x2049.json")


@pytest.mark.slow
def test_semseg() -> None:
    """The fusions' scores are computed at the end here; the order is the published one in all other parts."""
    ours, theirs = traced_semseg(goldens.load_strict(SemSegICNet())), published_semseg()
    assert missing(ours, theirs) == [] and missing(theirs, ours) == []
    assert in_other_order(ours, theirs) == ["cff_sub24", "cff_sub12"]
    assert diverging(ours, theirs, LIMIT) is None


@pytest.mark.slow
def test_caffes_stride_is_found() -> None:
    ours = traced_semseg(goldens.load_strict(SemSegICNet(caffe_faithful=True)))
    assert diverging(ours, published_semseg(), LIMIT) == "res_block3_conv.layers.0.cbr1.cbr_unit.0"


@pytest.mark.parametrize("depth", DEPTHS)
def test_mmseg(depth: int) -> None:
    """All but the list of the pyramid's resized pools, which is no module's output here.

    The fusions give their two outputs the other way round.
    """
    trace, model = Trace(), mmseg_golden.network(depth, torch.float32)
    with trace.of(model):
        model(mmseg_golden.image((129, 257), torch.float32))
    for fusion in ("neck.cff_24", "neck.cff_12"):
        places = [place for place, row in enumerate(trace.rows) if row.name.startswith(f"{fusion}[")]
        first, second = (trace.rows[place] for place in places)
        trace.rows[places[0]], trace.rows[places[1]] = (
            second._replace(name=first.name),
            first._replace(name=second.name),
        )
    theirs = Trace.published(FOLDERS[depth], "layers_129x257.json")
    assert missing(trace, theirs) == [f"backbone.psp_modules[{place}]" for place in range(4)]
    assert missing(theirs, trace) == ["decode_head.dropout", "decode_head"]
    assert in_other_order(trace, theirs) == []
    assert diverging(trace, theirs, LIMIT) is None
