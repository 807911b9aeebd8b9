"""``icnet-eval``: predict the images of a list with the official arithmetic, and score them as the original does."""

from __future__ import annotations

from typing import Any

import click

from icnet_common import console
from icnet_common.console import FILE, FOLDER, OptionalValues
from icnet_common.progress import log_file
from icnet_common.signals import GracefulShutdown
from pytorch_icnet import options as shared
from pytorch_icnet.runtime.devices import find_device

from .data.labels import KINDS
from .data.lists import data_root
from .protocols import MULTI_SCALE, PROTOCOLS
from .report.publish import publish
from .report.published_scores import TOLERANCE
from .run.distributed import LOST, processes
from .run.job import evaluate, score_only
from .run.options import Options

FEATURES = ("mat", "npz")
"""Kinds of files for probabilities."""

_ENDED = "ended from outside; what is finished is kept: run again with --resume"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(ctx: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(number) for number in value.split(",") if number)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not numbers with commas between them") from error


def _scales(ctx: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...]:
    scales = _numbers(ctx, option, value)
    if scales is None:
        return (1.0,)
    if not scales or not all(0 < scale <= 8 for scale in scales):
        raise click.BadParameter(f"{value!r}; expected factors above 0, up to 8")
    return scales


def _protocols(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Names, given several times or with commas between them."""
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name not in PROTOCOLS:
            raise click.BadParameter(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return tuple(dict.fromkeys(names))


@console.command("icnet-eval")
@click.option("--list", "list_file", help="A list file, or val, train, test: the lists of Cityscapes.")
@click.option("--split", help="Instead of a list: val, train or test, all images below --data-root.")
@click.option("--data-root", type=FOLDER, help="Where paths start.  [default: CITYSCAPES_DATASET, or here]")
@click.option("--weights", type=FILE, help="A caffemodel, a safetensors file or a checkpoint.")
@shared.input_size
@shared.pixels
@click.option("--save-root", type=FOLDER, help="For gray/, color/, feat/ and the tables.  [default: results]")
@shared.device
@shared.backend
@click.option("--rewrite/--no-rewrite", default=True, help="Whether to apply the exact rewrites.  [default: yes]")
@click.option(
    "--caffe-faithful", is_flag=True, help="Run pytorch-semseg's or Supervisely's weights as Caffe's net does."
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    callback=_protocols,
    metavar="NAME",
    help=f"{', '.join(PROTOCOLS)}; several with commas. The first makes the label maps.  [default: the network's own]",
)
@click.option(
    "--scales",
    callback=_scales,
    metavar="F,F,...",
    help=f"Average over sizes of the image, where the protocol can; published: {','.join(map(str, MULTI_SCALE))}.",
)
@click.option("--flip/--no-flip", default=None, help="Average over mirrored images, where the protocol can.")
@shared.classes
@click.option("--label-kind", type=click.Choice(KINDS), help="What labels hold.  [default: what they are called]")
@click.option("--score-only", type=FOLDER, metavar="DIR", help="Score the label maps in DIR instead of predicting.")
@click.option("--limit", type=click.IntRange(1), help="Use at most so many lines of the list.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out so many lines at the beginning.")
@click.option("--resume", is_flag=True, help="Keep the whole results of an interrupted run.")
@click.option(
    "--save-feat",
    is_flag=False,
    flag_value=FEATURES[0],
    type=click.Choice([*FEATURES, "both"]),
    help="Also write the probabilities, about 160 MB per image.  [mat where no kind is given]",
)
@click.option("--float16", is_flag=True, help="Store probabilities in npz files as float16 instead of float32.")
@click.option("--save-overlay", is_flag=True, help="Also write the colours blended over the images.")
@shared.alpha
@click.option("--test-server", type=FILE, metavar="ZIP", help="Write label ids for Cityscapes' test server.")
@click.option(
    "--on-missing",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do about images and labels that are not there.",
)
@click.option(
    "--strict-list",
    is_flag=True,
    help="With --score-only: score all lines. The original scores as many as there are PNG files.",
)
@click.option("--num-classes", type=click.IntRange(1, 254), help="Default: the model's; 19 with --score-only.")
@click.option(
    "--expect",
    cls=OptionalValues,
    accepts=_is_number,
    max_values=2,
    callback=_numbers,
    metavar="[MIOU [ACC]]",
    help="End with exit code 1 where these percentages are not met; default: those published for the weights.",
)
@click.option("--tolerance", type=click.FloatRange(0), default=TOLERANCE, show_default=True, help="Of --expect.")
@click.option(
    "--audit",
    is_flag=False,
    flag_value=3,
    type=click.IntRange(1),
    metavar="[N]",
    help="Also evaluate N images with each well-known mistake.  [3 where no number is given]",
)
@click.option("--workers", type=click.IntRange(1), help="Images in the net at once.  [default: one per core, up to 8]")
@click.option("--timeout", type=click.FloatRange(1), default=1800, show_default=True, help="Of other processes, s.")
@console.json_file
@click.option("--html", "html_file", type=FILE, help="Write the results as a page.  [default: below --save-root]")
def main(**given: Any) -> None:
    """Predict the images of a list and score the label maps, with the arithmetic of ICNet's original evaluation.

    Images, labels and lists are those of Cityscapes or laid out alike. A list without labels is predicted only. With
    --score-only DIR nothing is predicted, and the PNG files in DIR are scored. Several processes share the work under
    torchrun: torchrun --nproc-per-node N -m evaluation ...
    """
    options = Options(**{**given, "data_root": data_root(given["data_root"])})
    _refuse_wrong_use(options)
    with processes(find_device(options.device).type, options.timeout) as group:
        try:
            with log_file() as log, GracefulShutdown(LOST if group.size > 1 else _ENDED):
                evaluation = evaluate(options, group, log) if options.score_only is None else score_only(options)
                met = publish(evaluation, options) if group.is_main else True
        except Exception:
            if group.is_main:
                raise
            raise SystemExit(1) from None  # the leading process says why
    if not met:
        raise SystemExit(1)


def _refuse_wrong_use(options: Options) -> None:
    if (options.weights is None) == (options.score_only is None):
        raise click.UsageError("give either --weights FILE, to predict and score, or --score-only DIR")
    if (options.list_file is None) == (options.split is None):
        raise click.UsageError("give either --list, a list of images, or --split, a part of Cityscapes")
    if options.classes is not None and options.num_classes is not None:
        raise click.UsageError("--classes says how many classes there are; leave out --num-classes")
    if options.expect is not None and len(options.expect) > 2:
        raise click.UsageError("--expect takes a mean IoU and a pixel accuracy at most")
    if options.score_only is not None:
        for name in (
            "resume",
            "save_feat",
            "save_overlay",
            "float16",
            "input_size",
            "pixels",
            "audit",
            "caffe_faithful",
        ):
            if getattr(options, name):
                raise click.UsageError(f"--{name.replace('_', '-')} is for predicting, not for --score-only")
