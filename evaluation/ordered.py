"""Work in threads, see :mod:`pytorch_icnet.ordered`."""

from pytorch_icnet.ordered import ordered_map

__all__ = ["ordered_map"]
