"""What can be wrong with a net or with its weights."""

from __future__ import annotations

from icnet_common.errors import InputError, PrototxtError, WeightsError

__all__ = ["LayerError", "NetError", "UnsupportedLayersError", "WeightsMismatchError"]


class LayerError(InputError):
    """A layer that Caffe would refuse; raised by translators, without the layer's name, which the graph adds."""


class NetError(PrototxtError):
    """A net that Caffe would refuse: wiring, shapes or parameters; names file, line and layer."""


class UnsupportedLayersError(NetError):
    """Layer types without a translator: all of them at once."""


class WeightsMismatchError(WeightsError):
    """Weights that do not fit the net: all missing layers, wrong shapes and wrong blob counts at once."""
