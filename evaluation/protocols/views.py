"""What a network is fed, see :mod:`pytorch_icnet.imaging.views`."""

from pytorch_icnet.imaging.views import RESIZE, Size, View, pillow_nearest

__all__ = ["RESIZE", "Size", "View", "pillow_nearest"]
