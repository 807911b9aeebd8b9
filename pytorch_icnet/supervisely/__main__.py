"""``python -m pytorch_icnet.supervisely``: see :mod:`.cli`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m pytorch_icnet.supervisely")
