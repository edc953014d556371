"""What cron and systemd are told: our own entries only, and such that they run anywhere."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crontab_program import write_crontab_program
from retrain_made import SETTINGS, feed
from series_made import frame_of

from forecaster import artifacts, fetching, timers
from forecaster.cli import app
from forecaster.cli.retrain import retrain
from forecaster.errors import InvalidInputError
from forecaster.registry import Registry
from forecaster.scheduling import Job, next_run, require_cron
from forecaster.sources.layout import Columns
from forecaster.store import Store

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parents[1]
NIGHTLY = "30 18 * * 1-5"
OTHERS = b"""# a note of mine
MAILTO=me@example.org
EMPTY=
 0  5 * * 1   tar -zcf  /x  /home/   # keep

@daily echo 50\\%  # forecast:none of ours
\xff\xfe 1 2
#0 1 * * * off
0 1 * * * other # forecast:retrain:air:000000000000
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = write_crontab_program(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{table.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return table


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "my 100% 'shop'"
    folder.mkdir()
    return folder


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def schedule(capsys: pytest.CaptureFixture[str], folder: Path, *args: object, code: int = 0) -> Any:
    words = list(map(str, args))
    assert app.run(["--json", "--workspace", str(folder), "schedule", *words]) == code
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *args: object, code: int) -> str:
    error = schedule(capsys, folder, *args, code=code)["error"]
    return f"{error['message']} {error['hint']}"


def test_lines_of_others_stay_byte_for_byte(table: Path, workspace: Path, capsys):
    table.write_bytes(OTHERS)
    first = schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY)
    assert table.read_bytes() == OTHERS + first["line"].encode() + b"\n"
    schedule(capsys, workspace, "install", "--name", "water", "--cron", "@daily")
    both = table.read_bytes()
    schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY)
    assert table.read_bytes() == both  # done again, nothing changes
    again = schedule(capsys, workspace, "install", "--name", "air", "--cron", "0 6 * * *")
    lines = table.read_bytes().splitlines()[-2:]
    assert (lines[0].decode(), b"water" in lines[1]) == (again["line"], True)
    for name in ("air", "water"):
        schedule(capsys, workspace, "remove", "--name", name)
    assert table.read_bytes() == OTHERS
    assert "Nothing is scheduled" in refused(capsys, workspace, "remove", "--name", "air", code=4)


def test_a_command_that_was_scheduled_has_its_short_help(
    table: Path, workspace: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retrain, "_help_option", None)  # as in a new process
    schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY)
    assert app.run(["retrain", "-h"]) == 0


def test_the_entry_runs_with_nothing_but_what_cron_gives(
    table: Path, workspace: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    """As cron does: `sh -c`, from another folder, after `\\%` has become `%`."""
    for name, value in {
        "FORECAST_LEVEL": "50", "FORECAST_ON_FAILURE": "https://example.org/secret",
        "FORECAST_EVENT": "failure", "MINE": "100% $HOME 'x'", "PYTHONPATH": str(REPOSITORY),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = schedule(
        capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY, "--env", "MINE",
        "--command", "predict", "--", "--output", "it's 1%.csv",
    )  # fmt: skip
    assert found["variables"] == ["FORECAST_LEVEL", "MINE", "PYTHONPATH"]
    assert "secret" not in table.read_text()
    serve(workspace)
    command = table.read_text().split(maxsplit=5)[5].replace(r"\%", "%")
    output = workspace / "logs" / "air.cron.log"
    output.parent.mkdir()
    output.write_bytes(b"x" * 2_000_000)
    done = subprocess.run(["/bin/sh", "-c", command], cwd="/", env={"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
    date, said = output.read_text().split("\n", 1)  # what was there was too large
    assert str(datetime.now(UTC).year) in date
    assert said.startswith("Wrote 8 rows")
    assert "gru-lo-50" in (workspace / "it's 1%.csv").read_text()


def serve(workspace: Path) -> None:
    """Put a model into service that can be forecast with."""
    Registry(workspace / "models").save("air", artifacts.load(GOLDEN / "gru"), {})
    Store(workspace / "data").put(frame_of("a", "b", rows=60), {"kind": "test"})


def test_variables_left_out_are_said(table: Path, workspace: Path, capsys, monkeypatch):
    monkeypatch.setenv("FORECAST_ON_PROMOTE", "mail me")
    words = ["schedule", "install", "--cron", NIGHTLY, "--workspace", str(workspace)]
    assert app.run(words) == 0
    said = capsys.readouterr()
    assert "FORECAST_ON_PROMOTE may be secret and is not given to the job" in said.err
    assert "Next run: " in said.out
    assert "is not set" in refused(
        capsys, workspace, "install", "--cron", NIGHTLY, "--env", "NO_SUCH_VARIABLE", code=4
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--name", "other"), 5, "`schedule install --name` says which model it is"),
        (("--on-failure", "http://me:s3cret@host/"), 5, "it may be secret"),
        (("no-such",), 4, "'no-such'"),
        (("--workspace", "/tmp"), 5, "--workspace cannot stand behind `--`"),
        (("--horizon", "0"), 5, "--horizon"),
        (("--margin", "2"), 5, "--margin"),
        (("--max-data-age", "-1"), 5, "--max-data-age"),
        (("--output", "x.xlsx"), 5, "An output is CSV (.csv) or Parquet"),
        (("--output", "nodir/x.csv"), 5, "nodir' of the output does not exist"),
        (("--output", "data/index.json"), 5, "An output is CSV"),
        (("--output", "data/parts/x.csv"), 5, "keeps its own data"),
    ],
)
def test_what_does_not_belong_behind_the_dashes(
    table: Path, workspace: Path, capsys, options: tuple[str, ...], code: int, said: str
):
    serve(workspace)
    words = ("install", "--name", "air", "--cron", NIGHTLY, "--", *options)
    assert said in refused(capsys, workspace, *words, code=code)
    assert not table.exists()


def test_what_a_forecast_would_refuse_is_refused(table: Path, workspace: Path, capsys):
    words = ("install", "--cron", NIGHTLY, "--command", "predict", "--")
    said = refused(capsys, workspace, *words, "--output", "nodir/x.csv", code=5)
    assert f"'{workspace / 'nodir'}' of the output" in said
    assert "--level" in refused(capsys, workspace, *words, "--level", "200", code=5)
    schedule(capsys, workspace, *words, "--output", "-", "--horizon", "3")
    table.unlink()
    (workspace / "forecast.toml").write_text("[retrain]\noutput = 'x.xlsx'\n")
    assert "x.xlsx" in refused(capsys, workspace, *words[:3], code=5)
    assert not table.exists()


def test_a_forecast_without_a_table_is_noticed(table: Path, workspace: Path, capsys):
    words = ["schedule", "install", "--cron", NIGHTLY, "--workspace", str(workspace)]
    for options, said in (([], True), (["--", "--output", "a.csv"], False)):
        assert app.run([*words, "--command", "predict", *options]) == 0
        assert ("no table is written" in capsys.readouterr().err) == said


def test_show_lists_this_workspace_with_the_next_run(table: Path, workspace: Path, capsys):
    assert schedule(capsys, workspace, "show") == []
    schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY)
    schedule(capsys, workspace, "install", "--name", "water", "--cron", "@daily", "--systemd")
    schedule(capsys, table.parent, "install", "--name", "elsewhere", "--cron", NIGHTLY)
    cron, systemd = schedule(capsys, workspace, "show")
    assert (cron["by"], cron["name"], cron["command"], cron["cron"]) == (
        "cron", "air", "retrain", NIGHTLY
    )  # fmt: skip
    assert datetime.fromisoformat(cron["next"]) == next_run(NIGHTLY)
    assert (systemd["by"], systemd["name"], systemd["cron"]) == ("systemd", "water", "0 0 * * *")
    assert [each["name"] for each in schedule(capsys, workspace, "show", "--name", "air")] == [
        "air"
    ]
    table.write_text("#" + table.read_text())
    off = schedule(capsys, workspace, "show")[0]
    assert (off["enabled"], off["next"]) == (False, None)
    schedule(capsys, workspace, "remove", "--name", "air")
    assert "air" not in table.read_text()


@pytest.mark.parametrize("by", [[], ["--systemd"]], ids=["cron", "systemd"])
def test_a_workspace_is_one_however_it_is_reached(
    table: Path, workspace: Path, capsys, monkeypatch: pytest.MonkeyPatch, by: list[str]
):
    serve(workspace)
    link = workspace.parent / "link"
    link.symlink_to(workspace)
    monkeypatch.chdir(workspace)
    words = ["schedule", "install", "--name", "air", "--cron", NIGHTLY, *by]
    assert app.run(words) == 0
    capsys.readouterr()
    again = workspace / ".." / workspace.name
    for folder in (again, link):
        schedule(capsys, folder, *words[1:])
    (entry,) = schedule(capsys, link, "show")
    assert entry["name"] == "air"
    if not by:
        assert table.read_text().count("forecast:") == 1
        assert app.run(["status", "--workspace", str(link), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["models"][0]["next_run"]
    schedule(capsys, again, "remove", "--name", "air")
    assert schedule(capsys, workspace, "show") == []


def test_without_a_home_only_units_need_a_folder(
    table: Path, workspace: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    words = ("install", "--name", "air", "--cron", NIGHTLY)
    said = refused(capsys, workspace, *words, "--systemd", code=5)
    assert said.endswith("this user has no home. Set HOME, or name a folder with --folder.")
    folder = ("--folder", workspace / "units")
    for by in ((), ("--systemd", *folder)):
        schedule(capsys, workspace, *words, *by)
    assert [each["by"] for each in schedule(capsys, workspace, "show")] == ["cron"]
    assert len(schedule(capsys, workspace, "show", *folder)) == 2
    schedule(capsys, workspace, "remove", "--name", "air", *folder)
    assert "nor by units of systemd" in refused(
        capsys, workspace, "remove", "--name", "air", code=4
    )


def test_units_that_cannot_be_read_hide_no_others(table: Path, workspace: Path, capsys):
    schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY, "--systemd")
    (timer,) = timers.default_folder().glob("*.timer")
    timer.with_name(timer.name.replace("air", "gone")).symlink_to("/nowhere")
    timer.with_name(timer.name.replace("air", "odd")).write_bytes(b"\xff")
    assert [each["name"] for each in schedule(capsys, workspace, "show")] == ["air"]
    schedule(capsys, workspace, "remove", "--name", "air")


def test_show_tells_the_zone(table: Path, workspace: Path, capsys, berlin: None):
    schedule(capsys, workspace, "install", "--name", "air", "--cron", "0 12 1 1 *")
    assert app.run(["schedule", "show", "--workspace", str(workspace)]) == 0
    assert "-01-01 12:00 CET\n" in capsys.readouterr().out


@pytest.mark.parametrize("by", [[], ["--systemd"]], ids=["cron", "systemd"])
def test_a_dry_run_says_what_would_be_and_changes_nothing(
    table: Path, workspace: Path, capsys, tmp_path: Path, by: list[str]
):
    words = ["install", "--name", "air", "--cron", NIGHTLY, *by]
    words += ["--folder", tmp_path / "units"] if by else []
    assert app.run(
        ["schedule", *map(str, words), "--dry-run", "--workspace", str(workspace)]
    ) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert said.startswith("Would install:\n")
    assert "Next run: " in said
    assert not table.exists()
    assert not (tmp_path / "units").exists()
    document = schedule(capsys, workspace, *words, "--dry-run")
    assert document["dry_run"] is True
    installed = schedule(capsys, workspace, *words)
    assert installed | {"dry_run": True} == document
    written = [Path(path).read_text() for path in installed["files"]] or [table.read_text()]
    assert all(text.strip() in said for text in written)
    assert (
        installed["units"] == dict(zip(installed["files"], written, strict=True))
        if by
        else (installed["line"] in written[0])
    )
    assert all(f"# {path}\n# forecast:" in said for path in installed["files"])


def test_a_dry_run_says_what_would_be_refused(
    table: Path, workspace: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    words = ("install", "--cron", NIGHTLY, "--dry-run")
    taken = workspace / "file"
    taken.touch()
    where = ("--systemd", "--folder", taken)
    assert "is a file" in refused(capsys, workspace, *words, *where, code=5)
    (table.parent / "broken").write_text("you are not allowed")
    assert "cannot be read: you are not allowed" in refused(capsys, workspace, *words, code=1)
    monkeypatch.setenv("PATH", str(workspace))
    for by, missed in (((), True), (("--systemd",), False)):
        assert app.run(["schedule", *words, *by, "--workspace", str(workspace)]) == 0
        assert ("no program 'crontab'" in capsys.readouterr().err) == missed


def test_units_in_a_folder_of_ones_own_are_linked(table: Path, workspace: Path, capsys):
    folder, linked = workspace / "units", timers.default_folder()
    words = ["--name", "air", "--folder", str(folder), "--workspace", str(workspace)]
    assert app.run(["schedule", "install", *words, "--cron", NIGHTLY, "--systemd"]) == 0
    now = capsys.readouterr().out.partition("Now: ")[2].splitlines()[0]
    timer, service = sorted(folder.iterdir(), reverse=True)
    link, enable = (shlex.split(part) for part in now.split(" && "))
    assert link == ["systemctl", "--user", "link", str(service), str(timer)]
    assert enable == ["systemctl", "--user", "enable", "--now", timer.name]
    linked.mkdir(parents=True)
    for unit in (service, timer):
        (linked / unit.name).symlink_to(unit)  # what `systemctl link` does
    assert app.run(["schedule", "remove", *words]) == 0
    assert not [*folder.iterdir(), *linked.iterdir()]


def test_status_says_the_next_run(table: Path, workspace: Path, capsys):
    serve(workspace)
    schedule(capsys, workspace, "install", "--name", "air", "--cron", NIGHTLY)

    def next_of_status() -> str | None:
        assert app.run(["status", "--workspace", str(workspace), "--json"]) == 0
        return json.loads(capsys.readouterr().out)["models"][0]["next_run"]

    assert datetime.fromisoformat(str(next_of_status())) == next_run(NIGHTLY)
    assert app.run(["status", "--workspace", str(workspace)]) == 0
    assert "next run: " in capsys.readouterr().out
    (table.parent / "broken").write_text("you are not allowed")
    assert next_of_status() is None


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("30 18 * *", "it has 4 fields"),
        ("0 30 18 * * *", "it has 6 fields"),
        ("61 * * * *", "bad minute"),
        ("* * 30 2 *", "bad day-of-month"),
        ("0 0 L * *", "'L' is not known to cron"),
        ("0 0 * * 1#2", "'1#2' is not known to cron"),
        ("@reboot", "it has 1 fields"),
        ("0 0 * * ;reboot", "is not known to cron"),
    ],
)
def test_a_wrong_expression_is_refused(table: Path, workspace: Path, capsys, cron: str, said: str):
    assert said in refused(capsys, workspace, "install", "--cron", cron, code=5)
    assert not table.exists()


def test_what_one_line_cannot_hold_is_refused(table: Path, workspace: Path, capsys):
    words = ("install", "--cron", NIGHTLY, "--command", "predict")
    options = (*words, "--", "--output")
    assert "one line" in refused(capsys, workspace, *options, "a\nb", code=5)
    assert "cron cannot be given" in refused(capsys, workspace, *options, r"a\%", code=5)
    assert "--outputs" in refused(capsys, workspace, *words, "--", "--outputs", "a.csv", code=2)
    assert "model's name" in refused(capsys, workspace, *words, "--name", "../a", code=5)


def test_a_crontab_that_cannot_be_used(table: Path, workspace: Path, capsys, monkeypatch):
    words = ("install", "--cron", NIGHTLY, "--command", "predict", "--", "--output", "refuse")
    said = refused(capsys, workspace, *words, code=1)
    assert "cannot be written: errors in crontab file" in said
    (table.parent / "broken").write_text("you are not allowed to use this program")
    for args in (words, ("show",), ("remove", "--name", "air")):
        assert "cannot be read: you are not allowed" in refused(capsys, workspace, *args, code=1)
    monkeypatch.setenv("PATH", str(workspace))
    assert "no program 'crontab'" in refused(capsys, workspace, *words, code=3)
    assert schedule(capsys, workspace, "show") == []


def test_units_are_what_systemd_reads(table: Path, workspace: Path, capsys, tmp_path: Path):
    units = tmp_path / "units"
    where = ["--name", "air", "--folder", units]
    words = [*where, "--systemd"]
    found = schedule(
        capsys,
        workspace,
        "install",
        "--cron",
        NIGHTLY,
        *words,
        "--command",
        "predict",
        "--",
        "--output",
        "$5%",
    )
    service, timer = map(Path, found["files"])
    where_not = ["--folder", service, "--systemd"]
    assert "is a file" in refused(
        capsys, workspace, "install", "--cron", NIGHTLY, *where_not, code=5
    )
    assert timer.read_text().splitlines()[5:7] == [
        "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 18:30:00",
        "Persistent=true",
    ]
    text = service.read_text()
    assert '"predict" "--name" "air" "--output" "$$5%%"' in text
    assert f"WorkingDirectory={str(workspace).replace('%', '%%')}" in text
    assert "SuccessExitStatus=6" in text
    assert not table.exists()
    schedule(capsys, workspace, "install", "--cron", "@daily", *words, "--command", "predict")
    (entry,) = schedule(capsys, workspace, "show", "--folder", units)
    assert (entry["cron"], entry["enabled"], entry["next"]) == ("0 0 * * *", False, None)
    wanted = units / "timers.target.wants"
    wanted.mkdir()
    (wanted / timer.name).symlink_to(timer)  # what `systemctl enable` does
    (entry,) = schedule(capsys, workspace, "show", "--folder", units)
    assert entry["enabled"] and entry["next"]
    if shutil.which("systemd-analyze"):
        run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(service), str(timer)],
                             capture_output=True, text=True, check=False)  # fmt: skip
        assert "air" not in run.stderr, run.stderr
    assert app.run(["--workspace", str(workspace), "schedule", "remove", *map(str, where)]) == 0
    assert f"Now: systemctl --user stop {timer.name}" in capsys.readouterr().out
    assert list(units.iterdir()) == [wanted]
    assert not list(wanted.iterdir())
    assert "neither by cron nor by units" in refused(capsys, workspace, "remove", *where, code=4)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
@pytest.mark.parametrize(
    "cron", [NIGHTLY, "*/15 8-17 * * *", "0 */6 1 * 0", "5 4 29 2 *", "1 1 */2 * 1"]
)
def test_systemd_and_cron_mean_the_same_times(cron: str):
    """Whichever of the lines comes first; both by the clock of UTC."""
    nexts = []
    for line in timers.on_calendar(cron):
        run = subprocess.run(["systemd-analyze", "calendar", line], capture_output=True, text=True,
                             check=True, env=os.environ | {"TZ": "UTC"})  # fmt: skip
        said = next(row for row in run.stdout.splitlines() if "Next elapse" in row)
        nexts.append(datetime.strptime(said.split(": ")[1].strip(), "%a %Y-%m-%d %H:%M:%S UTC"))
    expected = next_run(cron, datetime.now(UTC).replace(tzinfo=None))
    assert expected is not None
    assert min(nexts) == expected.replace(tzinfo=None)


def test_an_hour_that_does_not_exist_runs_after_it(berlin: None):
    found = next_run("30 2 * * *", datetime(2026, 3, 29))
    assert found is not None
    assert found.utcoffset() == timedelta(hours=2)
    assert next_run("30 18 * * *", datetime(2026, 3, 28, 20)).isoformat() == (  # type: ignore[union-attr]
        "2026-03-29T18:30:00+02:00"
    )


@pytest.mark.parametrize(
    ("cron", "minute", "fold", "found"),
    [
        ("*/30 * * * *", 10, 0, "2026-10-25T02:30:00+02:00"),
        ("*/30 * * * *", 10, 1, "2026-10-25T02:30:00+01:00"),
        ("*/30 * * * *", 40, 1, "2026-10-25T03:00:00+01:00"),
        ("30 2 * * *", 10, 0, "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", 10, 1, "2026-10-26T02:30:00+01:00"),
    ],
)
def test_an_hour_that_comes_twice(berlin: None, cron: str, minute: int, fold: int, found: str):
    """The next run never lies before now; what has its hour runs once."""
    when = next_run(cron, datetime(2026, 10, 25, 2, minute, fold=fold))
    assert when is not None
    assert when.isoformat() == found


def test_a_job_of_a_name_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError):
        Job(tmp_path, "a b", require_cron(NIGHTLY))


ALONE = ("unshare", "--mount")
DAEMON = """
set -e
mount -t tmpfs none /run
[ ! -d /etc/cron.d ] || mount -t tmpfs none /etc/cron.d
touch "$1/empty"
[ ! -f /etc/crontab ] || mount --bind "$1/empty" /etc/crontab
mkdir -p "$1/spool/cron/crontabs"
mount --bind "$1/spool" /var/spool
cron -f & daemon=$!
trap 'kill $daemon' EXIT
shift
sleep 2  # cron tells tables apart by the second in which they were changed
"$@"
for second in $(seq 200); do
    sleep 1
    grep -qs 'Wrote 8 rows' logs/air.cron.log && exit 0
done
cat logs/*.log >&2
exit 1
"""


@pytest.fixture
def cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's cron: the machine's, or its package unpacked into a folder of this test."""
    may = os.geteuid() == 0 and shutil.which("unshare")
    if not may or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts of one's own need a root who may make them")
    if all(map(shutil.which, ("cron", "crontab"))):
        return
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        pytest.skip("cron is not installed, and this is no Debian whose package could be unpacked")
    folder = tmp_path / "debian"
    folder.mkdir()
    words = ["timeout", "60", "apt-get", "download", "cron"]
    got = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    packages = list(folder.glob("cron_*.deb"))
    if not packages:
        pytest.skip(f"cron is not installed and cannot be downloaded: {got.stderr.strip()[-200:]}")
    subprocess.run(["dpkg", "-x", str(packages[0]), str(folder)], check=True)
    programs = f"{folder / 'usr' / 'sbin'}:{folder / 'usr' / 'bin'}"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.mark.slow(share=1)  # cron looks at its tables once a minute
@pytest.mark.timeout(300)
def test_a_real_cron_daemon_retrains(workspace: Path, tmp_path: Path, cron):
    """In name spaces of its own: the machine's crontabs are neither read nor written."""
    (workspace / "forecast.toml").write_text(SETTINGS)
    feed(workspace)
    fetching.fetch_file(Store(workspace / "data"), workspace / "feed.csv", Columns(target="units"))
    install = [sys.executable, "-m", "forecaster", "schedule", "install", "--name", "air",
               "--cron", "* * * * *"]  # fmt: skip
    done = subprocess.run(
        [*ALONE, "sh", "-c", DAEMON, "sh", str(tmp_path), *install], cwd=workspace,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    registry = Registry(workspace / "models")
    (promotion,) = registry.history("air")
    assert (promotion.why, promotion.version) == ("retrain", registry.champion("air"))
    table = (workspace / "forecasts" / "air.csv").read_text().splitlines()
    assert len(table) == 9
    assert all(line.endswith(promotion.version) for line in table[1:])
