"""Reading large caffemodels: the walk over a memory map against protobuf's own full parse, and a conversion's memory.

    python benchmarks/reading.py [--folder DIR]

Writes a caffemodel of VGG-16's size (553 MB) and one of ICNet's (27 MB) with random weights to a temporary folder,
reads each five times in turn by both ways, and converts the large one in a process of its own. Memory is the peak of
what is resident beyond what the imports take. Pages of a mapped file count as resident once they are touched.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from prototxt import Net, bundled_net, read_net, read_weights, schema, write_weights

VGG_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
ROUNDS = 5


def vgg_text() -> str:
    """A net with VGG-16's layers and shapes."""
    lines = ['name: "vgg16" input: "data" input_dim: 1 input_dim: 3 input_dim: 224 input_dim: 224']
    bottom = "data"
    for stage, (channels, blocks) in enumerate(VGG_STAGES, start=1):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_{block}"
            param = f"convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 }}"
            lines.append(f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {param} }}')
            bottom = name
        param = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
        lines.append(f'layer {{ name: "pool{stage}" type: "Pooling" bottom: "{bottom}" top: "pool{stage}" {param} }}')
        bottom = f"pool{stage}"
    for name, outputs in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        param = f"inner_product_param {{ num_output: {outputs} }}"
        lines.append(f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {param} }}')
        bottom = name
    return "\n".join(lines)


def write_random(path: Path, net: Net) -> None:
    """A caffemodel with random weights for every layer of ``net``."""
    from converter import summary

    generator = np.random.default_rng(0)
    blobs = {
        row["name"]: [generator.random(shape, np.float32) for shape in row["param_shapes"]]
        for row in summary(net)
        if row["param_shapes"]
    }
    write_weights(path, net, blobs)


def full_parse(path: Path) -> None:
    """protobuf's parse of the whole file."""
    schema.message("NetParameter")().ParseFromString(path.read_bytes())


def milliseconds(function: Callable[[Path], object], path: Path) -> float:
    start = time.perf_counter()
    function(path)
    return 1000 * (time.perf_counter() - start)


def convert(path: Path, text: Path, output: Path) -> None:
    """Convert without verification; print the peak of resident memory before and after, in bytes."""
    from converter.export.safetensors import save_state
    from converter.graph import load_caffe

    before = peak()
    save_state(output, load_caffe(text, path).state_dict(), {})
    print(before, peak())


def peak() -> int:
    """The largest resident memory of this program so far, in bytes (Linux; getrusage also counts its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="Where to write the files; default: a temporary folder.")
    parser.add_argument("--convert", nargs=3, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(*arguments.convert)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        text = folder / "vgg16.prototxt"
        text.write_text(vgg_text())
        print(f"{'':>10} {'MB':>6} {'walk ms':>8} {'full parse ms':>14}   (medians of {ROUNDS})")
        for title, net in (("ICNet", bundled_net("icnet_cityscapes_bnnomerge")), ("VGG-16", text)):
            path = folder / f"{title}.caffemodel"
            write_random(path, read_net(net))
            walks, parses = [], []
            for _ in range(ROUNDS):
                walks.append(milliseconds(read_weights, path))
                parses.append(milliseconds(full_parse, path))
            size = path.stat().st_size
            print(f"{title:>10} {size / 1e6:6.0f} {statistics.median(walks):8.2f} {statistics.median(parses):14.1f}")
        command = [sys.executable, __file__, "--convert", str(path), str(text), str(folder / "vgg16.safetensors")]
        before, after = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        print(f"converting {path.name}: peak memory {(after - before) / size:.2f} times the file's size")


if __name__ == "__main__":
    main()
