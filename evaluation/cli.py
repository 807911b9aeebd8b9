"""``icnet-eval``: predict the images of a list with the official arithmetic, and score them as the original does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from prototxt.errors import InputError
from pytorch_icnet import console
from pytorch_icnet.imaging.palette import CITYSCAPES

from . import report
from .lists import Entry, locate, read_list, refuse_equal_stems
from .pipeline import Outputs
from .run import open_model, run
from .score import ImageScore, Scores, collect, first_lines, score_entries

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@console.command("icnet-eval")
@click.option("--list", "list_file", required=True, help="A list file, or val, train, test: the lists of Cityscapes.")
@click.option("--data-root", type=_FOLDER, default=Path(), help="Where the list's paths start.  [default: here]")
@click.option("--weights", type=_FILE, help="A caffemodel, a safetensors file or a checkpoint.")
@click.option("--input-size", type=click.IntRange(1), nargs=2, metavar="H W", help="Default: the weights' own.")
@click.option("--save-root", type=_FOLDER, help="For gray/, color/, feat/ and the tables.  [default: results]")
@click.option("--device", default="auto", show_default=True, help="cuda, cpu, or auto.")
@click.option("--protocol", type=click.Choice(["official"]), default="official", show_default=True)
@click.option("--score-only", type=_FOLDER, metavar="DIR", help="Score the label maps in DIR instead of predicting.")
@click.option("--limit", type=click.IntRange(1), help="Use at most so many lines of the list.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out so many lines at the beginning.")
@click.option("--resume", is_flag=True, help="Keep the whole results of an interrupted run.")
@click.option("--save-feat", is_flag=True, help="Also write the probabilities, about 160 MB per image.")
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
@click.option("--json", "json_file", type=_FILE, help="Write the results as JSON.")
def main(
    list_file: str,
    data_root: Path,
    weights: Path | None,
    input_size: tuple[int, int] | None,
    save_root: Path | None,
    device: str,
    protocol: str,
    score_only: Path | None,
    limit: int | None,
    skip: int,
    resume: bool,
    save_feat: bool,
    on_missing: str,
    strict_list: bool,
    num_classes: int | None,
    json_file: Path | None,
) -> None:
    """Predict the images of a list and score the label maps, with the arithmetic of ICNet's original evaluation.

    Images, labels and lists are those of Cityscapes or laid out alike; labels are trainIds. A list without labels is
    predicted only. With --score-only DIR nothing is predicted, and the PNG files in DIR are scored.
    """
    if (weights is None) == (score_only is None):
        raise click.UsageError("give either --weights FILE, to predict and score, or --score-only DIR")
    if score_only is not None and (resume or save_feat or input_size):
        raise click.UsageError("--resume, --save-feat and --input-size are for predicting, not for --score-only")
    listed = read_list(list_file)
    data: dict[str, Any] = {
        "protocol": protocol,
        "list": {**report.digest(listed.path), "lines": len(listed.entries)},
        "settings": {"data_root": str(data_root), "skip": skip, "limit": limit, "on_missing": on_missing},
        "versions": console.versions(),
    }
    skip_missing = on_missing == "skip"
    scores: Scores | None = None
    if score_only is not None:
        entries = listed.entries if strict_list else first_lines(listed, score_only, _say)
        entries = _chosen(entries, skip, limit)
        entries = _present(entries, data_root, "label", skip=skip_missing)
        data["predictions"] = str(score_only)
        scores = _score(entries, score_only, data_root, num_classes or len(CITYSCAPES))
    else:
        assert weights is not None
        save_root = save_root or Path("results")
        entries = _chosen(listed.entries, skip, limit)
        refuse_equal_stems(entries, listed.path)
        entries = _present(entries, data_root, "image", skip=skip_missing)
        labelled = _present(entries, data_root, "label", skip=skip_missing) if listed.has_labels else ()
        model = open_model(weights, device, input_size=input_size, num_classes=num_classes)
        data.update(model.as_data())
        outputs = Outputs(save_root, feat=save_feat)
        data["timing"] = run(model, entries, data_root, outputs, resume=resume, say=_say)
        if labelled:
            scores = _score(labelled, save_root / "gray", data_root, model.num_classes)
    _report(data, scores, save_root, json_file)


def _chosen(entries: Sequence[Entry], skip: int, limit: int | None) -> tuple[Entry, ...]:
    chosen = tuple(entries[skip:][:limit])
    if not chosen:
        raise InputError(f"--skip {skip} leaves none of {len(entries)} lines")
    return chosen


def _present(entries: tuple[Entry, ...], data_root: Path, what: str, *, skip: bool) -> tuple[Entry, ...]:
    """The entries whose image or label is there; the others are an error unless they are to be skipped."""
    present, missing = [], []
    for entry in entries:
        path = locate(data_root, entry.image if what == "image" else entry.label or "")
        if path.is_file():
            present.append(entry)
        else:
            missing.append(str(path))
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        message = f"{len(missing)} of {len(entries)} {what}s are missing: {named}"
        if not skip:
            raise InputError(f"{message}; is --data-root right? --on-missing skip leaves them out")
        _say(f"{message}; left out")
        if not present:
            raise InputError(f"no {what} is left")
    return tuple(present)


def _score(entries: Sequence[Entry], predictions: Path, data_root: Path, num_classes: int) -> Scores:
    """Score, printing the original's line for each image."""

    def scored() -> Iterator[ImageScore | None]:
        with closing(score_entries(entries, predictions, data_root, num_classes, _say)) as images:
            for number, image in enumerate(images, start=1):
                if image is not None:
                    click.echo(report.image_line(number, len(entries), image))
                yield image

    return collect(scored())


def _report(data: dict[str, Any], scores: Scores | None, save_root: Path | None, json_file: Path | None) -> None:
    """Print the summary; write the tables below the save root, and the JSON file."""
    if scores is None:
        click.echo(f"{data['timing']['images']} images predicted; the list has no labels to score with")
    else:
        click.echo(report.summary(scores))
        data["scores"] = report.scores_as_data(scores)
        data["published"] = report.comparison(data.get("weights", {}), scores)
        if data["published"]:
            click.echo(report.comparison_text(data["published"], len(scores.images)))
    if "timing" in data:
        click.echo(report.timing_text(data["timing"]))
    if save_root is not None:
        if scores is not None:
            report.write_class_table(save_root / "classes.csv", scores)
            report.write_image_table(save_root / "images.csv", scores)
        report.write_json(save_root / "report.json", data)
    if json_file is not None:
        report.write_json(json_file, data)


def _say(message: str) -> None:
    click.echo(message, err=True)
