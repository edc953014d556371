"""Entries of our own in the user's crontab; every other line stays as it is, byte for byte.

The lines are put in and taken out here, because the libraries that write crontabs rewrite the
lines of others.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from forecaster.errors import (
    ForecasterError,
    InvalidInputError,
    MissingDependencyError,
    TemporaryError,
)
from forecaster.scheduling import Entry, Job, digest

TIMEOUT = 10.0  # seconds for the program `crontab`, which only copies a file
LARGEST = "1024k"  # of the file that holds what a job prints
OURS = re.compile(
    r"(?P<off>[#\s]*)(?P<cron>@\w+|(?:[^\s#]+\s+){4}[^\s#]+)\s.*"
    r"# (?P<mark>forecast:(?P<command>\w+):(?P<name>[\w.-]+):(?P<digest>[0-9a-f]{12}))\s*"
)


def entry_of(job: Job) -> str:
    """Return the line of a crontab that runs a job.

    Raises:
        InvalidInputError: It cannot be written such that cron reads it right.
    """
    output = f"logs/{job.name}.cron.log"
    variables = [f"{name}={shlex.quote(value)}" for name, value in job.environment.items()]
    steps = (
        f"cd {shlex.quote(str(job.workspace))}",
        "mkdir -p logs",
        f"find logs -name {job.name}.cron.log -size +{LARGEST} -delete",
        f"(date; {' '.join([*variables, shlex.join(job.words)])}) >> {output} 2>&1",
    )
    command = " && ".join(steps)
    if r"\%" in command:
        raise InvalidInputError(
            r"cron cannot be given the letters '\%', but a path, an option or a variable has them.",
            "Change it, or use --systemd.",
        )
    escaped = command.replace("%", r"\%")  # a bare one ends the command
    return f"{job.cron} {escaped} # {job.mark}"


def install(job: Job) -> str:
    """Put the entry of a job into the crontab, in place of the one there was; return its line.

    Raises:
        MissingDependencyError: There is no program `crontab`.
        ForecasterError: The crontab cannot be read or written; it is as it was.
    """
    line = entry_of(job)
    lines = _read()
    places = [index for index, each in enumerate(lines) if _mark(each) == job.mark]
    kept = [each for each in lines if _mark(each) != job.mark]
    kept.insert(places[0] if places else len(kept), line)
    if kept != lines:
        _write(kept)
        if line not in _read():
            raise TemporaryError(
                "The crontab was changed by somebody else at the same time.", "Run it again."
            )
    return line


def remove(workspace: Path, name: str) -> list[Entry]:
    """Take the entries of a model out of the crontab and return them.

    Raises:
        MissingDependencyError: There is no program `crontab`.
        ForecasterError: The crontab cannot be read or written; it is as it was.
    """
    gone = [entry for entry in entries(workspace) if entry.name == name]
    taken = {entry.line for entry in gone}
    if gone:
        _write([line for line in _read() if line not in taken])
    return gone


def entries(workspace: Path) -> list[Entry]:
    """Return the entries of a workspace.

    Raises:
        MissingDependencyError: There is no program `crontab`.
        ForecasterError: The crontab cannot be read.
    """
    found = [(line, OURS.fullmatch(line)) for line in _read()]
    return [
        Entry("cron", match["name"], match["command"], match["cron"], "#" not in match["off"], line)
        for line, match in found
        if match and match["digest"] == digest(workspace)
    ]


def is_there() -> bool:
    """Tell whether this machine has a program `crontab`."""
    return shutil.which("crontab") is not None


def _mark(line: str) -> str:
    match = OURS.fullmatch(line)
    return match["mark"] if match else ""


def _read() -> list[str]:
    done = _crontab("-l")
    if done.returncode == 0:
        text = done.stdout.decode(errors="surrogateescape")
        return text.removesuffix("\n").split("\n") if text else []
    said = _said(done.stderr)
    if "no crontab for" in said:
        return []
    raise ForecasterError(f"The crontab cannot be read: {said}.", "Try `crontab -l`.")


def _write(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = _crontab("-", text.encode(errors="surrogateescape"))
    if done.returncode:
        raise ForecasterError(
            f"The crontab cannot be written: {_said(done.stderr)}.",
            "It is as it was; --systemd writes timers instead.",
        )


def _crontab(argument: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("crontab")
    if program is None:
        raise MissingDependencyError(
            "There is no program 'crontab' on this machine.",
            "Install cron, or use --systemd.",
        )
    try:
        return subprocess.run(
            [program, argument], input=content, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ForecasterError(
            f"The program '{program}' did not end within {TIMEOUT:g} s.", "Try `crontab -l`."
        ) from error
    except OSError as error:
        raise ForecasterError(
            f"The program '{program}' cannot be run: {error.strerror}.", "Try `crontab -l`."
        ) from error


def _said(stderr: bytes) -> str:
    return " ".join(stderr.decode(errors="replace").split()).rstrip(".") or "it does not say why"
