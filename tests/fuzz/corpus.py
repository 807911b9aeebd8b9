"""Small files of every format to start from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from prototxt import bundled_net

DATA = Path(__file__).resolve().parents[1] / "prototxt" / "data"

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_V0 = b"""name: "v0" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 biasterm: false } bottom: "p" top: "c" }
layers { layer { name: "r" type: "relu" } bottom: "c" top: "c" }
"""
_V1 = b"""name: 'v1' input: "data" input_shape { dim: [1, 3, 8, 8] } # a comment
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" param: "w" param: "b" blobs_lr: 1
  convolution_param < num_output: 0x4, kernel_size: 03; weight_filler: { type: "xavier" std: .5e-1f } > }
layers { name: "l" type: 21 bottom: "c" top: "l" loss_weight: - 1.5 include { phase: TEST not_stage: "a" } }
"""
_V2 = rb"""name: "v\x32" "\303\251"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer: [{ name: "s" type: "SoftmaxWithLoss" softmax_param { axis: -1 } loss_param { normalization: NONE } },
        { name: "b" type: "Mine" blobs { shape { dim: 2 } data: [1, inf] } exclude { min_level: 3 } }]
layer { name: "q" type: "PriorBox" prior_box_param { min_size: 30 variance: [0.1, 1e-2] clip: t flip: False } }
"""


@cache
def weights() -> tuple[bytes, ...]:
    """Binary weights, sound and broken ones."""
    files = [path.read_bytes() for path in sorted((DATA / "weights").glob("*.caffemodel"))]
    return tuple(data for data in files if not data.startswith(HDF5_MAGIC))


@cache
def hdf5() -> tuple[bytes, ...]:
    """Weights in HDF5."""
    return ((DATA / "weights" / "v2.caffemodel.h5").read_bytes(),)


@cache
def means() -> tuple[bytes, ...]:
    """Mean files."""
    return tuple(path.read_bytes() for path in sorted((DATA / "mean").glob("*.binaryproto")))


@cache
def texts() -> tuple[bytes, ...]:
    """Nets as text."""
    icnet = bundled_net("icnet_cityscapes").read_bytes()
    return (_V0, _V1, _V2, b"layer {".join(icnet.split(b"layer {")[:9]))
