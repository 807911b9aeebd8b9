"""``python -m evaluation`` is ``icnet-eval``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="icnet-eval")
