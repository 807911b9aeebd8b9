"""From image to network input and from scores to label map, with MATLAB's arithmetic."""

from .imresize import imresize
from .postprocess import postprocess, probabilities
from .preprocess import preprocess

__all__ = ["imresize", "postprocess", "preprocess", "probabilities"]
