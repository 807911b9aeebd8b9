"""A net's summary as a table."""

from __future__ import annotations

import subprocess
import sys

from converter import summary, summary_frame
from prototxt import bundled_net


def test_the_frame_has_the_rows_of_the_summary() -> None:
    net = bundled_net("icnet_cityscapes")
    rows, frame = summary(net), summary_frame(net)
    assert list(frame.columns) == list(rows[0])
    assert frame.to_dict("records") == rows
    assert frame["parameters"].sum() == sum(row["parameters"] for row in rows)
    assert frame["macs"].dtype == frame["parameters"].dtype == "int64"


def test_a_net_without_layers_has_the_columns_all_the_same() -> None:
    frame = summary_frame('name: "empty"\n')
    assert frame.empty and list(frame.columns)[:2] == ["name", "type"]


def test_importing_the_converter_does_not_import_pandas() -> None:
    code = "import sys, converter; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
