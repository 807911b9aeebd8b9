"""What a test changes in its process is as before once the test has ended, so that no test depends on their order."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from converter import reference, registry

Value = tuple[Callable[[], Any], Callable[[Any], object]]
"""How a value of the process is read, and how it is set."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
STREAMS = ("stdin", "stdout", "stderr")


def _attribute(place: object, name: str) -> Value:
    return lambda: getattr(place, name), lambda value: setattr(place, name, value)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


VALUES: tuple[Value, ...] = (
    (os.getcwd, os.chdir),
    *(_attribute(sys, name) for name in STREAMS),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (_deterministic, lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1])),
    *(_attribute(torch.backends.cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic", "enabled")),
    (cv2.getNumThreads, cv2.setNumThreads),
    (np.geterr, lambda value: np.seterr(**value)),
)
"""Set again where they differ. Numbers of threads and precisions change the last bits of results."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """PyTorch's generator is the same before each test and the fixtures that are made for it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """After the test: its registrations, environment, streams, signals, logging, threads and precisions are undone."""
    with ExitStack() as stack:
        for keep in (_registrations, _environment, _values, _signals, _generators, _handlers, _loggers):
            stack.enter_context(keep())
        yield


@contextmanager
def _registrations() -> Iterator[None]:
    tables: list[dict[str, Any]] = [registry._types, reference.registry._formulas]
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@contextmanager
def _environment() -> Iterator[None]:
    environment, path, modules = dict(os.environ), sys.path[:], dict(sys.modules)
    yield
    for name in os.environ.keys() - environment.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    for name, value in environment.items():
        if name != "PYTEST_CURRENT_TEST" and os.environ.get(name) != value:
            os.environ[name] = value
    sys.path[:] = path
    sys.modules.update(modules)  # those imported since stay: importing them twice would make their classes twice


@contextmanager
def _values() -> Iterator[None]:
    before = [read() for read, _ in VALUES]
    yield
    for (read, write), value in zip(VALUES, before, strict=True):
        if _differs(read, value):
            write(value)


def _differs(read: Callable[[], Any], value: Any) -> bool:
    try:
        return bool(read() != value)
    except FileNotFoundError:  # the test was in a folder that is gone
        return True


@contextmanager
def _signals() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(SIGNALS, before, strict=True):
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _generators() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state(legacy=False)
    yield
    random.setstate(of_python)
    np.random.set_state(of_numpy)


@contextmanager
def _handlers() -> Iterator[None]:
    """Hide the handlers of logging that there are.

    Who configures logging anew, as uvicorn does, closes all handlers, and absl's closes its stream too unless that is
    ``sys.stderr`` at this time. While click's runner has another there, this would be the file of pytest's capture.
    """
    known: list[Any] = logging._handlerList  # type: ignore[attr-defined]
    before = known[:]
    known.clear()
    yield
    known[:] = before + known


@contextmanager
def _loggers() -> Iterator[None]:
    """Those that there are; one that the test made, perhaps by an import, stays as it is."""
    known = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
    before = [(logger, logger.level, logger.propagate, logger.disabled, logger.handlers[:]) for logger in loggers]
    disabled = logging.root.manager.disable
    yield
    logging.disable(disabled)
    for logger, level, propagate, off, handlers in before:
        if logger.level != level:
            logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, off
        logger.handlers[:] = handlers
