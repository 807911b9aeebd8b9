"""An independent NumPy reference of each layer type, slow and obvious, in float64.

Nothing here knows of torch or of the translators in :mod:`converter.layers`: each function is written from the formula
of Caffe's layer, so that the two can check each other.
"""

from . import activation as activation  # each of these registers its formulas
from . import convolution as convolution
from . import detection as detection
from . import interp as interp
from . import loss as loss
from . import normalization as normalization
from . import pooling as pooling
from . import recurrent as recurrent
from . import reshaping as reshaping
from .registry import NoReferenceError, formula, forward, reference, types

__all__ = ["NoReferenceError", "formula", "forward", "reference", "types"]
