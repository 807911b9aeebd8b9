"""Ending a training between two iterations when the system asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Stop:
    """Within its ``with`` block SIGTERM only sets :attr:`wanted`; schedulers send it some time before they kill."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: object = None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # only the main thread may handle signals
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
