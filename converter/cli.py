"""``icnet-convert``: Caffe weights to PyTorch, checked on the way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from torch import Tensor
from torch.fx import GraphModule

from icnet_common import console
from icnet_common.console import FOLDER, PATH
from icnet_common.errors import InputError, WeightsError
from icnet_common.files import write_json
from prototxt import Net, read_net, read_weights
from pytorch_icnet.icnet import ICNet, folded
from pytorch_icnet.weights.caffe import fitting_net, pyramid_of, resized_net, state_of
from pytorch_icnet.weights.checkpoints import Checkpoint, Provenance, write_checkpoint
from pytorch_icnet.weights.convert import convert_checkpoint, is_checkpoint
from pytorch_icnet.weights.known import KnownWeights, by_file, by_md5
from pytorch_icnet.weights.verify import CHECKED_SIZE, verify

from .catalogue import catalogue_text
from .compare import Difference, worst
from .dump import read_dump
from .export.formats import FORMATS, SUFFIXES, Output, paths_of, write
from .export.pth import save_pth
from .graph import translate
from .match import Match, Weights
from .passes.fold_batch_norm import fold_batch_norm
from .report import write_report
from .summary import detailed_summary, summary
from .table import layer_table, totals
from .verify import (
    Verification,
    accumulated,
    against_dump,
    against_float64,
    against_formulas,
    seeded_inputs,
)


@console.command("icnet-convert")
@click.argument("weights", type=PATH, required=False)
@click.option("--prototxt", type=PATH, help="The net; default: the ICNet that fits the weights.")
@click.option(
    "--to",
    "formats",
    multiple=True,
    callback=lambda _context, _option, values: _formats(values),
    help=f"Write as: {', '.join(FORMATS)}; several with commas, or the option again. Default: safetensors.",
)
@click.option(
    "--output",
    type=PATH,
    help="Default: WEIGHTS.safetensors (and the like) beside it. Of several formats, each gets its own suffix.",
)
@click.option("--fold-bn", is_flag=True, help="Fold normalisation and scales into the layers that they follow.")
@click.option("--verify/--no-verify", "verified", default=True, show_default=True, help="Compare layer by layer.")
@click.option(
    "--reference",
    type=PATH,
    help="Compare with activations of a real Caffe: an npz file, or a folder of npy files.",
)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), help="The largest relative error; default: each check's own."
)
@click.option(
    "--report",
    "report_folder",
    type=FOLDER,
    help="Write every comparison here, as a CSV and as a picture of error against depth.",
)
@click.option(
    "--caffe-faithful",
    is_flag=True,
    help="pytorch-semseg's or Supervisely's weights as Caffe's net, for --to safetensors.",
)
@click.option("--lenient", is_flag=True, help="Layers that the file lacks keep their fillers, as in Caffe.")
@click.option("--allow-md5-mismatch", is_flag=True, help="Convert a file that has a published name and other content.")
@click.option("--summary", "summarised", is_flag=True, help="Show the net of --prototxt (or WEIGHTS) and stop.")
@click.option("--layers", "list_layers", is_flag=True, help="List the supported layer types and stop.")
@console.json_file
def main(
    weights: Path | None,
    prototxt: Path | None,
    formats: tuple[str, ...],
    output: Path | None,
    fold_bn: bool,
    verified: bool,
    reference: Path | None,
    tolerance: float | None,
    report_folder: Path | None,
    caffe_faithful: bool,
    lenient: bool,
    allow_md5_mismatch: bool,
    summarised: bool,
    list_layers: bool,
    json_file: Path | None,
) -> None:
    """Convert WEIGHTS, a caffemodel or a checkpoint of ICNet's variants, to a safetensors file, or to other formats.

    The file is checked against the published md5 sums; its net is chosen by what it contains; every layer must get its
    weights; the converted graph is compared with the hand-written ICNet, and folded batch normalisation with unfolded.

    With --prototxt it converts any other net. Checkpoints of PyTorch are read as data: no code in them is run.
    """
    if list_layers:
        click.echo(catalogue_text(), nl=False)
        return
    if summarised and weights is not None and weights.suffix == ".prototxt" and prototxt is None:
        weights, prototxt = None, weights
    if weights is None:
        if not (summarised and prototxt):
            raise click.UsageError("give a weights file, or --summary with --prototxt")
        _show_summary(read_net(prototxt), json_file)
        return

    if is_checkpoint(weights):
        if prototxt or reference or report_folder or lenient or summarised:
            raise click.UsageError(f"{weights} is a checkpoint of PyTorch: of a caffemodel's options it takes none")
        paths = {name: _paths(name, output, weights, alone=len(formats) == 1) for name in formats}
        _check_not_inputs(paths, weights, None)
        results = convert_checkpoint(weights, paths, caffe_faithful=caffe_faithful, fold_bn=fold_bn)
        click.echo("\n".join(results["lines"]))
        if json_file:
            write_json(json_file, {**results, "versions": console.versions()})
        return
    if caffe_faithful:
        raise click.UsageError("--caffe-faithful is for checkpoints of pytorch-semseg and Supervisely")
    blobs = read_weights(weights)
    provenance = Provenance.of(weights)
    known = _check_md5(provenance, weights, allow_md5_mismatch)
    net = read_net(prototxt) if prototxt else fitting_net(blobs, str(weights))
    if summarised:
        _show_summary(net, json_file)
        return
    paths = {name: _paths(name, output, weights, alone=len(formats) == 1) for name in formats}
    _check_not_inputs(paths, weights, prototxt)
    matching = Weights(blobs, str(weights), lenient=lenient)
    graph = translate(net, matching)
    match: Match = graph.meta["match"]
    rows = summary(net)
    click.echo(layer_table(rows, {**dict.fromkeys(match.matched, "file"), **dict.fromkeys(match.filled, "filler")}))
    click.echo(f"\n{weights.name}: {_described(provenance, known)}")
    click.echo(f"net      {net.name or net.source}: {totals(rows)}")
    click.echo(f"weights  {len(match.matched)} layers matched, {len(match.filled)} by fillers{_listed(match.filled)}")
    click.echo(f"unused   {len(match.unused)} layers of the file{_listed(match.unused)}")

    checks: list[Verification] = []
    checkpoint: Checkpoint | None = None
    if _is_icnet(net):
        checkpoint = Checkpoint(state_of(graph, blobs), provenance, pyramid_of(net), _input_size(net))
        model = checkpoint.model()
        checks = verify(model, net, blobs) if verified else []
        checks += _comparisons(graph, net, matching, verified, reference, report_folder)
        _show_checks(checks, net, tolerance, report_folder)
        if fold_bn and not model.merged:
            merged = folded(checkpoint.model(aux="conv6_sub2.weight" in checkpoint.state))
            checkpoint = dataclasses.replace(checkpoint, state=merged.state_dict())
    else:
        checks = _comparisons(graph, net, matching, verified, reference, report_folder)
        _show_checks(checks, net, tolerance, report_folder)
    graph = fold_batch_norm(graph) if fold_bn else graph
    outputs = []
    for name in formats:
        outputs.append(_write(name, paths[name], graph, checkpoint, provenance))
        click.echo(f"written  {outputs[-1]}")
    if json_file:
        _write_json(json_file, provenance, known, rows, match, checks, outputs)


def _formats(values: Sequence[str]) -> tuple[str, ...]:
    """The formats of ``--to``, each once."""
    names = [name.strip() for value in values for name in value.split(",")] or ["safetensors"]
    for name in names:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


def _paths(name: str, output: Path | None, weights: Path, *, alone: bool) -> tuple[Path, ...]:
    """The files of one format; Caffe's own get a name other than the weights' by default."""
    if output is None:
        base = weights.with_suffix("")
        return paths_of(name, base.with_name(f"{base.name}_caffe") if name == "caffe" else base)
    if alone and len(SUFFIXES[name]) == 1:
        return (output,)
    known = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    return paths_of(name, output.with_suffix("") if output.suffix in known else output)


def _check_not_inputs(paths: Mapping[str, tuple[Path, ...]], weights: Path, prototxt: Path | None) -> None:
    for path in (path for found in paths.values() for path in found if path.exists()):
        if any(path.samefile(given) for given in (weights, prototxt) if given is not None):
            raise InputError(f"{path}: is one of the inputs and would be lost; choose another --output")


def _write(
    name: str, paths: tuple[Path, ...], graph: GraphModule, checkpoint: Checkpoint | None, provenance: Provenance
) -> Output:
    """One format; an ICNet's tensors with its auxiliary heads."""
    if checkpoint is not None and name == "safetensors":
        write_checkpoint(paths[0], checkpoint)
        return Output(name, paths)
    if checkpoint is not None and name == "pth":
        save_pth(paths[0], checkpoint.state)
        return Output(name, paths)
    return write(name, paths, graph, dataclasses.asdict(provenance))


def _check_md5(provenance: Provenance, path: Path, allow_mismatch: bool) -> KnownWeights | None:
    """The published weights that this file is, if any; stops a file that only has their name."""
    named = by_file(provenance.file)
    if named is not None and named.md5 not in ("", provenance.md5) and not allow_mismatch:
        raise WeightsError(
            f"{path}: has the name of published weights, but its md5 is {provenance.md5} and theirs {named.md5}; "
            "download it again, or use --allow-md5-mismatch if it is meant to differ"
        )
    return by_md5(provenance.md5)


def _described(provenance: Provenance, known: KnownWeights | None) -> str:
    if known is None:
        return f"md5 {provenance.md5}, not one of the published files"
    accuracy = f" / {known.pixel_accuracy} pixel accuracy" if known.pixel_accuracy is not None else ""
    return f"md5 {provenance.md5}: the published {known.file}, {known.mean_iou} mIoU{accuracy} on {known.split}"


def _is_icnet(net: Net) -> bool:
    names = {layer.name for layer in net.layers}
    merged = not any(name.endswith("/bn") for name in names)
    return {name for name, _ in ICNet(merged=merged, width=0.05).named_children()} <= names


def _input_size(net: Net) -> tuple[int, int]:
    height, width = next(iter(net.inputs.values()))[2:]
    return height, width


def _show_summary(net: Net, json_file: Path | None) -> None:
    rows = detailed_summary(net)
    click.echo(layer_table(rows))
    click.echo(f"\n{net.name or net.source}: {totals(rows)}")
    if json_file:
        write_json(json_file, rows)


def _comparisons(
    graph: GraphModule, net: Net, weights: Weights, verified: bool, reference: Path | None, report_folder: Path | None
) -> list[Verification]:
    """The graph against itself in float64 and the formulas of its layers, and against Caffe's activations."""
    checks: list[Verification] = []
    if verified:
        checked = resized_net(net, CHECKED_SIZE) if _is_icnet(net) else net
        try:
            fitted = _graph_of(checked, net, graph, weights)
            checks = _against_itself(fitted, seeded_inputs(checked), weights, with_sum=report_folder is not None)
        except (RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{net.source}: does not run on random inputs ({reason}): use --reference, or --no-verify"
            ) from error
    if reference is not None:
        dump = read_dump(reference)
        checked = _fed_with({name: value.shape for name, value in dump.inputs_of(net).items()}, net)
        checks.append(against_dump(_graph_of(checked, net, graph, weights), dump))
    return checks


def _graph_of(checked: Net, net: Net, graph: GraphModule, weights: Weights) -> GraphModule:
    """The graph of ``checked``: that of ``net``, where the two are the same, or another with the same weights."""
    if checked is net:
        return graph
    return translate(checked, Weights(weights.blobs, weights.source, lenient=weights.lenient))


def _against_itself(
    graph: GraphModule, inputs: list[Tensor], weights: Weights, *, with_sum: bool
) -> list[Verification]:
    checks = [accumulated(graph, *inputs)] if with_sum else []
    return [*checks, against_float64(graph, *inputs), against_formulas(graph, *inputs, blobs=weights.blobs)]


def _fed_with(shapes: Mapping[str, tuple[int, ...]], net: Net) -> Net:
    """``net`` for inputs of these shapes; an ICNet's pyramid follows them."""
    if dict(net.inputs) == dict(shapes):
        return net
    images = [shape for shape in shapes.values() if len(shape) == 4]
    if _is_icnet(net) and len(images) == 1:
        height, width = images[0][2:]
        click.echo(f"pyramid  windows fitted to {height}x{width}; if Caffe had others, give --prototxt with them")
        return resized_net(net, (height, width))
    return dataclasses.replace(net, inputs=shapes)


def _show_checks(checks: Sequence[Verification], net: Net, tolerance: float | None, report_folder: Path | None) -> None:
    """Print the worst layer of each comparison; a divergence is an error that names the first one."""
    if tolerance is not None:
        checks = [dataclasses.replace(check, limit=tolerance) if check.limit < math.inf else check for check in checks]
    for check in checks:
        found = worst(check.layers or [Difference("(none)", 0, 0)])
        click.echo(
            f"verified {check.what}: {len(check.layers)} layers, largest relative difference "
            f"{found.relative:.1e} (absolute {found.absolute:.1e}) at {found.layer}"
        )
        for reason in dict.fromkeys(item.reason for item in check.unchecked):
            names = [item.layer for item in check.unchecked if item.reason == reason]
            click.echo(f"  not compared ({reason}){_listed(names)}")
    if report_folder is not None:
        for line in write_report(report_folder, checks, net):
            click.echo(f"report   {line}")
    for check in checks:
        if check.diverging is not None:
            raise InputError(
                f"{check.what} diverge first at layer {check.diverging.layer!r}: relative difference "
                f"{check.diverging.relative:.1e}, limit {check.limit:.0e}; nothing was written"
            )


def _listed(names: Sequence[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _write_json(
    path: Path,
    provenance: Provenance,
    known: KnownWeights | None,
    rows: list[dict[str, Any]],
    match: Match,
    checks: Sequence[Verification],
    outputs: Sequence[Output],
) -> None:
    results = {
        "provenance": dataclasses.asdict(provenance),
        "published": dataclasses.asdict(known) if known else None,
        "layers": rows,
        "weights": dataclasses.asdict(match),
        "verification": [
            {**dataclasses.asdict(check), "limit": check.limit if check.limit < math.inf else None} for check in checks
        ],
        "output": str(outputs[0].paths[0]),
        "outputs": [
            {"format": output.format, "paths": list(map(str, output.paths)), "note": output.note} for output in outputs
        ],
        "versions": console.versions(),
    }
    write_json(path, results)


if __name__ == "__main__":
    main()
