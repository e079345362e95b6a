"""Exit statuses, and the errors of the command line itself.

CommandError      base; its text is the message for the user
├── WrongUsage    the arguments contradict each other or name nothing (exit status 2)
├── Interrupted   Ctrl-C; the text describes the state of the work (exit status 130)
└── OutputClosed  standard output was closed by its reader; not shown
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses.

    SOME_NOT_INSPECTED also stands for a run without any image. 130 (Ctrl-C), 141 (output closed)
    and 143 (SIGTERM) follow the convention of shells.
    """

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    SOME_NOT_INSPECTED = 3
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


class CommandError(Exception):
    """A command failed."""


class WrongUsage(CommandError):
    """The arguments contradict each other, or name something that does not exist."""


class Interrupted(CommandError):
    """Ctrl-C ended the command; the text describes the state of the work."""


class OutputClosed(CommandError):
    """Standard output was closed by its reader, as by ``lfv runs | head``."""


#: Exceptions of these packages are written for users: their text is the whole message.
_OWN_PACKAGES = frozenset({"deployments", "flows", "lfv", "lfv_store", "tasks"})


def is_own(error: BaseException) -> bool:
    """Whether an error is one of this project's."""
    return type(error).__module__.partition(".")[0] in _OWN_PACKAGES
