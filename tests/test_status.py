"""The probe of monitors: healthy is 0, a problem is 1, and the reason is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from series_made import frame_of

from forecaster import artifacts
from forecaster.archive import STORE, Archive, Published
from forecaster.cli import app
from forecaster.errors import ForecasterError
from forecaster.locking import writing
from forecaster.registry import Registry
from forecaster.runs import Records, Run, Step
from forecaster.store import Store

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime.now(UTC)
TODAY = pd.Timestamp(NOW).tz_localize(None).normalize()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything is fresh; one of its series ends a day before the other."""
    folder = tmp_path_factory.mktemp("running")
    Registry(folder / "models").save("air", artifacts.load(GOLDEN / "gru"), {})
    frame = frame_of("a", "b", rows=60, start=str((TODAY - pd.Timedelta(days=60)).date()))
    Store(folder / "data").put(frame[:-1], {"kind": "test"})
    publish(folder, NOW)
    (folder / "air.csv").write_text("unique_id,ds\n")
    return folder


def publish(folder: Path, when: datetime) -> None:
    table = pd.DataFrame({"unique_id": "a", "ds": [TODAY], "cutoff": [TODAY], "gru": [1.0]})
    table["model_version"] = "v"
    Archive(folder / "data" / "forecasts").publish(
        table, name="air", version="v", data_hash="", source=STORE, now=when
    )


@pytest.fixture
def workspace(running: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(running, tmp_path / "workspace"))


def status(
    capsys: pytest.CaptureFixture[str], folder: Path, *args: object, code: int = 0
) -> dict[str, Any]:
    words = ["status", "--workspace", str(folder), "--json", *map(str, args)]
    assert app.run(words) == code
    document = json.loads(capsys.readouterr().out)
    return document if code > 1 else dict(document["models"][0], all_healthy=document["healthy"])


def problem(capsys: pytest.CaptureFixture[str], folder: Path, *args: object) -> str:
    """Return the only problem there is."""
    health = status(capsys, folder, *args, code=1)
    assert health["all_healthy"] is False
    (said,) = health["problems"]
    return str(said)


def record(folder: Path, **changes: Any) -> None:
    run = {"command": "retrain", "started": NOW.isoformat(), "pid": os.getpid()} | changes
    Records(folder / "models" / "air").write(Run(**run))


def test_what_is_fresh_is_healthy(workspace: Path, capsys):
    csv = workspace / "air.csv"
    health = status(
        capsys, workspace, "--name", "air", "--max-age", "2d", "--csv", csv,
        "--max-data-age", "4d", "--max-champion-age", "1d",
    )  # fmt: skip
    assert (health["healthy"], health["problems"], health["run"]) == (True, [], None)
    assert set(health["ages"]) == {"champion", "data", "forecast", "csv"}
    assert health["ages"]["data"] == pytest.approx(
        (datetime.now(UTC) - (TODAY - pd.Timedelta(days=2)).tz_localize("UTC")).total_seconds(),
        abs=60,
    )
    assert app.run(["status", "--workspace", str(workspace)]) == 0
    assert capsys.readouterr().out.startswith("air: ok\n")


def test_cutoffs_of_days_are_listed_as_dates(workspace: Path, capsys):
    assert app.run(["archive", "list", "--workspace", str(workspace)]) == 0
    assert capsys.readouterr().out.endswith(f"  {TODAY:%Y-%m-%d}\n")


def test_times_of_zoned_series_are_shown_in_utc(workspace: Path, capsys):
    frame = frame_of("a", "b", rows=60, start="2024-06-01")
    frame["ds"] = (frame["ds"] + pd.Timedelta(hours=23)).dt.tz_localize("Europe/Berlin")
    Store(workspace / "data").put(frame, {"kind": "test"})
    assert app.run(["status", "--workspace", str(workspace)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  data "))
    assert line.split()[:3] == ["data", "2024-07-30", "21:00"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--max-age", "1s"), "The last published forecast is"),
        (("--max-data-age", "1d"), "The data is"),
        (("--max-champion-age", "0s"), "The version in service is"),
    ],
)
def test_each_limit_is_kept(workspace: Path, capsys, args: tuple[str, ...], said: str):
    shutil.rmtree(workspace / "data" / "forecasts")
    publish(workspace, NOW - timedelta(seconds=30))
    found = problem(capsys, workspace, *args)
    assert found.startswith(said)
    assert "is allowed" in found


def test_an_old_or_missing_file_is_a_problem(workspace: Path, capsys):
    csv = workspace / "air.csv"
    os.utime(csv, (0, 0))
    words = ["--name", "air", "--csv", csv]
    status(capsys, workspace, *words)
    assert problem(capsys, workspace, *words, "--max-age", "2d").startswith("The file is")
    csv.unlink()
    assert "No such file" in problem(capsys, workspace, *words)
    status(capsys, workspace, "--csv", csv, code=2)


def test_a_model_that_never_published_is_a_problem_when_an_age_is_asked(workspace: Path, capsys):
    shutil.rmtree(workspace / "data" / "forecasts")
    status(capsys, workspace)
    assert problem(capsys, workspace, "--max-age", "2d") == "No forecast was published."


def test_a_model_that_cannot_predict_is_a_problem(workspace: Path, capsys):
    champion = workspace / "models" / "air" / "champion"
    version = champion.read_text().strip()
    champion.write_text("gone")
    assert "does not exist" in problem(capsys, workspace)
    champion.unlink()
    assert "no model 'air' in service" in problem(capsys, workspace)
    champion.write_text(version)
    (champion.parent / "versions" / version / "manifest.json").write_text("{")
    assert "cannot be read" in problem(capsys, workspace)
    assert "no model 'default'" in problem(capsys, workspace / "data")
    assert "no model 'water'" in status(capsys, workspace, "--name", "water", code=1)["problems"][0]
    status(capsys, workspace, "--name", "../air", code=5)


def test_series_that_are_gone_and_an_index_that_is_damaged_are_problems(workspace: Path, capsys):
    Store(workspace / "data").drop(["b"])
    assert problem(capsys, workspace) == "1 of its 2 series are not stored: 'b'."
    (workspace / "data" / "index.json").write_text("{")
    assert "is damaged" in problem(capsys, workspace)


def test_rows_that_are_only_known_ahead_are_not_data(workspace: Path, capsys):
    frame = frame_of("a", "b", rows=60, start=str((TODAY - pd.Timedelta(days=40)).date()))
    frame.loc[frame["ds"] > TODAY - pd.Timedelta(days=9), "y"] = None
    Store(workspace / "data").put(frame.assign(sale=1.0), {"kind": "test"})
    assert status(capsys, workspace, "--max-data-age", "10d")["ages"]["data"] > 7 * 86_400
    assert "The data is" in problem(capsys, workspace, "--max-data-age", "7d")


@pytest.mark.parametrize(("ahead", "healthy"), [(9, True), (17, False)])
def test_local_times_east_of_this_machine_are_not_in_the_future(
    workspace: Path, capsys, ahead: int, healthy: bool
):
    last = pd.Timestamp.now("UTC").tz_localize(None).floor("h") + pd.Timedelta(hours=ahead)
    frame = frame_of("a", "b", rows=60)
    hours = pd.date_range(end=last, periods=60, freq="h")
    Store(workspace / "data").put(frame.assign(ds=[*hours, *hours]), {"kind": "test"})
    found = status(capsys, workspace, code=int(not healthy))
    assert any("rows in the future" in said for said in found["problems"]) is not healthy


def test_whole_number_times_have_no_age(workspace: Path, capsys):
    frame = frame_of("a", "b", rows=60)
    frame["ds"] = frame.groupby("unique_id").cumcount()
    Store(workspace / "data").put(frame, {"kind": "test"})
    assert "data" not in status(capsys, workspace)["ages"]
    assert "cannot be told" in problem(capsys, workspace, "--max-data-age", "2d")


def test_what_is_from_the_future_is_a_problem(workspace: Path, capsys):
    publish(workspace, NOW + timedelta(days=1))
    assert "in the future: check the clock" in problem(capsys, workspace)
    (said,) = status(capsys, workspace, "--max-age", "1h", code=1)["problems"]
    Path(said.split("'")[1]).unlink()  # the one that it names
    status(capsys, workspace, "--max-age", "1h")


def test_a_table_that_is_gone_is_a_problem(workspace: Path, capsys):
    table = workspace / "forecasts.csv"
    record(workspace, exit_code=0, output=str(table))
    assert f"'{table}' cannot be read" in problem(capsys, workspace)
    record(workspace, output=str(table))
    with writing(workspace / "models" / "air"):
        assert status(capsys, workspace)["run"]["outcome"] == "running"  # it is being made
    record(workspace, exit_code=0, output=str(table))
    table.mkdir()
    assert "it is a folder" in problem(capsys, workspace)
    table.rmdir()
    table.write_text("")
    assert "csv" in status(capsys, workspace)["ages"]


def test_data_that_a_gate_refused_is_a_problem(workspace: Path, capsys):
    steps = (Step("fetch", "done"), Step("check", "refused"))
    record(workspace, exit_code=6, steps=steps, message="Series 'a' is old.")
    said = problem(capsys, workspace)
    assert (
        said
        == "The last run wrote no table, because a gate said no in the step 'check': Series 'a' is old."
    )
    assert status(capsys, workspace, code=1)["run"]["outcome"] == "refused"
    kept_out = (Step("compare", "refused"), Step("export", "done"), Step("prune", "done"))
    record(workspace, exit_code=6, steps=kept_out)
    assert status(capsys, workspace)["run"]["outcome"] == "done"
    assert app.run(["status", "--workspace", str(workspace)]) == 0
    assert "done; a challenger was kept out" in capsys.readouterr().out


def test_the_step_that_went_wrong_is_named(workspace: Path, capsys):
    steps = (Step("train", "failed"), Step("compare", "skipped"), Step("prune", "done"))
    record(workspace, exit_code=1, steps=steps, message="It diverged.")
    assert "in the step 'train': It diverged." in problem(capsys, workspace)


def test_rows_in_the_future_are_a_problem(workspace: Path, capsys):
    def ending(days: int) -> None:
        frame = frame_of(
            "a", "b", rows=60, start=str((TODAY + pd.Timedelta(days=days - 59)).date())
        )
        Store(workspace / "data").put(frame, {"kind": "test"})

    ending(days=1)  # the end of today
    status(capsys, workspace)
    ending(days=4)
    assert problem(capsys, workspace).startswith("'a', 'b' have rows in the future, up to ")


def test_settings_that_no_run_can_use_are_a_problem(workspace: Path, capsys):
    (workspace / "forecast.toml").write_text("[training]\nepoch = 3\n")
    assert "training.epoch: unknown key" in problem(capsys, workspace)


def test_a_model_that_is_scheduled_is_missed(workspace: Path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "config"))
    words = ["schedule", "install", "--name", "aire", "--cron", "@daily", "--systemd"]
    assert app.run(["--workspace", str(workspace), *words]) == 0
    units = workspace / "config" / "systemd" / "user"
    (units / "timers.target.wants").mkdir()
    (timer,) = units.glob("*.timer")
    (units / "timers.target.wants" / timer.name).symlink_to(timer)
    capsys.readouterr()
    assert app.run(["status", "--workspace", str(workspace), "--json"]) == 1
    models = json.loads(capsys.readouterr().out)["models"]
    assert {each["name"]: each["healthy"] for each in models} == {"air": True, "aire": False}


@pytest.mark.parametrize(("code", "outcome"), [(0, "done"), (7, "partial")])
def test_a_run_that_did_its_work_is_healthy(workspace: Path, capsys, code: int, outcome: str):
    record(workspace, ended=NOW.isoformat(), exit_code=code, steps=(Step("fetch", "done", 1.5),))
    run = status(capsys, workspace, "--max-age", "1h")["run"]
    assert (run["outcome"], run["steps"][0]["seconds"]) == (outcome, 1.5)


def test_a_run_that_was_put_off_is_healthy_and_hides_no_failure(workspace: Path, capsys):
    record(workspace, exit_code=75)
    assert status(capsys, workspace)["run"]["outcome"] == "postponed"
    record(workspace, exit_code=1, message="The disk is full.")
    for _ in range(2):
        record(workspace, exit_code=75)
        assert "exit code 1: The disk is full." in problem(capsys, workspace)
    record(workspace, exit_code=0)
    record(workspace, exit_code=75)
    status(capsys, workspace, "--max-age", "2d")


def test_a_run_after_the_clock_went_back_is_the_last_one(workspace: Path, capsys):
    record(workspace, exit_code=1, started=(NOW + timedelta(days=365)).isoformat())
    assert "in the future: check the clock" in str(status(capsys, workspace, code=1)["problems"])
    record(workspace, exit_code=0)
    assert status(capsys, workspace, "--max-age", "1h")["run"]["started"] == NOW.isoformat()
    records = Records(workspace / "models" / "air")
    assert records.prune(1) == 1
    assert records.last().started == NOW.isoformat()


def test_a_run_that_failed_was_killed_or_is_old_is_a_problem(workspace: Path, capsys):
    record(workspace, started=(NOW - timedelta(days=9)).isoformat(), exit_code=75)
    record(workspace, started=(NOW - timedelta(days=3)).isoformat(), exit_code=0)
    status(capsys, workspace)  # an earlier failure is over
    assert problem(capsys, workspace, "--max-age", "2d").startswith("The last run is 3.0 days old")
    steps = (Step("fetch", "done"), Step("train", "running"))
    record(workspace, steps=steps)
    with writing(workspace / "models" / "air"):
        assert status(capsys, workspace)["run"]["outcome"] == "running"
    assert "was killed in the step 'train'" in problem(
        capsys, workspace
    )  # though its pid is in use
    record(workspace, steps=steps, exit_code=1, message="The disk is full.")
    assert problem(capsys, workspace) == (
        "The last run ended with the exit code 1 in the step 'train': The disk is full."
    )
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    record(workspace, pid=int(process.stdout), steps=steps, started=datetime.now(UTC).isoformat())
    assert "was killed in the step 'train'" in problem(capsys, workspace)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "steps": []}', "\udcff"])
def test_a_damaged_run_record_is_a_problem(workspace: Path, capsys, content: str):
    record(workspace, exit_code=0)
    (path,) = (workspace / "models" / "air" / "runs").iterdir()
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert "The run record" in problem(capsys, workspace)


def test_metrics_are_written_over_nothing_that_is_read(workspace: Path, capsys):
    index = workspace / "data" / "index.json"
    before = index.read_bytes()
    words = ["status", "--workspace", str(workspace), "--prometheus", str(index)]
    assert app.run(words) == 5
    assert "where forecast keeps its own data" in capsys.readouterr().err
    assert index.read_bytes() == before


def test_prometheus_reads_what_is_written(workspace: Path, capsys):
    record(workspace, exit_code=5)
    path = workspace / "forecast.prom"
    status(capsys, workspace, "--prometheus", path, code=1)
    samples = dict(
        line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#")
    )
    assert samples['forecast_healthy{model="air"}'] == "0"
    assert samples['forecast_last_run_exit_code{model="air"}'] == "5"
    assert float(samples['forecast_timestamp_seconds{model="air",of="forecast"}']) == pytest.approx(
        NOW.timestamp(), abs=1
    )


def test_folders_that_are_no_models_are_passed_over(workspace: Path, capsys):
    models = workspace / "models"
    for copy in ("air (copy)", ".old"):
        shutil.copytree(models / "air", models / copy)
    half = models / "half" / "versions" / ".20240101T000000000000Z-c0ffee.1.tmp"
    half.mkdir(parents=True)
    (half / "manifest.json").write_text("{}")
    path = workspace / "forecast.prom"
    status(capsys, workspace, "--prometheus", path)
    assert path.read_text().count("forecast_healthy{") == 1
    for command in ("list", "verify"):
        assert app.run(["models", command, "--workspace", str(workspace), "--json"]) == 0
        assert "copy" not in capsys.readouterr().out


def test_a_model_that_cannot_be_looked_at_hides_no_other(workspace: Path, capsys, monkeypatch):
    shutil.copytree(workspace / "models" / "air", workspace / "models" / "water")
    published = Archive.published

    def unreadable(self: Archive, name: str | None = None) -> list[Published]:
        if name == "air":
            raise ForecasterError("It is unreadable.")
        return published(self, name)

    monkeypatch.setattr(Archive, "published", unreadable)
    path = workspace / "forecast.prom"
    assert problem(capsys, workspace, "--prometheus", path) == "It is unreadable."
    assert 'forecast_healthy{model="water"} 1' in path.read_text()


def test_the_probe_imports_nothing_heavy(workspace: Path):
    record(workspace, exit_code=0)
    code = (
        "import sys\nfrom forecaster.cli.app import run\n"
        "assert run(['status', '--max-age', '2d', '--workspace', sys.argv[1]]) == 0\n"
        "heavy = {'tensorflow', 'numpy', 'pandas', 'pydantic', 'pyarrow', 'filelock'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"
