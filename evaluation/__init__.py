"""The official evaluation of ICNet: from images to label maps, and from label maps to scores."""

from pytorch_icnet.imaging import imresize, postprocess, preprocess

from .scoring import Scores, score

__all__ = ["Scores", "imresize", "postprocess", "preprocess", "score"]
