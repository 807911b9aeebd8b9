"""``python -m converter``."""

from .cli import main

main()
