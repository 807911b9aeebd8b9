"""Generated street scenes with all 19 classes of Cityscapes, in its layout, for the demo, the tests and examples.

They look like a coarse street, and what is learnt on them says nothing about real images.
"""

from .scene import scene, write_scenes

__all__ = ["scene", "write_scenes"]
