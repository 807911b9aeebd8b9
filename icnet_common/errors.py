"""The errors of the toolkit that a user can mend.

Each carries one line: what is wrong, where, what was expected and what to do.
Commands print that line without a traceback and exit with code 1.
"""

from __future__ import annotations

import errno


class InputError(ValueError):
    """Something the user supplied cannot be used; the message is meant for the user."""


class PrototxtError(InputError):
    """A text net that Caffe would refuse; the message begins with ``file:line:column`` or ``file:line``."""


class WeightsError(InputError):
    """A weights or mean file that is damaged or not of a known format; the message begins with the file's name."""


def user_message(error: BaseException) -> str | None:
    """The one line that tells a user what to mend, or None where the error is not the user's (a bug)."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno != errno.EPIPE:  # a closed pipe is left to click
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
        return f"not enough memory on the device: {str(error).splitlines()[0]}"
    return None
