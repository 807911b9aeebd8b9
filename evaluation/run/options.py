"""What the user asks of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..protocols import MULTI_SCALE

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Options:
    """The options of ``icnet-eval``; its help says what they mean."""

    list_file: str | None
    split: str | None
    data_root: Path
    label_kind: str | None
    weights: Path | None
    input_size: Size | None
    pixels: str | None
    """A name of :data:`pytorch_icnet.imaging.normalization.NORMALIZATIONS`; None: the network's own."""
    save_root: Path | None
    device: str
    backend: str
    rewrite: bool
    caffe_faithful: bool
    protocols: tuple[str, ...]
    """None named: the one that belongs to the network."""
    scales: tuple[float, ...]
    flip: bool | None
    classes: Path | None
    num_classes: int | None
    score_only: Path | None
    limit: int | None
    skip: int
    on_missing: str
    strict_list: bool
    resume: bool
    save_feat: str | None
    float16: bool
    save_overlay: bool
    alpha: float
    test_server: Path | None
    json_file: Path | None
    html_file: Path | None
    expect: tuple[float, ...] | None
    tolerance: float
    audit: int | None
    workers: int | None
    timeout: float

    @property
    def multi_scale(self) -> bool | None:
        """Whether images are averaged over as for published multi-scale figures; None: in another way of one's own."""
        if self.scales == MULTI_SCALE and self.flip:
            return True
        return False if self.scales == (1.0,) and self.flip is None else None

    def chosen(self) -> dict[str, object]:
        """For reports: which part of the list was used, and from where."""
        return {
            "data_root": str(self.data_root),
            "skip": self.skip,
            "limit": self.limit,
            "on_missing": self.on_missing,
        }
