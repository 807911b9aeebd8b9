"""From what came of an evaluation to everything that is printed and written of it."""

from __future__ import annotations

from pathlib import Path

import click

from icnet_common.files import write_json

from ..run.job import Evaluation
from ..run.options import Options
from . import data, html, pictures, tables, text
from .published_scores import beside_published, compare
from .server_submission import write_zip

_SHOWN = 4
"""Worst and best images on the page."""


def publish(evaluation: Evaluation, options: Options) -> bool:
    """Print the summary; write the tables, the page and JSON below the root, and the files that were asked for.

    Returns:
        Whether the figures are those that are expected, where some are.
    """
    report, results = evaluation.data, evaluation.results
    met = True
    if results:
        for result in results:
            click.echo(text.summary(result))
        report["scores"] = data.scores(results[0])
        for said, result in zip(report["protocols"], results, strict=True):
            said.update(result.as_data())
        report["published"] = beside_published(report.get("weights", {}), results[0], multi_scale=options.multi_scale)
        if report["published"]:
            click.echo(text.comparison(report["published"], len(results[0].images)))
        if evaluation.expected:
            comparison = compare(results[0], evaluation.expected, options.tolerance)
            report["expected"], met = comparison.as_data(), comparison.met
            click.echo(comparison.as_text())
    else:
        click.echo(f"{report['timing']['images']} images predicted; the list has no labels to score with")
    if "timing" in report:
        click.echo(text.timing(report["timing"]))
    if evaluation.audit is not None:
        report["audit"] = evaluation.audit.as_data()
        click.echo(evaluation.audit.as_text())
    _write(evaluation, options)
    return met


def _write(evaluation: Evaluation, options: Options) -> None:
    if options.test_server is not None:
        write_zip(options.test_server, evaluation.entries, evaluation.predictions, evaluation.scoring.table)
    if evaluation.root is not None:
        _write_below(evaluation.root, evaluation)
        write_json(evaluation.root / "report.json", evaluation.data)
        _write_page(evaluation.root / "report.html", evaluation)
    if options.json_file is not None:
        write_json(options.json_file, evaluation.data)
    if options.html_file is not None:
        _write_page(options.html_file, evaluation)


def _write_below(root: Path, evaluation: Evaluation) -> None:
    for number, result in enumerate(evaluation.results):
        kind = "" if number == 0 else f".{result.protocol}"
        tables.write_class_table(root / f"classes{kind}.csv", result)
        tables.write_image_table(root / f"images{kind}.csv", result)
        tables.write_confusion(root / f"confusion{kind}.csv", result)


def _write_page(path: Path, evaluation: Evaluation) -> None:
    html.write_page(path, evaluation.data, evaluation.results, evaluation.scoring.table, _pictures(evaluation))


def _pictures(evaluation: Evaluation) -> list[html.Pictures]:
    def tiles(names: list[tuple[str, float | None]]) -> list[pictures.Tiles]:
        return pictures.tiles(names, evaluation.entries, evaluation.scoring, evaluation.predictions)

    if not evaluation.results:
        names: list[tuple[str, float | None]] = [(entry.image, None) for entry in evaluation.entries[:_SHOWN]]
        return [html.Pictures("First images", tiles(names))]
    worst, best = pictures.extremes(evaluation.results[0], _SHOWN)
    return [
        html.Pictures(title, tiles([(image.name, image.accuracy) for image in images]))
        for title, images in (("Worst images", worst), ("Best images", best))
    ]
