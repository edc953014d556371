"""The command line as its users meet it: help, errors, signals and a fast start."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from forecaster import errors
from forecaster.cli import app, output, session

REPOSITORY = Path(__file__).parents[1]
HEAVY = {
    "tensorflow", "keras", "pandas", "numpy", "pydantic", "rich", "matplotlib", "pyarrow", "scipy",
    "sklearn", "onnxruntime", "onnx", "yfinance", "requests", "exchange_calendars", "stamina",
    "filelock", "tomllib", "asyncio", "importlib.metadata", "optuna", "sqlalchemy",
}  # fmt: skip


def forecast(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    environment = {**os.environ, **options.pop("environment", {})}
    return subprocess.run(
        [sys.executable, "-m", "forecaster", *args],
        **{"capture_output": True, "text": True, "cwd": REPOSITORY, "timeout": 120, **options},
        env=environment,
        check=False,
    )


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and subcommand."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*path, name)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that makes `forecast fail` raise an error."""

    def raising(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            """Fail."""
            raise error

        monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
        monkeypatch.setitem(app.COMMANDS, "fail", (f"{__name__}:fail", "Fail."))

    return raising


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "Interrupted: "), (signal.SIGTERM, 143, "Terminated: ")],
)
def test_an_end_from_outside_is_told_also_where_a_library_makes_an_error_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number, code, said
):
    @click.command
    def fail() -> None:
        """Fail."""
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except BaseException:
            raise RuntimeError("INTERNAL: an error of native code") from None

    before = signal.getsignal(number)
    monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
    monkeypatch.setitem(app.COMMANDS, "fail", (f"{__name__}:fail", "Fail."))
    assert app.run(["fail"]) == code
    assert said in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("path", [(), *((name,) for name in app.COMMANDS)], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(
    path: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
):
    assert app.run([*path, option]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(('forecast', *path))} [OPTIONS]")
    assert "--workspace" in text


def test_every_command_has_a_short_help_an_example_and_the_common_options():
    for path in commands(app.forecast):
        command: click.Command = app.forecast
        for name in path:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None, path
            command = found
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "-q", "-v", "--workspace"} <= options, path
        assert command.get_short_help_str(), path
        if not isinstance(command, click.Group):
            assert "Example" in (command.help or ""), path
            assert "forecast " + " ".join(path) in (command.help or ""), path


def test_help_imports_nothing_heavy():
    code = f"""
import sys, contextlib, io
from forecaster.cli import app
bare = set(sys.modules)
with contextlib.redirect_stdout(io.StringIO()):
    assert app.run(["--help"]) == 0
assert not [name for name in sys.modules if name.startswith("forecaster.") and name not in bare]
with contextlib.redirect_stdout(io.StringIO()):
    for name in app.COMMANDS:
        assert app.run([name, "--help"]) == 0
print(sorted({HEAVY!r} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def cpu_seconds(command: list[str], runs: int = 5) -> float:
    """Return the least CPU time of several runs of a command."""
    times = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, cwd=REPOSITORY, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("args", [("--help",), ("data", "list"), ("models", "list")], ids=" ".join)
def test_start_costs_little_more_than_click(args: tuple[str, ...], tmp_path: Path):
    command = [sys.executable, "-m", "forecaster", *args, "--workspace", str(tmp_path)]
    click_alone = [sys.executable, "-c", "import click"]
    ratios = []
    for _ in range(3):  # a busy machine: the best of a few tries is the honest one
        ratios.append(cpu_seconds(command) / cpu_seconds(click_alone))
        if ratios[-1] <= 2.0:
            break
    assert min(ratios) <= 2.0


@pytest.mark.parametrize("name", list(app.COMMANDS))
def test_help_of_a_command_is_fast(name: str):
    click_alone = cpu_seconds([sys.executable, "-c", "import click"], runs=3)
    taken = cpu_seconds([sys.executable, "-m", "forecaster", name, "--help"], runs=3)
    assert taken < max(0.2, 3 * click_alone)  # 0.2 s, or on a slow machine three times click


def test_version(capsys: pytest.CaptureFixture[str]):
    assert app.run(["--version"]) == 0
    version = capsys.readouterr().out.split()[1]
    assert app.run(["--json", "--version"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": version}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["zzz"], "The commands are: init, fetch"),
        (["--bogus"], "No such option '--bogus'"),
        (["config", "show", "--bogus"], "No such option '--bogus'"),
        (["completion"], "Missing argument 'SHELL'. Choose from: bash, zsh, fish"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_usage_errors_are_2(args: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert app.run(args) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err.startswith("Error: ")
    assert said in text.err
    assert text.err.count("\n") == 1
    assert app.run([*args, "--json"]) == 2
    text = capsys.readouterr()
    document = json.loads(text.out)["error"]
    assert document["code"] == 2
    assert said in document["message"]
    assert document["hint"].startswith("Try 'forecast")
    assert text.err == ""


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]):
    assert app.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ForecasterError, 1),
        (errors.MissingDependencyError, 3),
        (errors.NotFoundError, 4),
        (errors.InvalidInputError, 5),
        (errors.DamagedError, 5),
        (errors.QualityGateError, 6),
        (errors.PartialError, 7),
        (errors.TemporaryError, 75),
    ],
)
def test_errors_of_users_are_one_line_and_a_code(
    kind: type[errors.ForecasterError], code: int, failing: Any, capsys: pytest.CaptureFixture[str]
):
    failing(kind("Series 'a' is bad.", "Mend it."))
    assert app.run(["fail"]) == code
    assert capsys.readouterr() == ("", "Error: Series 'a' is bad. Mend it.\n")
    for args in (["fail", "--json"], ["--json", "fail"]):
        assert app.run(args) == code
        text = capsys.readouterr()
        expected = {"code": code, "message": "Series 'a' is bad.", "hint": "Mend it."}
        assert json.loads(text.out) == {"error": expected}
        assert text.err == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x", "/a/b"), "No space left on device: /a/b. Free some space"),
        (OSError(errno.EROFS, "x"), "Read-only file system. Choose a folder"),
        (PermissionError(errno.EACCES, "x", "/a"), "Permission denied: /a. Check the permissions"),
        (OSError("Can't write data (file write failed: errno = 28, error message = '...')"),
         "No space left on device. Free"),
        (FileExistsError(errno.EEXIST, "x", "/a"), "File exists: /a. Something else has that name"),
        (OSError(errno.ESTALE, "x", "/a"), "Stale file handle: /a. Mount"),
        (OSError(errno.ELOOP, "x", "/a"), "Too many levels of symbolic links: /a. Check the links"),
    ],
    ids=["full", "read-only", "denied", "full-in-hdf5", "taken", "stale", "loop"],
)  # fmt: skip
def test_errors_of_the_machine_are_one_line(
    error: OSError, said: str, failing: Any, capsys: pytest.CaptureFixture[str]
):
    failing(error)
    assert app.run(["fail"]) == 1
    text = capsys.readouterr().err
    assert text.startswith(f"Error: {said}")
    assert text.count("\n") == 1


def test_a_folder_that_is_a_broken_link_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "data").symlink_to(tmp_path / "gone")
    assert app.run(["init", str(tmp_path)]) == 1
    assert f"File exists: {tmp_path / 'data'}. Something else" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("odd"), KeyError("x")])
def test_programming_errors_keep_their_traceback(error: Exception, failing: Any):
    failing(error)
    with pytest.raises(type(error)):
        app.run(["fail", "--json"])


def test_an_integer_returned_is_the_exit_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        sys.modules[__name__], "seven", click.Command("seven", callback=lambda: 7), raising=False
    )
    monkeypatch.setitem(app.COMMANDS, "seven", (f"{__name__}:seven", "Return 7."))
    assert app.run(["seven"]) == 7


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted: nothing was changed.\n"),
        (signal.SIGTERM, 143, "Terminated: nothing was changed.\n"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_signals_unwind_cleanly(number: signal.Signals, code: int, said: str, as_json: bool):
    command = [sys.executable, "-m", "tests.slow_command", "wait"]
    process = subprocess.Popen(
        command + ["--json"] * as_json,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert not folder.exists()
    assert "Traceback" not in err
    if as_json:
        assert json.loads(out)["error"] == {"code": code, "message": said.strip(), "hint": ""}
    else:
        assert err.lstrip("\n") == said


PRINTING = [
    ("--help",),
    ("config", "show"),
    ("--json", "config", "show"),
    ("--json", "data", "show", "nothing"),
]


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
def test_a_closed_pipe_is_quiet(args: tuple[str, ...], tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = forecast(
            *args, "--workspace", str(tmp_path),
            stdout=closed, capture_output=False, stderr=subprocess.PIPE,
        )  # fmt: skip
    if "nothing" in args:  # its error could not be told on stdout
        assert result.returncode == 4
        assert result.stderr.startswith("Error: The series 'nothing' is not stored")
    else:
        assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
def test_a_full_disk_behind_stdout_is_one_line(
    args: tuple[str, ...], unbuffered: str, tmp_path: Path
):
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    with (tmp_path / "out").open("w") as file:
        result = forecast(
            *args, "--workspace", str(tmp_path),
            stdout=file, capture_output=False, stderr=subprocess.PIPE, preexec_fn=full,
            environment={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    if "nothing" in args:
        assert result.returncode == 4
        assert result.stderr.startswith("Error: The series 'nothing' is not stored")
    else:
        assert result.returncode == 1
        limits = "Raise the limit of file sizes (ulimit -f)."
        assert result.stderr == f"Error: File too large. {limits}\n"
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_are_no_failure(closed: str, tmp_path: Path):
    words = f"{sys.executable} -m forecaster --json config show --workspace {tmp_path} {closed}"
    result = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_end_of_a_file_is_no_interruption(failing: Any):
    failing(EOFError("a bug"))
    with pytest.raises(EOFError):
        app.run(["fail"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str, capsys: pytest.CaptureFixture[str]):
    assert app.run(["completion", shell]) == 0
    assert "_FORECAST_COMPLETE" in capsys.readouterr().out


def test_completion_knows_commands_and_options():
    environment = {
        "_FORECAST_COMPLETE": "bash_complete",
        "COMP_WORDS": "forecast conf",
        "COMP_CWORD": "1",
    }
    script = "from forecaster.cli.app import run; run([])"
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        check=False,
    )
    assert result.stdout.split() == ["plain,config"]


def test_init_then_config_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "shop"
    assert app.run(["init", str(folder)]) == 0
    assert "Next: forecast fetch" in capsys.readouterr().out
    assert app.run(["init", str(folder)]) == 5
    assert "--force" in capsys.readouterr().err
    (folder / "forecast.toml").write_text("[training]\nepochs = 3\n")
    assert app.run(["--workspace", str(folder), "config", "show", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["training.epochs"] == {"value": 3, "origin": str(folder / "forecast.toml")}
    assert settings["training.seed"] == {"value": 1, "origin": "default"}
    assert app.run(["config", "show", "--workspace", str(folder)]) == 0
    assert re.search(r"training.epochs +3 ", capsys.readouterr().out)


def test_init_takes_the_common_workspace_option(tmp_path: Path):
    assert app.run(["-q", "init", "--workspace", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x" / "forecast.toml").is_file()


def test_config_show_names_bad_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("FORECAST_EPOCHS", "none")
    assert app.run(["config", "show", "--workspace", str(tmp_path), "--json"]) == 5
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "training.epochs" in message
    assert "found 'none' (FORECAST_EPOCHS)" in message


def session_of(args: list[str], monkeypatch: pytest.MonkeyPatch) -> session.Session:
    seen: list[session.Session] = []
    probe = click.Command("probe", callback=lambda: seen.append(session.current()))
    monkeypatch.setattr(sys.modules[__name__], "probe", probe, raising=False)
    monkeypatch.setitem(app.COMMANDS, "probe", (f"{__name__}:probe", "Look."))
    assert app.run(args) == 0
    return seen[0]


@pytest.mark.parametrize(
    "args",
    [
        ["--json", "-q", "-v", "--workspace", "w", "probe"],
        ["probe", "--json", "-q", "-v", "--workspace", "w"],
        ["--json", "--workspace", "other", "probe", "-qv", "--workspace=w"],
    ],
)
def test_common_options_stand_before_or_after_the_command(
    args: list[str], monkeypatch: pytest.MonkeyPatch
):
    found = session_of(args, monkeypatch)
    assert (found.json, found.quiet, found.verbose, found.folder) == (True, True, 1, "w")


def test_verbosity_adds_up(monkeypatch: pytest.MonkeyPatch):
    assert session_of(["-v", "probe", "-v"], monkeypatch).verbose == 2
    assert session_of(["probe"], monkeypatch).json is False


def test_notices_go_to_stderr_and_quiet_drops_them(capsys: pytest.CaptureFixture[str]):
    with click.Context(click.Command("x")) as context:
        context.obj = session.Session()
        output.notice("Mended 3 gaps.")
        output.emit({"a": 1}, "text")
        assert capsys.readouterr() == ("text\n", "Mended 3 gaps.\n")
        context.obj.quiet, context.obj.json = True, True
        output.notice("Mended 3 gaps.")
        output.emit({"a": 1}, "text")
        text = capsys.readouterr()
    assert json.loads(text.out) == {"a": 1}
    assert text.err == ""


def test_json_is_strict_whatever_the_values(capsys: pytest.CaptureFixture[str]):
    import numpy as np
    import pandas as pd

    output.print_json(
        {
            "nan": float("nan"),
            "inf": np.float32("inf"),
            "number": np.int64(3),
            "array": np.arange(2.0),
            "path": Path("a/b"),
            "time": pd.Timestamp("2020-01-02"),
            3: (True, None),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "inf": None,
        "number": 3,
        "array": [0.0, 1.0],
        "path": "a/b",
        "time": "2020-01-02T00:00:00",
        "3": [True, None],
    }


def test_table_aligns_text_left_and_numbers_right():
    rows = [("AAPL", 250, None), ("a", 9.5, "x")]
    assert output.table(rows, ("series", "rows", "note")) == (
        "series  rows  note\nAAPL     250  -\na        9.5  x"
    )
    assert output.table([], ("series", "rows")) == "series  rows"


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]):
    with click.Context(click.Command("x")), output.progress("Fetching", total=2) as advance:
        advance()
        advance(1, label="AAPL")
    assert capsys.readouterr() == ("", "")


def test_long_work_off_a_terminal_gives_a_line_now_and_then(capsys, monkeypatch):
    clock = iter([0, 10, 29, 31, 45, 62])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with click.Context(click.Command("x")), output.progress("Fetching", total=9) as advance:
        for label in ("A", "B", "C", "D"):
            advance(1, label)
    assert capsys.readouterr() == ("", "Fetching 3 of 9: C\n")  # at 31; the clock is asked twice
    clock = iter([0, 31, 31])
    with click.Context(click.Command("x")), output.progress("Training") as advance:
        advance()
    assert capsys.readouterr() == ("", "Training ...\n")


def test_quiet_work_gives_no_line_however_long(capsys, monkeypatch):
    clock = iter([0, 31, 62])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    quiet = session.Session()
    quiet.quiet = True
    context = click.Context(click.Command("x"), obj=quiet)
    with context, output.progress("Fetching", total=9) as advance:
        advance()
    assert capsys.readouterr() == ("", "")


def test_progress_bar_on_a_terminal_obeys_no_color():
    script = """
import click
from forecaster.cli import output
with click.Context(click.Command("x")), output.progress("Fetching", total=2) as advance:
    advance(2, label="Fetched")
"""
    import pty

    leader, follower = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", script],
        stderr=follower,
        cwd=REPOSITORY,
        env={**os.environ, "NO_COLOR": "1", "TERM": "xterm"},
        check=True,
    )
    os.close(follower)
    text = os.read(leader, 65_536).decode()
    os.close(leader)
    assert "Fetch" in text
    assert "\x1b[3" not in text  # colours begin so


@pytest.mark.parametrize("command", ["train", "backtest", "tune", "compare", "retrain"])
def test_flags_that_contradict_each_other_are_told_before_data_is_missed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run([command, "--heads", "2", "--workspace", str(tmp_path)]) == 5
    assert "heads 2 is for attention, but attention is none" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "backtest", "predict", "retrain"])
def test_intervals_may_be_left_as_calibrated(command, capsys):
    assert app.run([command, "--help"]) == 0
    assert "--no-adaptive-intervals" in capsys.readouterr().out
