"""SIGTERM and Ctrl-C end a block in order, and the handlers before it come back."""

from __future__ import annotations

import signal
import threading

import pytest

from icnet_common.errors import InputError
from icnet_common.signals import GracefulShutdown


def test_a_message_makes_an_error_that_no_handler_swallows() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError, match="ended from outside"), GracefulShutdown("ended from outside") as shutdown:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception:
            pytest.fail("SIGTERM is no Exception")
    assert shutdown.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_a_message_it_is_only_noted() -> None:
    with GracefulShutdown() as shutdown:
        assert not shutdown.requested
        signal.raise_signal(signal.SIGTERM)
        assert shutdown.requested


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, InputError)])
def test_further_signals_do_not_interrupt_the_closing(number: signal.Signals, error: type[BaseException]) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    closed = False
    with pytest.raises(error), GracefulShutdown("ended", interrupt=True):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            closed = True
    assert closed
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_is_left_alone_unless_asked_for() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which is not there where tests run in the background
    with pytest.raises(KeyboardInterrupt), GracefulShutdown("ended") as shutdown:
        signal.raise_signal(signal.SIGINT)
    assert not shutdown.requested


def test_other_threads_run_without_handlers() -> None:
    handlers: list[object] = []

    def work() -> None:
        with GracefulShutdown("ended"):
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
