"""What every command has in common: options such as ``--verbose`` and ``--version``, errors on one line, exit codes.

Exit codes: 0 success, 1 failure, 2 wrong use of the command, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import sys
from collections import deque
from collections.abc import Callable
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from .errors import user_message
from .progress import messages

PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

json_file = click.option("--json", "json_file", type=FILE, help="Write the results as JSON.")
"""The option of the commands that can write what they found for other programs."""

_DEBUG = "icnet_common.console.debug"
_LEVEL = "icnet_common.console.level"


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a click command that shows the toolkit's log messages, and reports failures on one line.

    InputError, OSError, MemoryError and CUDA's out-of-memory error end it with exit code 1, Ctrl-C with 130;
    the line goes to stderr. ``attributes`` go to :func:`click.command`.
    """
    return click.command(name, cls=Command, **attributes)


class Command(click.Command):
    """See :func:`command`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            _flag("--verbose", "-v", help="Show more of what is done.", callback=_level(logging.DEBUG)),
            _flag("--quiet", "-q", help="Show errors only, and no progress.", callback=_level(logging.ERROR)),
            _flag("--debug", help="Show the traceback of an error.", callback=_remember_debug),
            _flag("--version", help="Show the version and exit.", callback=_print_version),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the values of each :class:`OptionalValues` to its name, as click asks for."""
        options = {name: option for option in self.params if isinstance(option, OptionalValues) for name in option.opts}
        joined: list[str] = []
        left = deque(args)
        while left and left[0] != "--":
            argument = left.popleft()
            option = options.get(argument)
            joined.append(argument if option is None else f"{argument}={option.take(left)}")
        return super().parse_args(ctx, [*joined, *left])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with messages(ctx.meta.get(_LEVEL, logging.INFO)):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            _fail(ctx, "stopped", 130)
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            _fail(ctx, message, 1)


class OptionalValues(click.Option):
    """An option that may stand alone or be followed by values; its value is one text, with commas between them.

    Args:
        accepts: whether an argument that follows is one of the values, and not the command's next argument.
        max_values: the most values that may follow.
        alone: its value where none follows.
    """

    def __init__(
        self, *names: Any, accepts: Callable[[str], bool], max_values: int = 1, alone: str = "", **attributes: Any
    ) -> None:
        super().__init__(*names, **attributes)
        self._accepts, self._max_values, self._alone = accepts, max_values, alone

    def take(self, arguments: deque[str]) -> str:
        """Take the option's values from the front of the arguments that follow it."""
        values = list(takewhile(self._accepts, islice(arguments, self._max_values)))
        for _ in values:
            arguments.popleft()
        return ",".join(values) or self._alone


def echo(line: str) -> None:
    """Print a line of results to stdout, above a progress bar."""
    with tqdm.external_write_mode(file=sys.stdout):
        click.echo(line)


def version() -> str:
    """The toolkit's version."""
    try:
        return importlib.metadata.version("pytorch-icnet")
    except importlib.metadata.PackageNotFoundError:
        return "0+uninstalled"


def versions() -> dict[str, str]:
    """Versions of the toolkit and of what its numbers depend on, for reports."""
    packages = ("torch", "numpy", "opencv-python-headless", "scipy")
    found = {"pytorch-icnet": version(), "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # OpenCV comes in several packages
            found[package] = "unknown"
    return found


def _flag(*names: str, help: str, callback: Callable[[click.Context, click.Parameter, bool], None]) -> click.Option:
    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=callback, help=help)


def _level(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted and ctx.meta.setdefault(_LEVEL, level) != level:
            raise click.UsageError("give either --verbose or --quiet")

    return remember


def _remember_debug(ctx: click.Context, _: click.Parameter, debug: bool) -> None:
    ctx.meta[_DEBUG] = debug


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"{ctx.find_root().info_name} {version()}")
        ctx.exit()


def _fail(ctx: click.Context, message: str, code: int) -> None:
    """Print the message, before it the traceback under ``--debug``, and leave. Call inside ``except``."""
    if ctx.meta.get(_DEBUG):
        import traceback

        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(f"{ctx.find_root().info_name}: {message}", err=True)
    ctx.exit(code)
