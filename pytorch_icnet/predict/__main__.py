"""``python -m pytorch_icnet.predict`` is ``icnet-predict``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="icnet-predict")
