"""Runs in an environment that has cityscapesScripts, without this project: what they make of a folder.

``python theirs.py FOLDER`` takes ``FOLDER/<name>_gtFine_polygons.json`` and ``FOLDER/<name>_pred.png`` (label ids),
writes ``<name>_gtFine_labelIds.png``, ``_instanceIds.png`` and ``_labelTrainIds.png``, and ``result.json``.
"""

# mypy: ignore-errors

from __future__ import annotations

import json
import sys
from pathlib import Path

from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation
from cityscapesscripts.helpers.labels import labels
from cityscapesscripts.preparation.json2instanceImg import json2instanceImg
from cityscapesscripts.preparation.json2labelImg import json2labelImg


def main(folder: Path) -> None:
    annotations = sorted(folder.glob("*_gtFine_polygons.json"))
    for path in annotations:
        base = str(path).removesuffix("_polygons.json")
        json2labelImg(str(path), f"{base}_labelIds.png", "ids")
        json2labelImg(str(path), f"{base}_labelTrainIds.png", "trainIds")
        json2instanceImg(str(path), f"{base}_instanceIds.png", "ids")
    predictions = [Path(str(path).replace("_gtFine_polygons.json", "_pred.png")) for path in annotations]
    result = {"labels_table": [list(label) for label in labels]}
    if all(path.exists() for path in predictions):
        evaluation.args.quiet = True
        evaluation.args.exportFile = str(folder / "evaluation.json")
        truths = [str(path).replace("_polygons.json", "_labelIds.png") for path in annotations]
        evaluation.evaluateImgLists([str(path) for path in predictions], truths, evaluation.args)
        result["evaluation"] = json.loads((folder / "evaluation.json").read_text())
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
