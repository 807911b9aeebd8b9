"""Label maps of images, folders, videos and cameras; :class:`Predictor` for programs, ``icnet-predict`` for people."""

from ..predictor import Predictor, Prepared, Scored

__all__ = ["Predictor", "Prepared", "Scored"]
