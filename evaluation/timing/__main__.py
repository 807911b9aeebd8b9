"""``python -m evaluation.timing`` is ``test_time``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="test_time")
