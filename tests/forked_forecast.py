"""A process that has imported the program and forks itself for each run: real runs, started fast.

Orders are lines of JSON on stdin: `start` (words of a command line) is answered by a pid, `wait` (a
pid) by its exit code. Each run leads a session of its own, so that processes which it leaves are seen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


class Forecasts:
    """The process and the runs that it starts.

    Args:
        folder: For what runs print, and for their temporary files.
        before: Words before the command that starts the process.
    """

    def __init__(self, folder: Path, before: Sequence[str] = ()) -> None:
        self.output = folder / "output.txt"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [*before, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )

    def start(self, *words: object, **order: Any) -> int:
        """Start a command line, with the faults of `run`; return its pid."""
        return self._ask({"output": str(self.output), **order, "start": [*map(str, words)]})

    def wait(self, pid: int) -> int:
        """Return the exit code of a run once it has ended; nothing of it may be left."""
        code = self._ask({"wait": pid})
        with suppress(ProcessLookupError):
            os.killpg(pid, 0)
            raise AssertionError("It has left a process.")
        return code

    def run(self, *words: object, **order: Any) -> int:
        """Return the exit code of a command line."""
        return self.wait(self.start(*words, **order))

    @property
    def left(self) -> list[Path]:
        """What runs left among temporary files, but for the one that ONNX Runtime keeps there."""
        return [path for path in self.temporary.iterdir() if path.name != ".ses"]

    @property
    def said(self) -> str:
        """What the last run printed."""
        return self.output.read_text()

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)

    def _ask(self, order: dict[str, Any]) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def main() -> None:
    """Serve until stdin ends."""
    import forecaster.cli.predict
    import forecaster.cli.retrain
    import forecaster.retraining
    import forecaster.sources.files
    import forecaster.sources.yahoo_session
    import forecaster.status  # noqa: F401

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have turned it off
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (answer := os.fork()):
            os.setsid()
            begin = again if "until" in order else run
            begin(**order)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def again(until: float, start: list[str], output: str) -> None:
    """Run a command line over and over; `{}` in it and in `output` is the number of the run."""
    for number in range(10_000):
        if time.time() > until:
            os._exit(0)
        place = output.format(number)
        child = os.fork()
        if not child:
            run([word.replace("{}", str(number)) for word in start], place)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        Path(f"{place}.code").write_text(str(code))


def run(
    start: list[str],
    output: str,
    *,
    kill: list[str] | int | None = None,
    changes: str | None = None,
    within: str = "",
    stop: list[str] | None = None,
    ready: str = "",
    clock: float = 0.0,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command line as `python -m forecaster` does, with a fault in it.

    Args:
        start: Its words; after a `!`, those of another program.
        output: File of what it prints.
        kill: The announced moment at which it kills itself, or the number of the change of the disk
            before which it does.
        changes: File of the changes of the disk, a line each.
        within: The folder in which changes count.
        stop: The announced moment at which it waits for its end; after `epoch` it goes on.
        ready: File that then appears.
        clock: Seconds by which its clock is ahead.
        environment: Further variables.
    """
    os.environ.update(environment or {})
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if start[0] == "!":
        os.execvp(start[1], start[1:])
    if isinstance(kill, list):
        at(kill, lambda: os.kill(os.getpid(), signal.SIGKILL))
    elif changes is not None:
        watch(kill, changes, within)
    if stop is not None:
        at(stop, lambda: wait(Path(ready), 0 if stop[1] == "epoch" else 60))
    if clock:
        import time_machine

        time_machine.travel(time.time() + clock).start()
    from forecaster.cli import main as forecast

    sys.argv = ["forecast", *start]
    forecast()


def at(moment: list[str], act: Callable[[], None]) -> None:
    """Act when a step is announced, after its record and its line of the log are written."""
    if moment[1] == "epoch":
        return at_epochs(act)
    from forecaster.announcing import Announcer

    step = Announcer.step

    def announced(self: Announcer, one: Any) -> None:
        step(self, one)
        if [one.name, one.outcome] == moment:
            act()

    Announcer.step = announced  # type: ignore[method-assign]
    return None


def at_epochs(act: Callable[[], None]) -> None:
    """Act after each epoch of a training."""
    from forecaster.cli import tables

    told = tables.epochs

    def epochs(advance: Any) -> Any:
        tell = told(advance)
        return lambda epoch: (act(), tell(epoch))

    tables.epochs = epochs


def wait(ready: Path, seconds: float) -> None:
    """Say that the moment has come, and wait to be ended."""
    ready.touch()
    time.sleep(seconds)


def watch(kill: int | None, changes: str, within: str) -> None:
    """Write down each change of the disk before it is made; kill before one of them.

    Python announces every open and rename itself: no function of the program has to be known.
    """
    file = os.open(changes, os.O_WRONLY | os.O_CREAT)
    seen = 0

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES and not (
            event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            return
        path = str(arguments[0])
        if path.startswith("/") and not path.startswith(within):  # such as byte code
            return
        seen += 1
        os.write(file, f"{event} {path}\n".encode())
        if seen == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)


if __name__ == "__main__":
    main()
