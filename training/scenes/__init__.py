"""Generated street scenes with all 19 classes of Cityscapes, in its layout, for the demo, the tests and examples.

They look like a coarse street, and what is learnt on them says nothing about real images.
"""

from .files import write_scenes
from .scene import scene

__all__ = ["scene", "write_scenes"]
