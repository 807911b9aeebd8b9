"""Tables of classes in files, see :mod:`pytorch_icnet.class_files`."""

from pytorch_icnet.class_files import read_table

__all__ = ["read_table"]
