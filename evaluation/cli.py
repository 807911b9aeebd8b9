"""``icnet-eval``: predict the images of a list with the official arithmetic, and score them as the original does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pytorch_icnet import console

from .distributed import LOST, Group, processes
from .job import predict_and_score, score_only
from .options import Options
from .progress import Log, beside_bar
from .protocols import PROTOCOLS
from .report.publish import publish
from .report.text import image_line
from .score import ImageScore
from .signals import terminable

_FOLDER = click.Path(file_okay=False, path_type=Path)
_ENDED = "ended from outside; what is finished is kept: run again with --resume"
_FILE = click.Path(dir_okay=False, path_type=Path)


@console.command("icnet-eval")
@click.option("--list", "list_file", required=True, help="A list file, or val, train, test: the lists of Cityscapes.")
@click.option("--data-root", type=_FOLDER, default=Path(), help="Where the list's paths start.  [default: here]")
@click.option("--weights", type=_FILE, help="A caffemodel, a safetensors file or a checkpoint.")
@click.option("--input-size", type=click.IntRange(1), nargs=2, metavar="H W", help="Default: the weights' own.")
@click.option("--save-root", type=_FOLDER, help="For gray/, color/, feat/ and the tables.  [default: results]")
@click.option("--device", default="auto", show_default=True, help="cuda, cpu, or auto.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="official", show_default=True)
@click.option("--score-only", type=_FOLDER, metavar="DIR", help="Score the label maps in DIR instead of predicting.")
@click.option("--limit", type=click.IntRange(1), help="Use at most so many lines of the list.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out so many lines at the beginning.")
@click.option("--resume", is_flag=True, help="Keep the whole results of an interrupted run.")
@click.option(
    "--save-feat",
    is_flag=False,
    flag_value="mat",
    type=click.Choice(["mat", "npz", "both"]),
    help="Also write the probabilities, about 160 MB per image.  [mat where no kind is given]",
)
@click.option("--save-overlay", is_flag=True, help="Also write the colours blended over the images.")
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the overlay's colours.")
@click.option("--test-server", type=_FILE, metavar="ZIP", help="Write label ids for Cityscapes' test server.")
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
@click.option("--workers", type=click.IntRange(1), help="Images in the net at once.  [default: one per core, up to 8]")
@click.option("--timeout", type=click.FloatRange(1), default=1800, show_default=True, help="Of other processes, s.")
@click.option("--json", "json_file", type=_FILE, help="Write the results as JSON.")
@click.option("--html", "html_file", type=_FILE, help="Write the results as a page.  [default: below --save-root]")
def main(protocol: str, timeout: float, **others: Any) -> None:
    """Predict the images of a list and score the label maps, with the arithmetic of ICNet's original evaluation.

    Images, labels and lists are those of Cityscapes or laid out alike; labels are trainIds. A list without labels is
    predicted only. With --score-only DIR nothing is predicted, and the PNG files in DIR are scored.
    """
    options = Options(
        protocols=(protocol,),
        timeout=timeout,
        split=None,
        scales=(1.0,),
        flip=None,
        classes=None,
        expect=None,
        tolerance=0.1,
        audit=None,
        **others,
    )
    _refuse_wrong_use(options)
    if options.score_only is not None:
        publish(score_only(options, Log(), _show), options)
        return
    with processes(console.device(options.device).type, timeout) as group:
        try:
            _predict(options, group)
        except Exception:
            if group.leads:
                raise
            raise SystemExit(1) from None  # the leading process says why


def _predict(options: Options, group: Group) -> None:
    with Log(quiet=not group.leads) as log, terminable(LOST if group.size > 1 else _ENDED):
        evaluation = predict_and_score(options, group, log, _show)
        if group.leads:
            publish(evaluation, options)


def _refuse_wrong_use(options: Options) -> None:
    if (options.weights is None) == (options.score_only is None):
        raise click.UsageError("give either --weights FILE, to predict and score, or --score-only DIR")
    if options.score_only is not None and (options.resume or options.save_feat or options.input_size):
        raise click.UsageError("--resume, --save-feat and --input-size are for predicting, not for --score-only")


def _show(number: int, total: int, image: ImageScore) -> None:
    with beside_bar():
        click.echo(image_line(number, total, image))
