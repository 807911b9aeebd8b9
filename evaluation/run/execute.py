"""A run over a list: what an interrupted one has left to do, this process's share, and the figures of all."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from icnet_common import console
from icnet_common.errors import InputError
from icnet_common.files import writing
from icnet_common.parallel import parallel_map
from icnet_common.progress import LogFile, ProgressBar
from pytorch_icnet.outputs import Outputs
from pytorch_icnet.pipeline import Pipeline, Threads, one_thread_each
from pytorch_icnet.predictor import Predictor

from ..data.lists import Entry
from ..protocols import ImageStats, MetricAccumulator
from ..report.text import image_line
from ..scoring import ImageScore, Scoring
from .distributed import Group
from .journal import Finished, Journal, still_whole
from .task import STAGES, Context, EvaluationTask

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Item = tuple[int, Entry]
"""An entry and its place in the list."""

logger = logging.getLogger(__name__)

_VERIFYING_THREADS = 4


@dataclass
class ShardResult:
    """What a process, or all of them, did."""

    accumulators: dict[str, MetricAccumulator]
    """By protocol, in their order."""
    predicted: int = 0
    kept: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """By stage, over all images and threads."""

    @property
    def first(self) -> MetricAccumulator:
        """That of the first protocol."""
        return next(iter(self.accumulators.values()))

    def add(self, index: int, records: Mapping[str, ImageStats]) -> None:
        """Add an image's records; there are none where it was not scored."""
        for name, record in records.items():
            self.accumulators[name].add(index, record)

    def as_data(self) -> dict[str, Any]:
        return {
            **vars(self),
            "accumulators": {name: accumulator.as_data() for name, accumulator in self.accumulators.items()},
        }

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add what another process's :meth:`as_data` says."""
        for name, accumulator in self.accumulators.items():
            accumulator.merge(MetricAccumulator.from_data(accumulator.protocol, data["accumulators"][name]))
        self.predicted += data["predicted"]
        self.kept += data["kept"]
        for stage, seconds in data["seconds"].items():
            self.seconds[stage] += seconds


@dataclass(frozen=True)
class Run:
    """Predicts and scores the images of a list."""

    predictor: Predictor
    scoring: Scoring
    outputs: Outputs
    group: Group = field(default_factory=Group)
    workers: int | None = None
    """See :meth:`pytorch_icnet.pipeline.Threads.of`."""

    @property
    def threads(self) -> Threads:
        """Of the pipeline."""
        return Threads.of(self.predictor, self.group.local_size, self.workers)

    def settings(self) -> dict[str, Any]:
        """What all results have in common; another run goes on only with the same."""
        data = self.predictor.as_data()
        if self.predictor.device.type == "cpu":  # of which the last bits depend on the instructions, not on the name
            data["device_name"] = torch.backends.cpu.get_cpu_capability()
        return {
            "weights_sha256": data.pop("weights").get("sha256"),
            **data,
            **{f"{package} version": version for package, version in console.versions().items()},
            "protocols": [protocol.as_data() for protocol in self.scoring.protocols],
            "classes": [asdict(entry) for entry in self.scoring.table.entries],
            "float16": self.outputs.float16 or None,
            "alpha": self.outputs.drawing.alpha if "overlay" in self.outputs.kinds else None,
        }

    def execute(self, entries: Sequence[Entry], log: LogFile, *, resume: bool) -> tuple[ShardResult, dict[str, Any]]:
        """Do what is left to do; returns what came of it, at the leading process, and the timing for the report.

        Args:
            entries: lines of a list, whose images exist.
            log: of the run; it is opened below the root of the outputs.
            resume: keep the images that are finished.

        Raises:
            InputError: see :class:`evaluation.run.task.EvaluationTask`; another process failed; other settings.
        """
        group = self.group
        with closing(Journal(self.outputs.root, group.rank)) as journal, self._alone():
            with group.collective():
                self._begin(log, journal, entries, resume=resume)
            group.assert_same({"settings": self.settings(), "list": [entry.image for entry in entries]})
            items = group.share(list(enumerate(entries)))
            if group.total(len(items)) != len(entries):
                raise InputError("the processes' shares are not the whole list")
            start, lines = time.perf_counter(), _Lines(entries)
            with group.collective():
                share = self._work(journal, items, lines, resume=resume)
            for other in group.gather(share.as_data())[1:]:
                share.merge(other)
        if group.is_main:
            if group.size > 1:
                for place, image in sorted(share.first.images.items()):
                    lines.echo(place, image)
            gray = self.outputs.path("labels", "").parent
            if strangers := {path.stem for path in gray.glob("*.png")} - {entry.stem for entry in entries}:
                logger.info(f"{gray}: {len(strangers)} PNG files are not of this run and are not scored")
        return share, self._timing(share, time.perf_counter() - start)

    def _begin(self, log: LogFile, journal: Journal, entries: Sequence[Entry], *, resume: bool) -> None:
        name = "log.txt" if self.group.is_main else f"log.{self.group.rank}.txt"
        log.open(self.outputs.root / name)
        logger.debug(
            f"icnet-eval {console.version()}: {self.predictor.card.weights_data().get('file')}, {len(entries)} images, "
            f"{self.predictor.device}, process {self.group.rank} of {self.group.size}{', resumed' if resume else ''}"
        )
        if self.group.is_main:
            self.outputs.sweep({entry.stem for entry in entries})
            journal.begin(self.settings(), resume=resume)

    def _work(self, journal: Journal, items: Sequence[Item], lines: _Lines, *, resume: bool) -> ShardResult:
        """This process's share."""
        finished = journal.finished() if resume else {}
        kept = self._kept(finished, items)
        if resume:
            share_of = f" (process 0 of {self.group.size})" if self.group.size > 1 else ""
            logger.info(f"{len(kept)} of {len(items)} images are whole in {self.outputs.root} and kept{share_of}")
        left = [item for item in items if item[0] not in kept]
        share = ShardResult(
            {protocol.name: protocol.tally() for protocol in self.scoring.protocols}, len(left), len(kept)
        )

        def note(task: EvaluationTask) -> None:
            journal.add(Finished(task.entry.image, task.inputs, task.files, task.score.stats))

        context = Context(self.predictor, self.scoring, self.outputs, note)
        pipeline: Pipeline[EvaluationTask] = Pipeline(self.threads)
        tasks = pipeline.map(EvaluationTask(index, entry, context) for index, entry in left)
        with one_thread_each(), closing(tasks), ProgressBar(len(left), "predict") as bar:
            for index, entry in items:
                if index in kept:
                    share.add(index, finished[entry.image].records)
                else:
                    task = next(tasks)
                    share.add(index, task.score.stats)
                    for stage, seconds in task.seconds.items():
                        share.seconds[stage] += seconds
                    if task.score.skipped:
                        logger.info(task.score.skipped)
                    bar.advance()
                    self.group.check()
                if self.group.size == 1 and index in share.first.images:
                    lines.echo(index, share.first.images[index])
        return share

    def _kept(self, finished: Mapping[str, Finished], items: Sequence[Item]) -> set[int]:
        """The places of the images that need not be made again."""

        def whole(item: Item) -> bool:
            entry = item[1]
            if entry.image not in finished:
                return False
            inputs, files = self.scoring.inputs(entry), self.outputs.files(entry.stem)
            return still_whole(finished[entry.image], self.outputs.root, inputs, files)

        wholes = parallel_map(whole, items, threads=_VERIFYING_THREADS, in_flight=2 * _VERIFYING_THREADS)
        return {index for (index, _), is_whole in zip(items, wholes, strict=True) if is_whole}

    def _timing(self, share: ShardResult, wall_s: float) -> dict[str, Any]:
        """What may differ between two runs that are otherwise equal."""
        count = share.predicted
        return {
            "images": count,
            "kept": share.kept,
            "wall_s": wall_s,
            "images_per_s": count / wall_s,
            "mean_ms": {stage: 1000 * seconds / count if count else None for stage, seconds in share.seconds.items()},
            "processes": self.group.size,
            "threads": asdict(self.threads),
        }

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs out of the outputs, where the file system can.

        Raises:
            InputError: another run is writing there.
        """
        root = self.outputs.root
        if not self.group.is_main or fcntl is None:
            yield
            return
        with ExitStack() as stack:
            with writing(root):
                root.mkdir(parents=True, exist_ok=True)
                handle = os.open(root, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{root}: another run is writing there; wait for it, or give another --save-root"
                ) from error
            except OSError:  # no locks on this file system
                pass
            yield


class _Lines:
    """Prints a line for each scored image, numbered among those that have labels."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        labelled = [place for place, entry in enumerate(entries) if entry.label is not None]
        self._numbers = {place: number for number, place in enumerate(labelled, start=1)}

    def echo(self, place: int, image: ImageScore) -> None:
        console.echo(image_line(self._numbers[place], len(self._numbers), image))
