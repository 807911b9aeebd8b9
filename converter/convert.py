"""One conversion, from weights to files: match the weights, check the graph, write the formats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray
from torch import fx

from icnet_common import console
from icnet_common.errors import InputError
from icnet_common.files import write_json
from prototxt import Net

from .compare import Difference, worst
from .dump import read_dump
from .export.formats import SUFFIXES, Output, paths_of, write
from .graph import Match, Weights, translate
from .passes.fold_batch_norm import fold_batch_norm
from .record import original_net
from .report import write_report
from .summary import detailed_summary, layer_table, summary, totals
from .verify import Verification, accumulated, against_dump, against_float64, against_formulas, seeded_inputs


@dataclass(frozen=True)
class ConversionOptions:
    """What to convert, and how.

    Attributes:
        weights: the file of weights.
        prototxt: the net's text.
        formats: what to write, of :data:`~converter.export.formats.FORMATS`.
        output: the file, or the base of several files' names; None: beside the weights.
        fold_bn: fold normalisation and scales into the layers that they follow.
        verified: compare layer by layer.
        reference: activations of a real Caffe to compare with.
        tolerance: the largest relative error; None: each check's own.
        report_folder: where every comparison is written.
        caffe_faithful: write pytorch-semseg's and Supervisely's weights as Caffe's net.
        lenient: layers that the file lacks keep their fillers.
        allow_md5_mismatch: convert a file that has a published name and other content.
        json_file: where the results are written.
    """

    weights: Path
    prototxt: Path | None = None
    formats: tuple[str, ...] = ("safetensors",)
    output: Path | None = None
    fold_bn: bool = False
    verified: bool = True
    reference: Path | None = None
    tolerance: float | None = None
    report_folder: Path | None = None
    caffe_faithful: bool = False
    lenient: bool = False
    allow_md5_mismatch: bool = False
    json_file: Path | None = None

    def paths(self) -> dict[str, tuple[Path, ...]]:
        """The files of each format; Caffe's own get a name other than the weights' by default.

        Raises:
            InputError: one of them is an input.
        """
        paths = {name: self._paths(name) for name in self.formats}
        for path in (path for found in paths.values() for path in found if path.exists()):
            if any(path.samefile(given) for given in (self.weights, self.prototxt) if given is not None):
                raise InputError(f"{path}: is one of the inputs and would be lost; choose another --output")
        return paths

    def _paths(self, name: str) -> tuple[Path, ...]:
        if self.output is None:
            base = self.weights.with_suffix("")
            return paths_of(name, base.with_name(f"{base.name}_caffe") if name == "caffe" else base)
        if len(self.formats) == 1 and len(SUFFIXES[name]) == 1:
            return (self.output,)
        known = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
        return paths_of(name, self.output.with_suffix("") if self.output.suffix in known else self.output)


@dataclass(frozen=True)
class WeightsOrigin:
    """Where a file of weights comes from.

    Attributes:
        provenance: for the metadata of what is written; anything JSON can hold.
        described: for people.
        published: what is known of the file, where it is a published one.
    """

    provenance: Mapping[str, Any]
    described: str
    published: Mapping[str, Any] | None = None


class Conversion:
    """The conversion of any Caffe net; a subclass may know more of its nets.

    ``net`` and ``blobs`` (by layer name) are as they were read from the files.
    """

    def __init__(
        self,
        options: ConversionOptions,
        net: Net,
        blobs: Mapping[str, Sequence[NDArray[Any]]],
        origin: WeightsOrigin,
    ) -> None:
        self.options, self.net, self.blobs, self.origin = options, net, blobs, origin

    def convert(self) -> None:
        """Match, check, write; prints what was found.

        Raises:
            InputError: what is wrong with the net or the weights, or where a comparison diverges; nothing is written
                then.
        """
        paths = self.options.paths()
        self.graph = translate(self.net, self._weights())
        rows = self._show_match()
        checks = self.checks()
        self._show_checks(checks)
        if self.options.fold_bn:
            self.fold()
        outputs = []
        for name in self.options.formats:
            outputs.append(self.write(name, paths[name]))
            click.echo(f"written  {outputs[-1]}")
        if self.options.json_file:
            write_json(self.options.json_file, self._results(rows, checks, outputs))

    def checks(self) -> list[Verification]:
        """The graph against itself in float64 and the formulas of its layers, and against Caffe's activations."""
        checks: list[Verification] = []
        if self.options.verified:
            try:
                graph = self.checked_graph()
                inputs = seeded_inputs(original_net(graph))
                if self.options.report_folder is not None:
                    checks.append(accumulated(graph, *inputs))
                checks += [against_float64(graph, *inputs), against_formulas(graph, *inputs, blobs=self.blobs)]
            except (RuntimeError, IndexError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"{self.net.source}: does not run on random inputs ({reason}): use --reference, or --no-verify"
                ) from error
        if self.options.reference is not None:
            dump = read_dump(self.options.reference)
            shapes = {name: value.shape for name, value in dump.inputs_of(self.net).items()}
            graph = self.graph if dict(self.net.inputs) == shapes else self.graph_of(self.net_for(shapes))
            checks.append(against_dump(graph, dump))
        return checks

    def checked_graph(self) -> fx.GraphModule:
        """The graph on which seeded inputs are compared."""
        return self.graph

    def net_for(self, shapes: Mapping[str, tuple[int, ...]]) -> Net:
        """The net for inputs of other shapes."""
        return dataclasses.replace(self.net, inputs=shapes)

    def graph_of(self, net: Net) -> fx.GraphModule:
        """Another form of the net with the same weights."""
        return translate(net, self._weights())

    def fold(self) -> None:
        """Fold the normalisation of what will be written."""
        self.graph = fold_batch_norm(self.graph)

    def write(self, name: str, paths: tuple[Path, ...]) -> Output:
        """Write one of :data:`~converter.export.formats.FORMATS`."""
        return write(name, paths, self.graph, self.origin.provenance)

    def _weights(self) -> Weights:
        return Weights(self.blobs, str(self.options.weights), lenient=self.options.lenient)

    def _show_match(self) -> list[dict[str, Any]]:
        """Print where each layer's weights come from; the rows of the net's summary."""
        match: Match = self.graph.meta["match"]
        rows = summary(self.net)
        click.echo(layer_table(rows, {**dict.fromkeys(match.matched, "file"), **dict.fromkeys(match.filled, "filler")}))
        click.echo(f"\n{self.options.weights.name}: {self.origin.described}")
        click.echo(f"net      {self.net.name or self.net.source}: {totals(rows)}")
        click.echo(
            f"weights  {len(match.matched)} layers matched, {len(match.filled)} by fillers{_listed(match.filled)}"
        )
        click.echo(f"unused   {len(match.unused)} layers of the file{_listed(match.unused)}")
        return rows

    def _show_checks(self, checks: Sequence[Verification]) -> None:
        """Print the worst layer of each comparison; a divergence is an error that names the first one."""
        limit = self.options.tolerance
        if limit is not None:
            checks = [dataclasses.replace(check, limit=limit) if check.limit < math.inf else check for check in checks]
        for check in checks:
            found = worst(check.layers or [Difference("(none)", 0, 0)])
            click.echo(
                f"verified {check.what}: {len(check.layers)} layers, largest relative difference "
                f"{found.relative:.1e} (absolute {found.absolute:.1e}) at {found.layer}"
            )
            for reason in dict.fromkeys(item.reason for item in check.unchecked):
                names = [item.layer for item in check.unchecked if item.reason == reason]
                click.echo(f"  not compared ({reason}){_listed(names)}")
        if self.options.report_folder is not None:
            for line in write_report(self.options.report_folder, checks, self.net):
                click.echo(f"report   {line}")
        for check in checks:
            if check.diverging is not None:
                raise InputError(
                    f"{check.what} diverge first at layer {check.diverging.layer!r}: relative difference "
                    f"{check.diverging.relative:.1e}, limit {check.limit:.0e}; nothing was written"
                )

    def _results(
        self, rows: list[dict[str, Any]], checks: Sequence[Verification], outputs: Sequence[Output]
    ) -> dict[str, Any]:
        return {
            "provenance": self.origin.provenance,
            "published": self.origin.published,
            "layers": rows,
            "weights": dataclasses.asdict(self.graph.meta["match"]),
            "verification": list(map(dataclasses.asdict, checks)),
            "output": str(outputs[0].paths[0]),
            "outputs": [{**dataclasses.asdict(output), "paths": list(map(str, output.paths))} for output in outputs],
            "versions": console.versions(),
        }


def show_summary(net: Net, json_file: Path | None = None) -> None:
    """Print a net's layers, as :func:`~converter.summary.detailed_summary` has them, and write them as JSON."""
    rows = detailed_summary(net)
    click.echo(layer_table(rows))
    click.echo(f"\n{net.name or net.source}: {totals(rows)}")
    if json_file:
        write_json(json_file, rows)


def _listed(names: Sequence[str]) -> str:
    return f": {', '.join(names)}" if names else ""
