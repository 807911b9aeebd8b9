"""A network applied to every image of a project, which gives a new project."""

from __future__ import annotations

import os

import numpy as np

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from icnet_common.progress import track
from pytorch_icnet.runtime.devices import find_device

from ..imaging.images import read_image
from .config import read_inference_config
from .modes import Inference, RegionProbabilities
from .project import PROBABILITIES, Item, Project, ProjectWriter, new_project, read_project
from .results import open_model


def apply(inference: Inference, project: Project, output: str | os.PathLike[str]) -> int:
    """Write the project with what the network sees added to its annotations, and show the progress.

    With ``save_probabilities`` also ``DATASET/probabilities/IMAGE.npz``: ``classes`` (names); and for each part n of
    the image that was looked at ``box_n`` (left, top, right, bottom, both ends inside) and ``probabilities_n``, float32
    CxHxW.

    Args:
        inference: made for the project's meta.
        output: the new project's folder, which must not be there, or be empty. It appears when all is done.

    Returns:
        How many images there were.

    Raises:
        InputError: a file is damaged, or the output cannot be written; the message names the file.
    """
    with new_project(output, inference.meta) as writer:
        for item in track(project.items, len(project.items), "apply"):
            try:
                annotation, regions = inference.annotate(read_image(item.image), item.read(project.meta))
            except InputError as error:
                named = str(error).startswith(str(project.root))
                raise error if named else InputError(f"{item.image}: {error}") from error
            writer.add(item, annotation)
            if regions:
                _write_probabilities(writer, item, inference.titles(), regions)
    return len(project.items)


def apply_config(
    config: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    project: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "auto",
) -> int:
    """What an inference configuration says, from file to file; see :func:`apply`.

    Args:
        config: a JSON file.
        weights: a checkpoint folder of a training, or a file of weights.
        device: "auto" is the configuration's GPU where there is one, else the processor.
        precision, backend: see :func:`pytorch_icnet.runtime.engine`.

    Returns:
        How many images there were.

    Raises:
        InputError: see :func:`apply`; or one of the files cannot be used.
    """
    chosen = read_inference_config(config)
    found = read_project(project)
    wanted = find_device(device)
    if device == "auto" and wanted.type == "cuda":
        wanted = find_device(f"cuda:{chosen.model.gpu_device}")
    model = open_model(weights, device=wanted, precision=precision, backend=backend)
    inference = Inference(chosen.mode, model, found.meta, os.fspath(config))
    return apply(inference, found, output)


def _write_probabilities(
    writer: ProjectWriter, item: Item, titles: list[str], regions: list[RegionProbabilities]
) -> None:
    arrays: dict[str, np.ndarray] = {"classes": np.array(titles)}
    for number, region in enumerate(regions):
        box = region.box
        arrays[f"box_{number}"] = np.array([box.left, box.top, box.right, box.bottom])
        arrays[f"probabilities_{number}"] = region.probabilities
    with atomic_write(writer.path(item, PROBABILITIES, f"{item.name}.npz")) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
