"""Mean files (.binaryproto): one blob, as Caffe's ``compute_image_mean`` writes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icnet_common.errors import WeightsError
from icnet_common.files import atomic_write
from icnet_common.untrusted import read_untrusted

from . import encode
from .blobs import read_blob
from .sniff import describe
from .wire import WireError, WireReader

MAX_BYTES = 256 << 20  # ten times a Cityscapes image


def read_mean(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The mean in ``path``, float32, in the shape that is stored: usually 1xCxHxW, channels in Caffe's order (BGR).

    Raises:
        WeightsError: the file cannot be read, is damaged or is something else.
    """
    path = Path(path)
    data = read_untrusted(path, WeightsError, MAX_BYTES)
    try:
        blob: NDArray[Any] = read_blob(WireReader(data), 0, len(data), 0)
    except WireError as damage:
        other = describe(data)
        if other:
            raise WeightsError(f"{path}: not a mean file: this is {other}") from None
        raise WeightsError(f"{path}: not a mean file, or damaged: at byte {damage.offset}: {damage}") from None
    return np.array(blob, np.float32)


def write_mean(path: str | os.PathLike[str], mean: ArrayLike) -> None:
    """Write ``mean`` as float32; 4-D arrays get the old-style dims that every Caffe and its tools read.

    Raises:
        InputError: the file cannot be written.
    """
    values = np.asarray(mean, np.float32)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(encode.blob(values, old_dims=values.ndim == 4))
