"""``python -m pytorch_icnet.serve``: see :mod:`.cli`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="icnet-serve")
