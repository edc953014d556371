"""The errors that a user can meet, each with its exit code.

A message says what was needed, what was found and in which series or file; the hint says what to
do about it. Any other exception is a programming error and keeps its traceback.
"""

from __future__ import annotations

INTERRUPTED = 130  # exit code after Ctrl-C, as shells give it: 128 + SIGINT


class ForecasterError(Exception):
    """A failure the user can understand and act on.

    Args:
        message: What was needed, what was found, and where.
        hint: What to do; may be empty when the message already says it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class MissingDependencyError(ForecasterError):
    """An optional part (a package, a GPU) that this run needs is not there."""

    exit_code = 3


class NotFoundError(ForecasterError):
    """A series, model, version or file that was named does not exist."""

    exit_code = 4


class InvalidInputError(ForecasterError):
    """Data or configuration that cannot be used as it is."""

    exit_code = 5


class DamagedError(InvalidInputError):
    """A stored file that fails its checks: its content cannot be trusted."""


class QualityGateError(ForecasterError):
    """A quality gate said no: the work was done, its result is not good enough."""

    exit_code = 6


class PartialError(ForecasterError):
    """Some series failed; the rest were done, and the failures are listed."""

    exit_code = 7


class TemporaryError(ForecasterError):
    """Try again later: locked, rate-limited, or the network is down."""

    exit_code = 75
