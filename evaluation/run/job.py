"""One evaluation, from what the user asks for to what is reported."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from icnet_common import console
from icnet_common.errors import InputError
from icnet_common.files import digest
from icnet_common.progress import LogFile
from pytorch_icnet.card import ModelCard
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, ClassTable, plain_table
from pytorch_icnet.datasets.tables import read_table
from pytorch_icnet.imaging.normalization import NORMALIZATIONS
from pytorch_icnet.outputs import Drawing, Outputs
from pytorch_icnet.pipeline import cores, one_thread_each
from pytorch_icnet.predictor import Predictor
from pytorch_icnet.runtime.devices import find_device

from ..audit.audit import Audit, audit
from ..data.labels import find_label
from ..data.lists import Entry, ImageList, cityscapes_list, locate, read_list, refuse_equal_stems
from ..protocols import DEFAULT, PROTOCOLS, Protocol, ProtocolSettings, Result, protocol
from ..protocols.base import CITYSCAPES_SIZE
from ..report.published_scores import Expected, given, published
from ..report.server_submission import check_names
from ..report.text import image_line
from ..scoring import ImageScore, Scoring, first_lines, score_files
from .distributed import Group
from .execute import Run
from .options import Options

logger = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """What came of an evaluation."""

    data: dict[str, Any]
    """For the JSON report, without the scores."""
    entries: Sequence[Entry]
    scoring: Scoring
    predictions: Path
    """The folder of label maps."""
    root: Path | None
    """Where reports are written besides those that are asked for by name."""
    results: list[Result] = field(default_factory=list)
    """By protocol, in their order; none where the list has no labels."""
    expected: tuple[Expected, ...] = ()
    """What the figures of the first should be."""
    audit: Audit | None = None


def evaluate(options: Options, group: Group, log: LogFile) -> Evaluation:
    """Predict the images of a list and, where it has labels, score them; prints a line for each scored image.

    Args:
        options: what is asked for.
        group: the processes that share the work.
        log: is opened below the root of the outputs.

    Raises:
        InputError: something cannot be used; nothing has been written yet where it could be seen before.
    """
    with group.collective():
        run, entries, data, expected = _prepare(options, group)
    share, timing = run.execute(entries, log, resume=options.resume)
    labelled = [entry for entry in entries if entry.label is not None]
    results = [each.result() for each in share.accumulators.values()] if labelled and group.is_main else []
    audited = _audit(run, labelled, options.audit) if options.audit and group.is_main else None
    data |= {**run.predictor.as_data(), "timing": timing}
    outputs = run.outputs
    folder = outputs.path("labels", "").parent
    return Evaluation(data, entries, run.scoring, folder, outputs.root, results, expected, audited)


def _audit(run: Run, entries: Sequence[Entry], count: int) -> Audit:
    """The audit of some images, evenly from the whole list."""
    chosen = [entries[place * len(entries) // count] for place in range(min(count, len(entries)))]
    scoring = run.scoring
    settings = scoring.protocols[0].settings
    with one_thread_each():
        return audit(run.predictor, settings, chosen, scoring.data_root, label_kind=scoring.label_kind)


def _prepare(options: Options, group: Group) -> tuple[Run, Sequence[Entry], dict[str, Any], tuple[Expected, ...]]:
    """Everything that can fail before the first image is predicted."""
    assert options.weights is not None
    listed = _listed(options)
    chosen = _chosen(listed.entries, options)
    refuse_equal_stems(chosen, listed.path)
    if options.test_server is not None:
        check_names(chosen)
    if (options.audit or options.expect is not None) and not listed.has_labels:
        raise InputError(f"{listed.path}: has no labels, which --audit and --expect need")
    present = _present(chosen, options, "image")
    entries = [entry for entry in chosen if entry.line in present]
    if listed.has_labels:
        present = _present(entries, options, "label")
        entries = [entry if entry.line in present else dataclasses.replace(entry, label=None) for entry in entries]
    predictor = _predictor(options, group)
    table = predictor.classes
    scoring = Scoring(_protocols(options, table, predictor), table, options.data_root, options.label_kind)
    run = Run(predictor, scoring, _outputs(options, table), group, options.workers)
    return run, entries, _data(options, listed, scoring), _expected(options, predictor.card)


def _predictor(options: Options, group: Group) -> Predictor:
    """The network, which from now on computes in full float32 and repeatably, on a GPU too."""
    assert options.weights is not None
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    predictor = Predictor(
        options.weights,
        _device(options, group),
        backend=options.backend,
        protocol="official",  # the evaluation's protocols bring recipes of their own
        input_size=options.input_size,
        pixels=None if options.pixels is None else NORMALIZATIONS[options.pixels],
        threads=cores(group.local_size),
        classes=_table(options),
        rewrite=options.rewrite,
        repeatable=True,
        caffe_faithful=options.caffe_faithful,
    )
    if options.num_classes not in (None, predictor.num_classes):
        raise InputError(
            f"{options.weights}: scores {predictor.num_classes} classes, but --num-classes is {options.num_classes}"
        )
    if options.input_size is None and predictor.card.input_size is None:
        raise InputError(f"{options.weights}: says nothing of an input size; give --input-size H W")
    predictor.engine(predictor.input_size)  # which fails where the backend cannot be used
    return predictor


def _outputs(options: Options, table: ClassTable) -> Outputs:
    """The original's folders; the label map, which comes last, says that an image is finished."""
    kinds = ["colour", *(["overlay"] if options.save_overlay else [])]
    if options.save_feat is not None:
        kinds.append("probabilities")
    files = ("mat", "npz") if options.save_feat == "both" else (options.save_feat or "mat",)
    return Outputs(
        options.save_root or Path("results"),
        (*kinds, "labels"),
        Drawing(table, options.alpha),
        files,
        options.float16,
        folders={"labels": "gray", "colour": "color", "probabilities": "feat"},
    )


def score_only(options: Options) -> Evaluation:
    """Score the label maps in a folder; prints a line for each scored image.

    Raises:
        InputError: something cannot be used.
    """
    folder = options.score_only
    assert folder is not None
    listed = _listed(options)
    chosen = _chosen(listed.entries if options.strict_list else first_lines(listed, folder), options)
    present = _present(chosen, options, "label")
    entries = [entry for entry in chosen if entry.line in present]
    table = _table(options) or plain_table(options.num_classes or CITYSCAPES_TABLE.num_classes)
    scoring = Scoring(_protocols(options, table, None), table, options.data_root, options.label_kind)
    expected = _expected(options, ModelCard())

    def show(index: int, image: ImageScore) -> None:
        console.echo(image_line(index + 1, len(entries), image))

    sums = score_files(entries, scoring, folder, show)
    data = {**_data(options, listed, scoring), "predictions": str(folder)}
    results = [each.result() for each in sums.values()]
    return Evaluation(data, entries, scoring, folder, options.save_root, results, expected)


def _listed(options: Options) -> ImageList:
    if options.split is not None:
        return cityscapes_list(options.data_root, options.split)
    assert options.list_file is not None
    return read_list(options.list_file)


def _table(options: Options) -> ClassTable | None:
    return None if options.classes is None else read_table(options.classes)


def _expected(options: Options, card: ModelCard) -> tuple[Expected, ...]:
    if options.expect is None:
        return ()
    if options.expect:
        return given(options.expect)
    weights = card.weights_data()
    return published(str(weights.get("md5", "")), str(weights.get("file", "")), multi_scale=options.multi_scale)


def _protocols(options: Options, table: ClassTable, predictor: Predictor | None) -> list[Protocol]:
    settings = ProtocolSettings(table=table, scales=options.scales, flip=options.flip)
    own = DEFAULT
    if predictor is not None:
        settings = dataclasses.replace(settings, **predictor.spec.of_network())
        own = predictor.card.protocol if predictor.card.protocol in PROTOCOLS else DEFAULT
    names = options.protocols or (own,)
    for what, other in (("input_size", (1, 1)), ("scales", (0.5,)), ("flip", not options.flip)):
        asked = getattr(options, what) not in (None, (1.0,))
        if asked and not any(_feeds_otherwise(name, settings, {what: other}) for name in names):
            raise InputError(f"--{what.replace('_', '-')}: without meaning for the protocol {', '.join(names)}")
    return [protocol(name, settings) for name in names]


def _feeds_otherwise(name: str, settings: ProtocolSettings, changes: dict[str, Any]) -> bool:
    """Whether other settings change what a protocol feeds the network."""
    changed = dataclasses.replace(settings, **changes)
    return protocol(name, settings).inputs(CITYSCAPES_SIZE) != protocol(name, changed).inputs(CITYSCAPES_SIZE)


def _device(options: Options, group: Group) -> torch.device:
    device = find_device(options.device)
    if device.type == "cuda" and device.index is None and group.size > 1:
        return find_device(f"cuda:{group.local_rank % torch.cuda.device_count()}")
    return device


def _data(options: Options, listed: ImageList, scoring: Scoring) -> dict[str, Any]:
    """What is known of an evaluation before it begins."""
    return {
        "protocols": [protocol.as_data() for protocol in scoring.protocols],
        "list": {
            "file": listed.path.name,
            "sha256": digest(listed.path) if listed.path.is_file() else None,
            "entries_sha256": listed.sha256,
            "lines": len(listed.entries),
        },
        "settings": options.chosen(),
        "versions": console.versions(),
    }


def _chosen(entries: Sequence[Entry], options: Options) -> tuple[Entry, ...]:
    chosen = tuple(entries[options.skip :][: options.limit])
    if not chosen:
        raise InputError(f"--skip {options.skip} leaves none of {len(entries)} lines")
    return chosen


def _present(entries: Sequence[Entry], options: Options, what: str) -> set[int]:
    """The lines of the entries whose image or label is there; the others are an error unless they are to be skipped."""
    paths = {
        entry.line: locate(options.data_root, entry.image if what == "image" else entry.label or "")
        for entry in entries
    }
    found = {line for line, path in paths.items() if (path.is_file() if what == "image" else find_label(path))}
    if missing := [str(path) for line, path in paths.items() if line not in found]:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        message = f"{len(missing)} of {len(entries)} {what}s are missing: {named}"
        if options.on_missing != "skip":
            raise InputError(f"{message}; is --data-root right? --on-missing skip leaves them out")
        logger.warning(f"{message}; left out")
    if not found:
        raise InputError(f"no {what} is left")
    return found
