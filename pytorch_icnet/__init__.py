"""ICNet in PyTorch, with Caffe's layer names."""

from .icnet import ICNet
from .weights.checkpoints import icnet, load
from .weights.known import KNOWN_WEIGHTS, KnownWeights

__all__ = ["KNOWN_WEIGHTS", "ICNet", "KnownWeights", "icnet", "load"]
