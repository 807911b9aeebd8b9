"""The peers' own figures for generated label maps, and a tally of ours for the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.protocols import GroundTruth, ImageScore, MetricAccumulator, Prediction, Protocol, ProtocolSettings
from evaluation.protocols.official import Official
from pytorch_icnet.datasets.classes import plain_table

PEERS = Path(__file__).parent / "data" / "peers"

Labels = npt.NDArray[np.uint8]


def expected(name: str) -> Any:
    """What a peer printed, without the description."""
    return json.loads((PEERS / name).read_text())["results"]


def pairs(letter: str) -> list[tuple[Labels, Labels]]:
    """Predictions and labels of set A (three images of one size) or B (four, one all void, some classes absent)."""
    with np.load(PEERS / "pairs.npz") as file:
        names = sorted({name.split("/")[0] for name in file.files if name.startswith(letter)})
        return [(file[f"{name}/pred"], file[f"{name}/label"]) for name in names]


def tallied(protocol: Protocol, images: list[tuple[Labels, Labels]]) -> MetricAccumulator:
    """The tally of label maps and their trainIds, in their order."""
    tally = protocol.tally()
    for index, (prediction, label) in enumerate(images):
        tally.add(index, protocol.measure(Prediction(prediction), GroundTruth(label), f"{index}.png"))
    return tally


def assert_equal(ours: Any, theirs: Any, limit: float, what: str = "") -> None:
    """Numbers within ``limit`` of each other; the peers' files write NaN as null."""
    mine = np.asarray(ours, np.float64)
    reference = np.array([np.nan if value is None else value for value in np.atleast_1d(theirs)], np.float64)
    np.testing.assert_allclose(np.atleast_1d(mine), reference, rtol=0, atol=limit, equal_nan=True, err_msg=what)


def score_image(prediction: Labels, label: Labels, num_classes: int = 19, name: str = "") -> ImageScore:
    """An image's numbers by the official protocol, from a label map and its trainIds."""
    official = Official(ProtocolSettings(table=plain_table(num_classes)))
    return official.image_score(official.measure(Prediction(prediction), GroundTruth(label), name))
