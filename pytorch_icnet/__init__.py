"""ICNet in PyTorch, with Caffe's layer names."""

from .card import ModelCard
from .icnet import ICNet
from .predictor import Predictor
from .weights.checkpoints import icnet, load
from .weights.known import KNOWN_WEIGHTS, KnownWeights

__all__ = ["KNOWN_WEIGHTS", "ICNet", "KnownWeights", "ModelCard", "Predictor", "icnet", "load"]
