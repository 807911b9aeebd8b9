"""Conversions of ICNet's weights: what :class:`converter.convert.Conversion` cannot know of it, and PyTorch's files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click
import torch
from torch import fx

from converter.compare import activations, differences
from converter.convert import Conversion, ConversionOptions, WeightsOrigin
from converter.export.formats import Output, save_pth
from converter.export.safetensors import load_state
from converter.verify import Verification
from icnet_common import console
from icnet_common.errors import InputError, WeightsError
from icnet_common.files import write_json
from prototxt import Net, read_net, read_weights

from ..icnet import ICNet, folded
from ..variants import NAMES
from ..variants.semseg import SemSegICNet, to_icnet
from .caffe import fitting_net, icnet_net, pyramid_of, resized_net, state_of
from .checkpoints import ICNET, Checkpoint, kind_of, read_checkpoint, write_checkpoint
from .known import Provenance, by_file, by_md5

CHECKED_SIZE = (129, 257)
"""Height and width of the seeded image on which every layer is compared."""

FORMATS = ("safetensors", "pth")
"""Of a checkpoint of PyTorch."""


def conversion_of(options: ConversionOptions) -> Conversion | CheckpointConversion:
    """The conversion that suits a file: of a checkpoint of PyTorch, of an ICNet, or of any other Caffe net.

    Raises:
        InputError: a file cannot be used, or only has the name of published weights.
        click.UsageError: options that are not for this kind of file.
    """
    if kind_of(options.weights):
        return CheckpointConversion(options)
    if options.caffe_faithful:
        raise click.UsageError("--caffe-faithful is for checkpoints of pytorch-semseg and Supervisely")
    blobs = read_weights(options.weights)
    origin = _origin(options)
    if options.prototxt is None:
        return ICNetConversion(options, fitting_net(blobs, str(options.weights)), blobs, origin)
    net = read_net(options.prototxt)
    return (ICNetConversion if is_icnet(net) else Conversion)(options, net, blobs, origin)


def net_of(weights: Path | None, prototxt: Path | None) -> Net:
    """The net of a text (which may stand in the weights' place), or the ICNet that fits the weights.

    Raises:
        InputError: a file cannot be used.
        click.UsageError: the weights are a checkpoint of PyTorch, which has no text.
    """
    if prototxt is not None or weights is None or weights.suffix == ".prototxt":
        return read_net(prototxt or weights or "")
    if kind_of(weights):
        raise click.UsageError(f"{weights} is a checkpoint of PyTorch: of a caffemodel's options it takes none")
    return fitting_net(read_weights(weights), str(weights))


def is_icnet(net: Net) -> bool:
    """Whether a net has all of ICNet's layers, by their names."""
    names = {layer.name for layer in net.layers}
    return {layer.name for layer in icnet_net(names).layers if layer.type != "Input"} <= names


def _origin(options: ConversionOptions) -> WeightsOrigin:
    """The published weights that this file is, if any; stops a file that only has their name."""
    provenance = Provenance.of(options.weights)
    named, known = by_file(provenance.file), by_md5(provenance.md5)
    if named is not None and named.md5 not in ("", provenance.md5) and not options.allow_md5_mismatch:
        raise WeightsError(
            f"{options.weights}: has the name of published weights, but its md5 is {provenance.md5} and theirs "
            f"{named.md5}; download it again, or use --allow-md5-mismatch if it is meant to differ"
        )
    if known is None:
        return WeightsOrigin(provenance.as_data(), f"md5 {provenance.md5}, not one of the published files")
    accuracy = f" / {known.pixel_accuracy} pixel accuracy" if known.pixel_accuracy is not None else ""
    described = f"the published {known.file}, {known.mean_iou} mIoU{accuracy} on {known.split}"
    return WeightsOrigin(provenance.as_data(), f"md5 {provenance.md5}: {described}", dataclasses.asdict(known))


class ICNetConversion(Conversion):
    """Compares with the hand-written net, fits the pyramid to other sizes, and keeps the auxiliary heads."""

    def checks(self) -> list[Verification]:
        height, width = next(iter(self.net.inputs.values()))[2:]
        provenance = Provenance.from_data(self.origin.provenance)
        state = state_of(self.graph, self.blobs)
        self.checkpoint = Checkpoint(state, provenance, pyramid_of(self.net), (height, width))
        if not self.options.verified:
            return super().checks()
        self._checked = self.graph_of(resized_net(self.net, CHECKED_SIZE))
        return [*verify(self.checkpoint.model(), self._checked), *super().checks()]

    def checked_graph(self) -> fx.GraphModule:
        return self._checked

    def net_for(self, shapes: Mapping[str, tuple[int, ...]]) -> Net:
        images = [shape for shape in shapes.values() if len(shape) == 4]
        if len(images) != 1:
            return super().net_for(shapes)
        height, width = images[0][2:]
        click.echo(f"pyramid  windows fitted to {height}x{width}; if Caffe had others, give --prototxt with them")
        return resized_net(self.net, (height, width))

    def fold(self) -> None:
        super().fold()
        self.checkpoint = _folded(self.checkpoint)

    def write(self, name: str, paths: tuple[Path, ...]) -> Output:
        """A state dict with the auxiliary heads; other formats have the net alone."""
        if name not in FORMATS:
            return super().write(name, paths)
        _write_state(name, paths[0], self.checkpoint)
        return Output(name, paths)


def verify(model: ICNet, graph: fx.GraphModule) -> list[Verification]:
    """Compare the converted graph with ``model``, and ``model`` with its folded form where it has batch normalisation.

    Both run on a seeded image of :data:`CHECKED_SIZE`, for which the graph must be made.
    """
    generator = torch.Generator().manual_seed(0)
    image = 50 * torch.randn(1, 3, *CHECKED_SIZE, generator=generator)
    pyramid, model.pyramid = model.pyramid, None
    try:
        ours = activations(model, image)
        results = [Verification("converted graph and ICNet", differences(activations(graph, image), ours))]
        if not model.merged:
            results.append(
                Verification("folded and unfolded", differences(activations(folded(model), image), normalized(ours)))
            )
    finally:
        model.pyramid = pyramid
    return results


def normalized(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The activations of an unmerged net under the names of the merged one: a convolution's value is its BN's."""
    return {name: values.get(f"{name}/bn", value) for name, value in values.items()}


class CheckpointConversion:
    """Writes a checkpoint of PyTorch, all of which fits its network, as one of :data:`FORMATS`.

    With ``caffe_faithful``, pytorch-semseg's and Supervisely's weights become Caffe's net, with Caffe's names.
    """

    def __init__(self, options: ConversionOptions) -> None:
        if options.prototxt or options.reference or options.report_folder or options.lenient:
            raise click.UsageError(
                f"{options.weights} is a checkpoint of PyTorch: of a caffemodel's options it takes none"
            )
        self.options = options

    def convert(self) -> None:
        """Read, write, and read safetensors files again; prints what was found.

        Raises:
            InputError: the file cannot be used, or not in this way; nothing is written then.
        """
        options, paths = self.options, self.options.paths()
        if unknown := [name for name in options.formats if name not in FORMATS]:
            raise InputError(
                f"--to {', '.join(unknown)}: for Caffe's nets; a checkpoint can be written as {', '.join(FORMATS)}"
            )
        checkpoint = read_checkpoint(options.weights)
        found = f"{options.weights.name}: {_name(checkpoint)}, all of {len(checkpoint.state)} tensors in their places"
        network = checkpoint.network(aux=_has_heads(checkpoint), caffe_faithful=options.caffe_faithful)
        if isinstance(network, SemSegICNet) and options.caffe_faithful:
            checkpoint = dataclasses.replace(checkpoint, state=to_icnet(network).state_dict())
        if options.fold_bn:
            if checkpoint.architecture != ICNET:
                raise InputError(f"{options.weights}: --fold-bn is for ICNet itself, and this is {_name(checkpoint)}")
            checkpoint = _folded(checkpoint)
        lines = [found]
        for name, (path, *_) in paths.items():
            _write_state(name, path, checkpoint)
            lines.append(f"written  {path}: {_name(checkpoint)}")
        click.echo("\n".join(lines))
        if options.json_file:
            results = {
                "provenance": checkpoint.provenance.as_data(),
                "architecture": checkpoint.architecture,
                "outputs": [{"format": name, "paths": list(map(str, files))} for name, files in paths.items()],
                "lines": lines,
                "versions": console.versions(),
            }
            write_json(options.json_file, results)


def _name(checkpoint: Checkpoint) -> str:
    return NAMES.get(checkpoint.architecture, "ICNet")


def _has_heads(checkpoint: Checkpoint) -> bool:
    return "conv6_sub2.weight" in checkpoint.state


def _folded(checkpoint: Checkpoint) -> Checkpoint:
    return dataclasses.replace(checkpoint, state=folded(checkpoint.model(aux=_has_heads(checkpoint))).state_dict())


def _write_state(name: str, path: Path, checkpoint: Checkpoint) -> None:
    if name == "pth":
        save_pth(path, checkpoint.state)
        return
    write_checkpoint(path, checkpoint)
    found, _ = load_state(path)
    for key, value in checkpoint.state.items():
        if not torch.equal(found[key], value):
            raise InputError(f"{path}: read again, {key} is not what it was; the disk may be damaged")
