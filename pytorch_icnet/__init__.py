"""ICNet in PyTorch, with Caffe's layer names."""

from .checkpoints import icnet, load
from .icnet import ICNet
from .known_weights import KNOWN_WEIGHTS, KnownWeights

__all__ = ["KNOWN_WEIGHTS", "ICNet", "KnownWeights", "icnet", "load"]
