"""ICNet against the original Caffe and against the converted graph."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from converter import activations, load_caffe, summary
from converter.compare import LIMIT, differences, first_diverging
from converter.graph import Weights, translate
from icnet_common.errors import InputError
from prototxt import bundled_net, read_net
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.icnet import SIZES, check_size, folded
from pytorch_icnet.pyramid import windows
from pytorch_icnet.weights.caffe import fitting_net, pyramid_of, resized_net
from pytorch_icnet.weights.convert import normalized

from ..golden import arrays, assert_close, shared
from ..nets import blobs_of, seeded

UNMERGED = ("icnet_cityscapes_bnnomerge", "icnet_bnnomerge_rand.caffemodel")
MERGED = ("icnet_cityscapes", "icnet_merged_from_bn.caffemodel")
GOLDENS = [
    ("bnnomerge_97x161_all_layers", UNMERGED, (97, 161), 219),
    ("bnnomerge_129x257", UNMERGED, (129, 257), 22),
    ("bnnomerge_133x262", UNMERGED, (133, 262), 4),
    ("merged_from_bn_129x257", MERGED, (129, 257), 22),
]
WINDOWS = {
    (33, 65): {
        "pool1": (33, 65, 33, 65),
        "pool2": (17, 33, 16, 32),
        "pool3": (13, 25, 10, 20),
        "pool6": (8, 15, 5, 10),
    },
    (5, 9): {"pool1": (5, 9, 5, 9), "pool2": (3, 5, 2, 4), "pool3": (3, 5, 1, 2), "pool6": (1, 4, 1, 1)},
    (13, 17): {"pool1": (13, 17, 13, 17), "pool2": (7, 9, 6, 8), "pool3": (7, 7, 3, 5), "pool6": (8, 7, 1, 2)},
    (1, 2): {"pool1": (1, 2, 1, 2), "pool2": (1, 1, 1, 1), "pool3": (1, 1, 1, 1), "pool6": (1, 1, 1, 1)},
}
"""By the rule, written out."""


@pytest.mark.parametrize(("name", "files", "size", "layers"), GOLDENS, ids=[golden[0] for golden in GOLDENS])
def test_both_nets_equal_caffe(name: str, files: tuple[str, str], size: tuple[int, int], layers: int) -> None:
    golden = shared("golden", "icnet")
    pyramid = json.loads((golden / "pyramid_windows.json").read_text())[f"{size[0]}x{size[1]}"]
    references = arrays(golden / f"{name}.npz")
    assert len(references) == layers + 1
    weights = golden / files[1]
    graph = load_caffe(resized_net(read_net(bundled_net(files[0])), size, pyramid), weights)
    model = icnet(weights, merged=files is MERGED, pyramid=pyramid)
    for kind, net in (("graph", graph), ("ICNet", model)):
        print(
            f"{name}, {kind}: {layers} layers, {assert_close(activations(net, references['data']), references, LIMIT)}"
        )


def test_folding_changes_nothing_but_noise() -> None:
    golden = shared("golden", "icnet")
    weights = golden / UNMERGED[1]
    image = arrays(golden / "bnnomerge_129x257.npz")["data"]
    unfolded, merged = icnet(weights, merged=False), icnet(weights)
    references = normalized(activations(unfolded, image))
    print(f"folded and unfolded: {assert_close(activations(merged, image), references, LIMIT, expected=[])}")
    published = icnet(golden / MERGED[1])
    assert_close(activations(merged, image), activations(published, image), LIMIT)


def test_a_stride_on_the_3x3_is_noticed() -> None:
    model, broken = seeded(), seeded()
    broken.get_submodule("conv3_1_1x1_reduce").stride = (1, 1)  # type: ignore[assignment]
    broken.get_submodule("conv3_1_3x3").stride = (2, 2)  # type: ignore[assignment]
    image = torch.randn(1, 3, 65, 129, generator=torch.Generator().manual_seed(1))
    found = differences(activations(broken, image), activations(model, image))
    diverging = first_diverging(found)
    assert diverging is not None and diverging.layer == "conv3_1_1x1_reduce"
    assert max(item.relative for item in found if item.layer == "conv6_interp") > 100 * LIMIT


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("size", [(33, 65), (104, 200), (129, 257)])
def test_the_graph_and_the_hand_written_net_are_equal(merged: bool, size: tuple[int, int]) -> None:
    model = seeded(merged=merged, num_classes=7)
    blobs = blobs_of(model)
    graph = translate(resized_net(fitting_net(blobs, "test"), size), Weights(blobs))
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    ours = activations(model, image)
    assert_close(activations(graph, image), ours, 1e-6)
    assert ours["conv6_interp"].shape == (2, 7, (size[0] - 1) // 32 * 32 + 1, (size[1] - 1) // 32 * 32 + 1)
    assert set(graph.state_dict()) == set(model.state_dict())


def test_folding_a_narrow_net_in_float64() -> None:
    model = seeded(merged=False, num_classes=5, aux=True).double()
    image = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    merged = folded(model)
    assert_close(activations(merged, image), normalized(activations(model, image)), 1e-12, expected=[])
    assert torch.equal(merged.get_submodule("conv6_sub4").weight, model.get_submodule("conv6_sub4").weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", WINDOWS)
def test_pyramid_windows(size: tuple[int, int]) -> None:
    assert windows(*size) == WINDOWS[size]


def test_windows_follow_the_size_and_can_be_given() -> None:
    model = seeded()
    image = torch.randn(1, 3, 129, 257, generator=torch.Generator().manual_seed(1))
    reference = model(image)
    model.pyramid = {**WINDOWS[(5, 9)], "interp": (5, 9)}
    assert torch.equal(model(image), reference)
    model.pyramid = {**WINDOWS[(33, 65)], "interp": (5, 9)}
    assert not torch.allclose(model(image), reference)


def test_the_bundled_nets_have_the_default_windows_and_the_known_cost() -> None:
    for name in (MERGED[0], UNMERGED[0]):
        assert pyramid_of(read_net(bundled_net(name))) is None
    rows = summary(bundled_net(MERGED[0]))
    assert sum(row["macs"] for row in rows) == 29_811_584_064
    assert sum(row["parameters"] for row in rows) == 6_685_715 + 3
    assert rows[-1]["top_shapes"] == [[1, 19, 1025, 2049]]


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1025, (1025,)), (1032, (1032,)), (1033, (1032, 1057)), (1024, (1000, 1025)), (7, (7,)), (20, (8, 33)), (0, (1,))],
)
def test_legal_sizes(n: int, expected: tuple[int, ...]) -> None:
    assert SIZES.nearest(n) == expected


def test_every_legal_size_works_and_no_other() -> None:
    model = seeded()
    for n in range(33, 70):
        image = torch.zeros(1, 3, n, 33)
        if SIZES.nearest(n) == (n,):
            assert model(image).shape[-2:] == ((n - 1) // 32 * 32 + 1, 33)
        else:
            with pytest.raises(InputError, match="nearest legal heights"):
                model(image)


def test_an_illegal_size_names_the_legal_ones() -> None:
    with pytest.raises(InputError, match=r"heights are 1000 and 1025, widths 2024 and 2049"):
        check_size(1024, 2048)


def test_quarter_scores_and_the_training_heads() -> None:
    model = seeded(merged=False, aux=True)
    image = torch.randn(1, 3, 65, 129, generator=torch.Generator().manual_seed(1))
    quarter, eighth, sixteenth = model.cascade_scores(image)
    assert quarter.shape[-2:] == (17, 33) and eighth.shape[-2:] == (9, 17) and sixteenth.shape[-2:] == (5, 9)
    assert torch.equal(quarter, model.quarter_scores(image))
    assert torch.equal(model.conv6_interp(quarter), model(image))


def test_layers_are_those_of_the_bundled_nets() -> None:
    for merged, name in ((True, MERGED[0]), (False, UNMERGED[0])):
        layers = [layer.name for layer in read_net(bundled_net(name)).layers if layer.type != "Input"]
        assert {child for child, _ in ICNet(merged=merged, width=0.1).named_children()} == set(layers)


def test_the_facts_and_the_bundled_nets_agree() -> None:
    for name, table in ((MERGED[0], "icnet_layers_merged.csv"), (UNMERGED[0], "icnet_layers_bnnomerge.csv")):
        path: Path = shared("facts", table)
        with path.open() as stream:
            rows = list(csv.DictReader(stream))
        layers = [layer for layer in read_net(bundled_net(name)).layers if layer.type != "Input"]
        assert len(rows) == len(layers)
        for row, layer in zip(rows, layers, strict=True):
            assert (row["layer"], row["type"], row["bottoms"].split(), row["tops"].split()) == (
                layer.name,
                layer.type,
                list(layer.bottoms),
                list(layer.tops),
            )
