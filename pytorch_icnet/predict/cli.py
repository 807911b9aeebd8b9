"""``icnet-predict``: label maps of images, videos and a camera."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import click
import torch
from click.core import ParameterSource

from evaluation.data.lists import data_root as root_of_data
from evaluation.data.lists import locate, read_list
from icnet_common import console
from icnet_common.console import FILE, FOLDER, PATH, OptionalValues
from icnet_common.errors import InputError
from icnet_common.files import write_json
from icnet_common.signals import GracefulShutdown

from .. import options as shared
from ..datasets.tables import read_table
from ..imaging.normalization import NORMALIZATIONS
from ..imaging.windows import OVERLAP, CropRegion
from ..outputs import KINDS, PROBABILITY_FILES, Drawing
from ..predictor import Predictor
from ..supervisely.apply import apply_config
from .job import Method, RunSummary, SourceResult, predict
from .outputs import SourceOutputs
from .sources import CameraSource, FrameSource, find_sources, refuse_equal_names, source_of
from .video_files import WITHOUT_PYAV, pyav

logger = logging.getLogger(__name__)

_FOR_PROJECTS = ("inputs", "supervisely", "weights", "output", "device", "precision", "backend")
_ENDED = "ended from outside; what is finished is kept, and videos can be played as far as they got"


def _kinds(value: str) -> tuple[str, ...]:
    kinds = [kind.strip().replace("color", "colour").replace("_", "-") for kind in value.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise click.BadParameter(f"no output {kind!r}; there are {', '.join(KINDS)}")
    return tuple(dict.fromkeys(kinds))


def _region(ctx: click.Context, option: click.Parameter, value: tuple[str, ...] | None) -> CropRegion | None:
    if value is None:
        return None
    try:
        return CropRegion.parse(value)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


def _rate(value: str) -> Fraction:
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 1000) <= rate <= 1000 or rate.denominator > 1001:
        raise click.BadParameter(f"{value!r}; expected frames per second, 0.001 to 1000, such as 25 or 30000/1001")
    return rate


@console.command("icnet-predict")
@click.argument("inputs", nargs=-1, metavar="[IMAGE|VIDEO|FOLDER|PATTERN]...")
@click.option(
    "--supervisely", type=FILE, metavar="CONFIG", help="The input is a Supervisely project; do what this says with it."
)
@click.option("--camera", type=click.IntRange(0), metavar="N", help="Predict what this camera sees, until Ctrl-C.")
@click.option("--list", "list_file", help="Predict the images of a list; val, train, test: those of Cityscapes.")
@click.option("--data-root", type=FOLDER, help="Where a list's paths start.  [default: CITYSCAPES_DATASET, or here]")
@click.option(
    "--weights",
    type=PATH,
    required=True,
    help="A caffemodel, a safetensors file or a checkpoint; with --supervisely also a checkpoint folder.",
)
@click.option("--output", type=FOLDER, default="predictions", show_default=True, help="Where the results go.")
@click.option(
    "--save",
    type=_kinds,
    metavar="KIND,...",
    help=f"Of {', '.join(KINDS)}.  [default: labels,colour,overlay; of videos colour,overlay]",
)
@click.option(
    "--probabilities",
    cls=OptionalValues,
    accepts=PROBABILITY_FILES.__contains__,
    alone=PROBABILITY_FILES[0],
    type=click.Choice(PROBABILITY_FILES),
    metavar="[npz|mat]",
    help="Also write the probabilities: npz, or mat as the official evaluation.  [npz if none is given]",
)
@click.option("--float16", is_flag=True, help="Store probabilities in npz files as float16 instead of float32.")
@shared.alpha
@click.option("--native", is_flag=True, help="Feed images at their own size instead of resizing all to one.")
@shared.input_size
@shared.pixels
@click.option(
    "--sliding-window", type=click.IntRange(1), nargs=2, metavar="H W", help="Average over windows of this size."
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1, max_open=True),
    help=f"Of neighbouring windows, as a part of the window.  [default: {OVERLAP:.2f}]",
)
@click.option(
    "--roi",
    nargs=4,
    callback=_region,
    metavar="LEFT TOP RIGHT BOTTOM",
    help="Predict this part only: pixels (120, 120px) or percent (12.5%) from the left and upper edge. "
    "The rest is labelled 255.",
)
@click.option(
    "--as-video",
    type=_rate,
    metavar="RATE",
    help="The images of each folder are the frames of a video, so many per second (25, 30000/1001).",
)
@shared.classes
@shared.device
@shared.precision
@shared.backend
@shared.threads
@click.option("--limit", type=click.IntRange(1), help="Stop after so many images and frames.")
@click.option("--skip-broken", is_flag=True, help="Go on after files that cannot be read.")
@click.option("--stored-orientation", is_flag=True, help="Leave photographs as stored, whatever their EXIF says.")
@console.json_file
def main(**given: Any) -> None:
    """Predict label maps of images, of all images and videos in folders, of videos, or of what a camera sees.

    Results lie below --output in a folder for each kind and are called after their source: labels/NAME.png,
    overlay/NAME.mp4.
    """
    options = SimpleNamespace(**given)
    if options.supervisely is not None:
        _apply_to_project(options, options.supervisely)
        return
    _refuse_wrong_use(options)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    sources = _sources(options)
    if any(source.is_video for source in sources) and not pyav():
        logger.warning(WITHOUT_PYAV)
    predictor = Predictor(
        options.weights,
        options.device,
        precision=options.precision,
        backend=options.backend,
        native=options.native,
        input_size=options.input_size,
        pixels=None if options.pixels is None else NORMALIZATIONS[options.pixels],
        threads=options.threads,
        classes=None if options.classes is None else read_table(options.classes),
    )
    features = options.probabilities or (PROBABILITY_FILES[0] if "probabilities" in (options.save or ()) else None)
    drawing = Drawing(predictor.classes, options.alpha)
    outputs = SourceOutputs(options.output, options.save, drawing, features, options.float16)
    outputs.refuse_overwriting(sources)
    overlap = OVERLAP if options.overlap is None else options.overlap
    method = Method(predictor, options.roi, options.sliding_window, overlap)
    summary = RunSummary(predictor, outputs, {place: SourceResult(source) for place, source in enumerate(sources)})
    try:
        with GracefulShutdown(_ENDED, interrupt=True):
            predict(sources, method, outputs, summary, limit=options.limit, skip_broken=options.skip_broken)
    finally:
        if summary.frames or summary.complete:
            click.echo(summary.line())
        if options.json_file is not None:
            write_json(options.json_file, summary.as_data())
    if not summary.frames:
        raise InputError("nothing could be predicted")


def _apply_to_project(options: SimpleNamespace, config: Path) -> None:
    """What ``python -m pytorch_icnet.supervisely`` does."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name not in _FOR_PROJECTS:
            raise click.UsageError(f"{parameter.opts[0]} does not go with --supervisely")
    if len(options.inputs) != 1:
        raise click.UsageError("--supervisely takes one input, the folder of a project")
    runtime = {name: getattr(options, name) for name in ("device", "precision", "backend")}
    count = apply_config(config, options.weights, options.inputs[0], options.output, **runtime)
    click.echo(f"{options.output}: {count} images")


def _sources(options: SimpleNamespace) -> list[FrameSource]:
    upright = not options.stored_orientation
    sources: list[FrameSource] = []
    if options.camera is not None:
        sources.append(CameraSource(options.camera))
    if options.list_file is not None:
        root = root_of_data(options.data_root)
        for entry in read_list(options.list_file).entries:
            sources.append(source_of(locate(root, entry.image), PurePath(entry.stem), upright))
    sources += find_sources(options.inputs, upright=upright, without=options.output, rate=options.as_video)
    refuse_equal_names(sources)
    return sources


def _refuse_wrong_use(options: SimpleNamespace) -> None:
    if options.weights.is_dir():
        raise click.UsageError(f"--weights {options.weights}: a folder; expected a file")
    if not options.inputs and options.camera is None and options.list_file is None:
        raise click.UsageError("nothing to predict; give images, videos or folders, --list FILE, or --camera 0")
    if options.camera is not None and (options.inputs or options.list_file is not None):
        raise click.UsageError("--camera goes alone: it ends with Ctrl-C")
    if options.native and options.input_size is not None:
        raise click.UsageError("--native feeds images at their own size; leave out --input-size")
    if options.overlap is not None and options.sliding_window is None:
        raise click.UsageError("--overlap is for --sliding-window H W")
    if options.data_root is not None and options.list_file is None:
        raise click.UsageError("--data-root is for --list")
