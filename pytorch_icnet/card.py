"""What belongs to a network besides its weights: how to feed it, what its scores are, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from icnet_common.errors import InputError

from .arrays import Size
from .imaging.normalization import Normalization
from .pyramid import Pyramid
from .weights.known import KnownWeights, Provenance, lookup

QUARTER = 4
"""The stride of scores that come from ``quarter_scores`` and that Caffe's Interp enlarges by 4."""


@dataclass(frozen=True)
class InputSizes:
    """The heights and widths that a network takes: those whose remainder modulo ``step`` is ``low`` to ``high``.

    Attributes:
        step: pixels.
        low, high: remainders, 0 to ``step`` - 1; both ends are taken.
        smallest: height and width, at least.
        network: its name, for messages.
    """

    step: int = 1
    low: int = 0
    high: int = 0
    smallest: Size = (1, 1)
    network: str = "the network"

    def fit(self, size: Size) -> Size:
        """The smallest height and width that the network takes, neither below ``size``."""
        height, width = (max(self.nearest(max(n, least))) for n, least in zip(size, self.smallest, strict=True))
        return height, width

    def nearest(self, n: int) -> tuple[int, ...]:
        """The nearest lengths below and above ``n`` that are taken; ``n`` alone where it is."""
        if n >= 1 and self.low <= n % self.step <= self.high:
            return (n,)
        below, above = n - (n - self.high) % self.step, n + (self.low - n) % self.step
        return (below, above) if below >= 1 else (max(above, 1),)

    def check(self, height: int, width: int) -> None:
        """Raise InputError, naming the nearest sizes that are taken, unless this one is."""
        rows, columns = self.nearest(height), self.nearest(width)
        if (rows, columns) != ((height,), (width,)):
            heights, widths = (" and ".join(map(str, sizes)) for sizes in (rows, columns))
            remainders = " to ".join(f"{self.step}k+{end}" for end in dict.fromkeys((self.low, self.high)))
            raise InputError(
                f"{self.network} cannot take an input of {height}x{width}: height and width must be "
                f"{remainders}; the nearest legal heights are {heights}, widths {widths}"
            )
        if height < self.smallest[0] or width < self.smallest[1]:
            raise InputError(
                f"{self.network} cannot take an input of {height}x{width}: "
                f"expected at least {self.smallest[0]}x{self.smallest[1]}"
            )


@dataclass(frozen=True)
class ModelCard:
    """What a user of a network must know.

    Attributes:
        architecture: "icnet"; "mmseg", "liminn", "semseg" for the variants; "caffe" for any other net of Caffe's; ""
            where nothing is known.
        num_classes: channels of the scores; None where nothing is known.
        input_size: (height, width) of the images that it was trained or published for; None where nothing is known.
        pixels: the colours that it was trained on; None where nothing is known.
        protocol: its authors' inference recipe and evaluation protocol, see
            :data:`pytorch_icnet.imaging.recipes.INFERENCE_RECIPES`.
        sizes: the inputs that it takes. An image that is fed at its own size is resized to the next of them, as in the
            official evaluation: 1030 pixels, which ICNet takes, stay 1030.
        stride: of the scores that a runtime computes: 4 where the network has ``quarter_scores``, otherwise 1.
        provenance: the file that the weights come from; None for random ones.
        pyramid: of an ICNet, windows of its pyramid other than the default, see :class:`pytorch_icnet.ICNet`.
    """

    architecture: str = ""
    num_classes: int | None = None
    input_size: Size | None = None
    pixels: Normalization | None = None
    protocol: str = "official"
    sizes: InputSizes = InputSizes()
    stride: int = 1
    provenance: Provenance | None = None
    pyramid: Pyramid | None = None

    @property
    def published(self) -> KnownWeights | None:
        """The published weights that these are, with their figures: by md5, or else what the file's name claims."""
        return None if self.provenance is None else lookup(self.provenance.md5, self.provenance.file)

    def weights_data(self) -> dict[str, Any]:
        """The provenance for reports; empty for random weights."""
        return {} if self.provenance is None else self.provenance.as_data()


@runtime_checkable
class Network(Protocol):
    """A network with a card, as :func:`pytorch_icnet.load` gives it."""

    card: ModelCard


def card_of(module: nn.Module) -> ModelCard:
    """The card of a network; one that says nothing for a module without."""
    return module.card if isinstance(module, Network) else ModelCard()
