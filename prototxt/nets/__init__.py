"""The bundled nets: ICNet for Cityscapes, as published for deployment, for the input 1x3x1025x2049 (BGR, mean removed).

``icnet_cityscapes`` has its batch normalization merged into the convolutions; ``icnet_cityscapes_bnnomerge`` keeps it.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def bundled_net(name: str) -> Path:
    """The path of the bundled net ``name``, for instance ``"icnet_cityscapes"``.

    Raises:
        ValueError: there is no such net; the message lists those that are.
    """
    names = sorted(path.stem for path in _FOLDER.glob("*.prototxt"))
    if name not in names:
        raise ValueError(f"no bundled net {name!r}; there are {', '.join(names)}")
    return _FOLDER / f"{name}.prototxt"
