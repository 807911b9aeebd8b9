"""The files that a run makes of an image, called after it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from icnet_common.files import atomic_write, stale_temporaries
from pytorch_icnet.datasets.palette import PALETTE
from pytorch_icnet.imaging.draw import blend
from pytorch_icnet.imaging.images import write_coloured, write_label_map

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FEATURES = ("mat", "npz")
"""Kinds of files for probabilities."""


@dataclass(frozen=True)
class Outputs:
    """Which files, and where: ``gray/`` and ``color/`` always, the others when asked for."""

    root: Path
    features: tuple[str, ...] = ()
    """Of :data:`FEATURES`."""
    overlay: bool = False
    alpha: float = 0.5
    """How much of the overlay is colour, 0 to 1."""
    palette: Bytes = field(default_factory=lambda: PALETTE)
    """uint8 256x3, red green blue."""

    def gray(self, stem: str) -> Path:
        """8-bit gray PNG of trainIds."""
        return self.root / "gray" / f"{stem}.png"

    def color(self, stem: str) -> Path:
        """8-bit indexed PNG with the palette."""
        return self.root / "color" / f"{stem}.png"

    def blended(self, stem: str) -> Path:
        """8-bit RGB PNG: the colours over the image."""
        return self.root / "overlay" / f"{stem}.png"

    def feature(self, stem: str, kind: str) -> Path:
        """The probabilities: ``data``, single, HxWxC, in a MATLAB or NumPy file."""
        return self.root / "feat" / f"{stem}.{kind}"

    def files(self, stem: str) -> list[Path]:
        """All files of an image."""
        overlay = [self.blended(stem)] if self.overlay else []
        return [self.gray(stem), self.color(stem), *overlay, *(self.feature(stem, kind) for kind in self.features)]

    def write(self, stem: str, labels: Bytes, image: Bytes | None = None, probabilities: Floats | None = None) -> None:
        """Write all files of an image, each whole or not at all.

        Args:
            stem: the image's name.
            labels: trainIds, uint8 HxW.
            image: RGB, uint8 HxWx3; needed for an overlay.
            probabilities: float32 HxWxC; needed for features.
        """
        write_coloured(self.color(stem), labels, self.palette)
        if self.overlay:
            assert image is not None
            with atomic_write(self.blended(stem)) as temporary:
                blended = blend(image, self.palette[labels], self.alpha)
                temporary.write_bytes(cv2.imencode(".png", blended[..., ::-1])[1].tobytes())
        for kind in self.features:
            assert probabilities is not None
            with atomic_write(self.feature(stem, kind)) as temporary:
                if kind == "mat":
                    savemat(temporary, {"data": probabilities})
                else:
                    np.savez(temporary, data=probabilities)
        write_label_map(self.gray(stem), labels)

    def sweep(self, stems: Collection[str]) -> None:
        """Remove what a process that was killed left half-written of these images."""
        for folder in {path.parent for path in self.files("")}:
            for name, path in stale_temporaries(folder):
                if Path(name).stem in stems:
                    path.unlink(missing_ok=True)
