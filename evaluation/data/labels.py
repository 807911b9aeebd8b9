"""Labels in any of Cityscapes' forms, and the recognition of the wrong one.

Four files may describe one image: ``*_labelTrainIds.png``, ``*_labelIds.png``, ``*_instanceIds.png`` and
``*_polygons.json``. Any of them serves; the others are found beside it where a protocol needs them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, INSTANCES, ClassTable
from pytorch_icnet.imaging.images import ImageError, read_ids, read_label_map

from ..protocols import GroundTruth
from .lists import LABEL_SUFFIXES
from .polygons import draw

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]

KINDS = tuple(LABEL_SUFFIXES)
"""What a label file may hold."""


def kind_of(path: str | os.PathLike[str], table: ClassTable = CITYSCAPES_TABLE) -> str:
    """What a label file holds according to its name.

    Where the name does not say: polygons for JSON; the table's own ids where the table came from a file, and trainIds
    else.
    """
    name = Path(path).name
    for kind, suffix in LABEL_SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    if name.endswith(".json"):
        return "polygons"
    return "labelIds" if table.from_file else "trainIds"


def find_label(path: str | os.PathLike[str]) -> Path | None:
    """A label file, or one in another form beside it; None where there is neither.

    Cityscapes is distributed without trainIds, which its lists name nevertheless.
    """
    path = Path(path)
    return path if path.is_file() else next(iter(_siblings(path).values()), None)


def read_truth(
    path: str | os.PathLike[str],
    table: ClassTable = CITYSCAPES_TABLE,
    *,
    instances: bool = False,
    kind: str | None = None,
    lenient: bool = False,
) -> GroundTruth:
    """The labels of an image.

    Args:
        path: the label file, or the name of one that lies there in another form.
        table: what the data set's ids become.
        instances: also give label ids and instance ids, from the files beside it where this one has none.
        kind: one of :data:`KINDS`; None: see :func:`kind_of`.
        lenient: only refuse trainIds that are in truth the table's own ids; other values above the classes may stand,
            as for the original's scoring.

    Raises:
        InputError: there is no such file; it is damaged; or it holds something else than it is taken for, such as
            labelIds where trainIds are expected.
        OSError: a file cannot be read.
    """
    wanted = Path(path)
    found = find_label(wanted)
    if found is None:
        raise InputError(f"{wanted}: no such label")
    kind = kind if kind is not None and found == wanted else kind_of(found, table)
    if kind == "trainIds":
        train_ids = read_label_map(found)
        if not lenient or table.looks_like_label_ids(train_ids):
            table.check_train_ids(train_ids, found)
        return GroundTruth(train_ids, *_instances_beside(found, table)) if instances else GroundTruth(train_ids)
    label_ids, instance_ids = _read_ids(found, kind, table)
    if instances and instance_ids is None:
        instance_ids = _instances_beside(found, table)[1]
    return GroundTruth(table.train_ids(label_ids, found), label_ids, instance_ids)


def _siblings(path: Path) -> dict[str, Path]:
    """The files about the same image, by kind, beside ``path`` and without it."""
    suffix = next((suffix for suffix in LABEL_SUFFIXES.values() if path.name.endswith(suffix)), None)
    if suffix is None:
        return {}
    base = path.name.removesuffix(suffix)
    files = {kind: path.with_name(base + other) for kind, other in LABEL_SUFFIXES.items()}
    return {kind: file for kind, file in files.items() if file != path and file.is_file()}


def _instances_beside(path: Path, table: ClassTable) -> tuple[Bytes, Ids]:
    """Label ids and instance ids from the files beside one that lacks them."""
    beside = _siblings(path)
    source = beside.get("instanceIds") or beside.get("polygons")
    if source is None:
        wanted = f"neither {LABEL_SUFFIXES['instanceIds']} nor {LABEL_SUFFIXES['polygons']}"
        raise InputError(f"{path}: {wanted} lies beside it")
    label_ids, instance_ids = _read_ids(source, kind_of(source), table)
    assert instance_ids is not None
    if "labelIds" in beside:
        label_ids = _read_ids(beside["labelIds"], "labelIds", table)[0]
    return label_ids, instance_ids


def _read_ids(path: Path, kind: str, table: ClassTable) -> tuple[Bytes, Ids | None]:
    """Label ids, and instance ids where the file has them."""
    if kind == "labelIds":
        return read_label_map(path), None
    if kind not in ("instanceIds", "polygons"):
        raise InputError(f"{path}: no kind of labels {kind!r}; there are {', '.join(KINDS)}")
    instance_ids = draw(path, table) if kind == "polygons" else read_ids(path)
    label_ids = np.where(instance_ids >= INSTANCES, instance_ids // INSTANCES, instance_ids)
    if label_ids.max() > 255:
        raise ImageError(f"{path}: the id {int(label_ids.max())} is neither a label's nor an instance's")
    return label_ids.astype(np.uint8), instance_ids
