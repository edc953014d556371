"""The edge of the command line: the one place where errors become text and exit codes."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from forecaster.cli.output import print_json
from forecaster.errors import INTERRUPTED, ForecasterError

if TYPE_CHECKING:
    from forecaster.cli.session import Session

# errors of the operating system that are about the user's machine, and what to do
OS_HINTS = {
    errno.ENOSPC: "Free some space and run it again.",
    errno.EDQUOT: "Free some space and run it again.",
    errno.EFBIG: "Raise the limit of file sizes (ulimit -f).",
    errno.EROFS: "Choose a folder that can be written.",
    errno.EACCES: "Check the permissions, or choose another folder.",
    errno.EPERM: "Check the permissions, or choose another folder.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.EEXIST: "Something else has that name, maybe a broken link: remove it, or mount what it needs.",
    errno.ELOOP: "Check the links.",
    errno.ESTALE: "Mount its file system again.",
    errno.EBUSY: "Run it again when nothing else uses it.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.EIO: "Check the disk.",
    errno.ENOMEM: "Use a machine with more memory, or fewer series at a time.",
}


class Terminated(SystemExit):
    """SIGTERM, as an exception: temporary files are removed and locks released on its way up."""

    def __str__(self) -> str:
        """Say what happened, for records and logs; the code alone would say little."""
        return "Terminated by SIGTERM."


@contextmanager
def signals() -> Iterator[list[BaseException]]:
    """Unwind at SIGINT and SIGTERM as after an error; give what was raised so.

    TensorFlow may make an error of its own of what is raised while its native code runs.
    """
    raised: list[BaseException] = []

    def stop(number: int, _frame: object) -> None:
        asked = number == signal.SIGTERM
        raised.append(Terminated(128 + number) if asked else KeyboardInterrupt())
        raise raised[-1]

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it stays ignored
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield raised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Failure(NamedTuple):
    """What a user is told when a command fails; without a message, nothing."""

    code: int
    message: str
    hint: str = ""
    label: str = "Error: "


def explain(error: BaseException, session: Session) -> Failure | None:
    """Return what to tell the user, or None when the error is not one of the user's."""
    match error:
        case ForecasterError():
            return Failure(error.exit_code, error.message, error.hint)
        case click.exceptions.NoArgsIsHelpError():
            return Failure(error.exit_code, error.format_message(), label="")
        case click.ClickException():
            return Failure(error.exit_code, " ".join(error.format_message().split()), _help(error))
        case click.Abort() | KeyboardInterrupt() | Terminated() | BrokenPipeError():
            return _stopped(error, session)
        case OSError() if (number := _number(error)) in OS_HINTS:
            place = f": {error.filename}" if error.filename else ""
            return Failure(1, f"{os.strerror(number)}{place}.", OS_HINTS[number])
    return None


def _stopped(error: BaseException, session: Session) -> Failure:
    """Return what to say of a run that was ended from outside, with the code that shells give."""
    if isinstance(error, BrokenPipeError):  # `| head` has read enough
        return Failure(128 + signal.SIGPIPE, "")
    if isinstance(error, Terminated):
        return Failure(128 + signal.SIGTERM, f"Terminated: {session.interrupted}.", label="")
    # the terminal has just written ^C
    return Failure(INTERRUPTED, f"Interrupted: {session.interrupted}.", label="\n")


def report(failure: Failure, *, as_json: bool) -> None:
    """Print a failure: one document on stdout under `--json`, else one line on stderr.

    A stdout that takes nothing may be the failure itself: stderr is told then, if it can be.
    """
    code, message, hint, label = failure
    if not message:
        return
    with suppress(OSError):
        if as_json:
            print_json({"error": {"code": code, "message": message, "hint": hint}})
            return
    with suppress(OSError):
        click.echo(f"{label}{message} {hint}".rstrip(), err=True)


def _help(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"Try '{error.ctx.command_path} --help'."
    return ""


def _number(error: OSError) -> int:
    """Return the error number; libraries such as HDF5 only write it into the message."""
    if error.errno is not None:
        return error.errno
    found = re.search(r"errno\s*=?\s*(\d+)", str(error), re.IGNORECASE)
    return int(found[1]) if found else 0
