"""The signals that end a command, Ctrl-C and SIGTERM, as exceptions that are not lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from lfv.cli.errors import ExitStatus, is_own

#: How long after a signal was lost it is sent again.
_AGAIN_SECONDS = 0.02

#: The signal of this process, if one came.
_came: list[ExitStatus] = []


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt. Handles SIGINT."""
    _came.append(ExitStatus.INTERRUPTED)
    raise KeyboardInterrupt


def terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit with status 143, so that cleanup runs. Handles SIGTERM."""
    _came.append(ExitStatus.TERMINATED)
    raise SystemExit(ExitStatus.TERMINATED)


@contextmanager
def restored() -> Iterator[None]:
    """Raise the exception of a signal if other packages turned it into an error in this block.

    Python does that if the signal comes while a class is created, pydantic if it comes while a
    value is serialized. Our own errors remain.
    """
    try:
        yield
    except Exception as error:
        if not _came or is_own(error):
            raise
        if _came[-1] is ExitStatus.INTERRUPTED:
            raise KeyboardInterrupt from None
        raise SystemExit(_came[-1]) from None


def send_again(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a signal that came where no exception can be raised. Serves as `sys.unraisablehook`.

    Python clears such an exception, for example in a callback of its import system, and the command
    would continue.
    """
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(lost.exc_value, SystemExit):
        number = signal.SIGTERM
    else:
        sys.__unraisablehook__(lost)
        return
    main = threading.main_thread().ident
    again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main, number])
    again.daemon = True
    with suppress(RuntimeError):  # the interpreter is shutting down
        again.start()
