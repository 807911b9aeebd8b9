"""One evaluation, from what the user asks for to what is reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from icnet_common import console
from icnet_common.errors import InputError
from icnet_common.files import digest
from icnet_common.progress import Log, Progress
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, ClassTable, plain_table
from pytorch_icnet.datasets.tables import read_table
from pytorch_icnet.imaging.normalization import NORMALIZATIONS
from pytorch_icnet.runtime.devices import find_device

from .audit.audit import Audit, audit
from .data.labels import find_label
from .data.lists import Entry, ImageList, cityscapes_list, locate, read_list, refuse_equal_stems
from .network import Network, open_network
from .options import Options
from .outputs import FEATURES, Outputs
from .pipeline import Scoring, one_thread_each, score_files
from .protocols import DEFAULT, MetricAccumulator, Protocol, Result, Settings, protocol
from .protocols.base import CITYSCAPES_SIZE
from .report.published_scores import Expected, given, published
from .report.server_submission import check_names
from .run.distributed import Group
from .run.execute import Run
from .scoring import ImageScore, first_lines

Show = Callable[[int, int, ImageScore], None]
"""Is told of each scored image in the order of the list: its number from 1, of how many, and its score."""

_SCORING_THREADS = 4


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


def predict_and_score(options: Options, group: Group, log: Log, show: Show) -> Evaluation:
    """Predict the images of a list and, where it has labels, score them.

    Raises:
        InputError: something cannot be used; nothing has been written yet where it could be seen before.
    """
    prepared = group.collective(lambda: _prepare(options, group, log))
    run, entries = prepared.run, prepared.entries
    labelled = [place for place, entry in enumerate(entries) if entry.label is not None]
    numbers = {place: number for number, place in enumerate(labelled, start=1)}
    share, timing = run.execute(
        entries, resume=options.resume, show=lambda place, image: show(numbers[place], len(labelled), image)
    )
    results = [tally.result() for tally in share.tallies.values()] if labelled and group.is_main else []
    data = {**prepared.data, **run.network.as_data(), "timing": timing}
    found = None
    if options.audit and group.is_main:
        found = _audit(run, [entries[place] for place in labelled], options.audit, log)
    return Evaluation(
        data,
        entries,
        run.scoring,
        run.outputs.gray("").parent,
        run.outputs.root,
        results,
        prepared.expected,
        found,
    )


def _audit(run: Run, entries: Sequence[Entry], count: int, log: Log) -> Audit:
    """The audit of some images, evenly from the whole list."""
    chosen = [entries[place * len(entries) // count] for place in range(min(count, len(entries)))]
    progress = Progress(len(chosen), log, "audit")
    with one_thread_each(), closing(progress):
        return audit(
            run.network,
            run.scoring.protocols[0].settings,
            chosen,
            run.scoring.data_root,
            label_kind=run.scoring.label_kind,
            progress=lambda entry: progress.advance(),
        )


@dataclass(frozen=True)
class _Prepared:
    run: Run
    entries: tuple[Entry, ...]
    data: dict[str, Any]
    expected: tuple[Expected, ...]


def _prepare(options: Options, group: Group, log: Log) -> _Prepared:
    """Everything that can fail before the first image is predicted."""
    assert options.weights is not None
    listed = _listed(options)
    entries = _chosen(listed.entries, options)
    refuse_equal_stems(entries, listed.path)
    if options.test_server is not None:
        check_names(entries)
    if (options.audit or options.expect is not None) and not listed.has_labels:
        raise InputError(f"{listed.path}: has no labels, which --audit and --expect need")
    entries = _present(entries, options, log, "image")
    if listed.has_labels:
        entries = _with_labels(entries, options, log)
    table = _table(options)
    network = open_network(
        options.weights,
        _device(options, group),
        input_size=options.input_size,
        num_classes=options.num_classes if table is None else table.num_classes,
        backend=options.backend,
        rewrite=options.rewrite,
        caffe_faithful=options.caffe_faithful,
        pixels=None if options.pixels is None else NORMALIZATIONS[options.pixels],
        processes=group.local_size,
    )
    table = table or plain_table(network.num_classes)
    scoring = Scoring(_protocols(options, table, network), table, options.data_root, options.label_kind)
    outputs = Outputs(
        options.save_root or Path("results"),
        _features(options),
        overlay=options.save_overlay,
        alpha=options.alpha,
        palette=table.palette,
    )
    run = Run(network, scoring, outputs, log, group, options.workers)
    expected = _expected(options, network.provenance)
    return _Prepared(run, entries, _data(options, listed, scoring), expected)


def score_only(options: Options, log: Log, show: Show) -> Evaluation:
    """Score the label maps in a folder.

    Raises:
        InputError: something cannot be used.
    """
    folder = options.score_only
    assert folder is not None
    listed = _listed(options)
    entries = listed.entries if options.strict_list else first_lines(listed, folder, log.say)
    entries = _present(_chosen(entries, options), options, log, "label")
    table = _table(options) or plain_table(options.num_classes or CITYSCAPES_TABLE.num_classes)
    scoring = Scoring(_protocols(options, table, None), table, options.data_root, options.label_kind)
    expected = _expected(options, {})
    tallies: dict[str, MetricAccumulator] = {protocol.name: protocol.tally() for protocol in scoring.protocols}
    first = next(iter(tallies.values()))
    with closing(score_files(list(enumerate(entries)), scoring, folder, _SCORING_THREADS)) as works:
        for work in works:
            if work.skipped:
                log.say(work.skipped)
            for name, record in work.records.items():
                tallies[name].add(work.index, record)
            if work.index in first.images:
                show(work.index + 1, len(entries), first.images[work.index])
    data = {**_data(options, listed, scoring), "predictions": str(folder)}
    results = [tally.result() for tally in tallies.values()]
    return Evaluation(data, entries, scoring, folder, options.save_root, results, expected)


def _listed(options: Options) -> ImageList:
    if options.split is not None:
        return cityscapes_list(options.data_root, options.split)
    assert options.list_file is not None
    return read_list(options.list_file)


def _table(options: Options) -> ClassTable | None:
    return None if options.classes is None else read_table(options.classes)


def _expected(options: Options, provenance: Mapping[str, Any]) -> tuple[Expected, ...]:
    if options.expect is None:
        return ()
    if options.expect:
        return given(options.expect)
    return published(str(provenance.get("md5", "")), str(provenance.get("file", "")), multi_scale=options.multi_scale)


def _protocols(options: Options, table: ClassTable, network: Network | None) -> list[Protocol]:
    settings = Settings(table=table, scales=options.scales, flip=options.flip)
    if network is not None:
        settings = dataclasses.replace(settings, **network.spec.of_network())
    names = options.protocols or (network.protocol if network is not None else DEFAULT,)
    for what, other in (("input_size", (1, 1)), ("scales", (0.5,)), ("flip", not options.flip)):
        asked = getattr(options, what) not in (None, (1.0,))
        if asked and not any(_feeds_otherwise(name, settings, {what: other}) for name in names):
            raise InputError(f"--{what.replace('_', '-')}: without meaning for the protocol {', '.join(names)}")
    return [protocol(name, settings) for name in names]


def _feeds_otherwise(name: str, settings: Settings, changes: dict[str, Any]) -> bool:
    """Whether other settings change what a protocol feeds the network."""
    changed = dataclasses.replace(settings, **changes)
    return protocol(name, settings).inputs(CITYSCAPES_SIZE) != protocol(name, changed).inputs(CITYSCAPES_SIZE)


def _device(options: Options, group: Group) -> torch.device:
    device = find_device(options.device)
    if device.type == "cuda" and device.index is None and group.size > 1:
        return find_device(f"cuda:{group.local_rank % torch.cuda.device_count()}")
    return device


def _features(options: Options) -> tuple[str, ...]:
    if options.save_feat is None:
        return ()
    return FEATURES if options.save_feat == "both" else (options.save_feat,)


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


def _present(entries: tuple[Entry, ...], options: Options, log: Log, what: str) -> tuple[Entry, ...]:
    """The entries whose image or label is there; the others are an error unless they are to be skipped."""
    present = _found(entries, options, log, what)
    if not present:
        raise InputError(f"no {what} is left")
    return tuple(entry for entry in entries if entry.line in present)


def _with_labels(entries: tuple[Entry, ...], options: Options, log: Log) -> tuple[Entry, ...]:
    """The entries, without the labels that are not there; an error unless they are to be skipped."""
    present = _found(entries, options, log, "label")
    if not present:
        raise InputError("no label is left")
    return tuple(entry if entry.line in present else dataclasses.replace(entry, label=None) for entry in entries)


def _found(entries: tuple[Entry, ...], options: Options, log: Log, what: str) -> set[int]:
    """The lines of the entries whose image or label is there."""
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
        log.say(f"{message}; left out")
    return found
