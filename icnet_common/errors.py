"""The errors of the toolkit that a user can mend.

Each carries one line: what is wrong, where, what was expected and what to do.
Commands print that line without a traceback and exit with code 1.
"""

from __future__ import annotations


class InputError(ValueError):
    """Something the user supplied cannot be used; the message is meant for the user."""


class PrototxtError(InputError):
    """A text net that Caffe would refuse; the message begins with ``file:line:column`` or ``file:line``."""


class WeightsError(InputError):
    """A weights or mean file that is damaged or not of a known format; the message begins with the file's name."""
