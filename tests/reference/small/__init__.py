"""A small, legal layer of each type with random parameters and bottoms."""

from . import detection as detection  # each of these adds its layers
from . import loss as loss
from . import normalization as normalization
from . import pointwise as pointwise
from . import reshaping as reshaping
from . import windows as windows
from .draw import LAYERS, Draw, Small

__all__ = ["LAYERS", "Draw", "Small"]
