"""The unattended cycle: what is better comes into service, whatever is wrong does not."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from retrain_made import MORE, ROWS, STEPS, feed, registry, run, table
from series_made import frame_of

from forecaster import api, challenging, cycle, jobs, preparing, rivals
from forecaster.archive import STORE, Archive
from forecaster.cli import app
from forecaster.config import Config
from forecaster.errors import ForecasterError, InvalidInputError, NotFoundError, TemporaryError
from forecaster.manifest import read_manifest
from forecaster.recipes import recipe
from forecaster.retrained import Retrained
from forecaster.retraining import retrain
from forecaster.rivals import Duel
from forecaster.runs import Records, Run
from forecaster.store import Store
from forecaster.workspace import Workspace

pytestmark = pytest.mark.xdist_group("retrain")


def outcomes(result: Retrained) -> dict[str, str]:
    return {step.name: step.outcome for step in result.run.steps}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        pytest.fail("It trained.")

    monkeypatch.setattr(api.Forecaster, "fit", fit)


def compared(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    monkeypatch.setattr(rivals, "compare", lambda *_: Duel(*scores, windows=4))


def test_the_first_challenger_comes_into_service(first):
    folder, result = first
    assert result.exit_code == 0
    assert [step.name for step in result.run.steps] == list(STEPS)
    assert set(outcomes(result).values()) == {"done"}
    (version,) = registry(folder).versions("air")
    assert result.run.champion == result.run.challenger == version
    verdict = read_manifest(registry(folder).version_folder("air", version))["judgement"]["verdict"]
    assert verdict in result.run.steps[3].message
    assert result.run.scores["reason"] == "there is no champion"
    assert result.run.output == "forecasts/air.csv"
    assert [promotion.why for promotion in registry(folder).history("air")] == ["retrain"]
    written = pd.read_csv(table(folder))
    assert len(written) == result.rows == 8
    assert set(written["model_version"]) == {version}
    assert Records(folder / "models" / "air").last() == result.run


def test_without_new_rows_nothing_is_trained_but_the_forecast_is_made(trained, no_training):
    table(trained).unlink()
    result = run(trained)
    assert result.exit_code == 0
    assert not result.run.promoted
    assert outcomes(result)["compare"] == "skipped"
    assert len(pd.read_csv(table(trained))) == 8


def test_other_settings_are_another_challenger(trained, monkeypatch):
    def fit(*_: Any, **__: Any) -> None:
        raise ForecasterError("It trained.")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    assert run(trained).exit_code == 0
    assert run(trained, margin=0.5, level="80").exit_code == 0  # says nothing of the training
    for flags in ({"epochs": 3}, {"start": "warm"}):
        assert run(trained, **flags).error.message == "It trained."


def test_rows_that_are_fetched_while_others_are_looked_at_are_trained_on_next(trained, monkeypatch):
    recipes = []

    def fetched(*_: Any) -> None:
        store = Store(trained / "data")
        rows = store.read()
        store.put(rows.assign(y=rows["y"] + len(recipes) + 1), {"kind": "test"})

    def train(self: Any, frame: pd.DataFrame, recipe: str, *_: Any) -> None:
        recipes.append((recipe, frame["y"].iloc[-1]))
        raise ForecasterError("It trained.")

    monkeypatch.setattr(cycle.gates, "require_data", fetched)
    monkeypatch.setattr(cycle.Cycle, "_train", train)
    for _ in range(2):
        assert run(trained, fetch=False, epochs=3).error.message == "It trained."
    (first, before), (second, after) = recipes
    assert before != after
    assert first != second


def test_what_was_trained_by_hand_is_not_trained_again(trained, monkeypatch):
    by_hand = jobs.train(Workspace(trained), [], "hand", {"horizon": 8}, lambda _: None)

    def fit(*_: Any, **__: Any) -> None:
        raise ForecasterError("It trained.")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    result = retrain(Workspace(trained), [], "hand", {})
    assert result.exit_code == 0
    (train,) = (step for step in result.run.steps if step.name == "train")
    assert train.message == f"Nothing new: version {by_hand.version} was trained on these rows."
    assert result.rows == 16
    assert retrain(Workspace(trained), [], "hand", {"epochs": 3}).error.message == "It trained."


def test_a_series_that_was_stored_after_the_entries_were_read_does_no_harm(trained):
    """Another command may fetch it between the two looks of `forecast train`."""
    entries, config = Store(trained / "data").entries(), Config()
    late = {uid: entry for uid, entry in entries.items() if uid != "b"}
    assert recipe(config, late, ("a", "b")) != recipe(config, entries, ("a", "b"))
    assert recipe(config, entries, ("b", "a")) == recipe(config, entries, ())


def test_a_challenger_that_is_waiting_is_compared_and_not_trained_again(waiting, no_training):
    old, new = registry(waiting).versions("air")
    result = run(waiting)
    assert result.run.challenger == new
    scores = result.run.scores
    assert scores["windows"] == 4
    assert scores["champion"] > 0 and scores["challenger"] > 0
    better = scores["challenger"] < scores["champion"]
    assert result.run.promoted == better
    assert registry(waiting).champion("air") == (new if better else old)


def test_comparing_does_not_start_keras(waiting):
    code = (
        "import sys\nfrom forecaster.cli.app import run\n"
        "run(['retrain', '--name', 'air', '--workspace', sys.argv[1]])\n"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, str(waiting)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    last = Records(waiting / "models" / "air").last()
    assert last is not None
    assert last.scores["windows"] == 4


def test_a_better_challenger_is_promoted(waiting, monkeypatch):
    compared(monkeypatch, 1.0, 0.9)
    result = run(waiting)
    assert result.exit_code == 0
    new = registry(waiting).versions("air")[1]
    assert registry(waiting).champion("air") == new == result.run.champion
    assert set(pd.read_csv(table(waiting))["model_version"]) == {new}


def test_when_the_challenger_loses_the_champion_forecasts(waiting, monkeypatch):
    compared(monkeypatch, 1.0, 0.9)
    result = run(waiting, margin=0.2)
    assert result.exit_code == 6
    assert "--margin 0.2 asks for 20% less" in result.error.message
    assert outcomes(result) | {"compare": "refused", "export": "done"} == outcomes(result)
    old, _ = registry(waiting).versions("air")
    assert registry(waiting).champion("air") == old
    written = pd.read_csv(table(waiting))
    assert set(written["model_version"]) == {old}
    assert written["cutoff"].max() == str(frame_of(rows=ROWS + MORE)["ds"].max().date())


def test_what_was_rolled_back_does_not_come_back_by_itself(waiting, monkeypatch, no_training):
    compared(monkeypatch, 1.0, 0.9)
    run(waiting)
    old, _ = registry(waiting).versions("air")
    registry(waiting).rollback("air")
    result = run(waiting)
    assert "taken out of service" in result.run.steps[3].message
    assert registry(waiting).champion("air") == old


def test_a_champion_that_cannot_be_compared_leaves_it_to_the_gates(waiting):
    old, new = registry(waiting).versions("air")
    (registry(waiting).version_folder("air", old) / "network.onnx").write_bytes(b"")
    result = run(waiting, min_skill="none")
    assert result.exit_code == 0
    assert any("gates alone decided" in line for line in result.notices)
    assert registry(waiting).champion("air") == new


def test_a_version_is_as_good_as_itself_on_windows_that_it_has_not_seen(first):
    folder, result = first
    version = registry(folder).version_folder("air", result.run.champion)
    frame = Store(folder / "data").read()
    found = rivals.compare(version, version, lambda config: preparing.panel_of(frame, config))
    judgement = read_manifest(version)["judgement"]
    assert found.champion == found.challenger == pytest.approx(judgement["scores"]["gru"]["mase"])
    assert found.windows == 4
    assert not found.is_better(0.0)


def test_windows_that_the_champion_knows_do_not_count(first):
    folder, result = first
    version = registry(folder).version_folder("air", result.run.champion)
    frame = Store(folder / "data").read()
    earlier = frame.groupby("unique_id").head(ROWS - 4)
    later = rivals.compare(version, version, lambda config: preparing.panel_of(earlier, config))
    assert later.windows == 2  # one fold of each series began before the end of validation
    earliest = frame.groupby("unique_id").head(ROWS - 8)
    assert (
        "learnt from every row"
        in rivals.compare(
            version, version, lambda config: preparing.panel_of(earliest, config)
        ).reason
    )


def test_less_recent_rows_replace_nothing(trained, monkeypatch):
    monkeypatch.setattr(challenging, "is_backfill", lambda *_: True)
    version = registry(trained).versions("air")[0]
    monkeypatch.setattr(challenging, "trained_already", lambda *_: (version, "found"))
    result = run(trained)
    assert result.exit_code == 6
    assert "knows later rows" in result.error.message


def test_an_error_of_training_lets_the_champion_forecast(trained, monkeypatch):
    def fit(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    feed(trained, ROWS + MORE)
    raised: Exception = ForecasterError("Training diverged.")
    result = run(trained)
    assert result.exit_code == 1
    assert outcomes(result)["train"] == "failed"
    cutoff = pd.read_csv(table(trained))["cutoff"].max()
    assert cutoff == str(frame_of(rows=ROWS + MORE)["ds"].max().date())
    feed(trained, ROWS + MORE + 1)
    raised = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        run(trained)
    assert pd.read_csv(table(trained))["cutoff"].max() > cutoff
    last = Records(trained / "models" / "air").last()
    assert last is not None
    assert (last.exit_code, last.message) == (1, "a defect")


def test_a_warm_start_continues_the_champion(trained, monkeypatch):
    asked: list[Any] = []

    def fit(*_: Any, warm_start: Any, **__: Any) -> None:
        asked.append(warm_start)
        raise ForecasterError("enough")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    run(trained, start="warm", epochs=3)
    run(trained, epochs=3)
    champion = registry(trained).champion("air")
    assert asked == [registry(trained).version_folder("air", champion), None]


def test_a_challenger_is_built_for_what_the_champion_forecasts(trained, monkeypatch):
    run(trained, horizon=8, season_length=6)
    assert len(pd.read_csv(table(trained))) == 16
    asked: list[tuple[Any, Any]] = []

    def fit(forecaster: api.Forecaster, *_: Any, **__: Any) -> None:
        asked.append((forecaster.config.network.horizon, forecaster.config.data.season_length))
        raise ForecasterError("enough")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    run(trained, epochs=3)  # forecast.toml says otherwise
    (trained / "forecast.toml").write_text("[training]\nepochs = 3\n")
    run(trained)
    run(trained, horizon=2)
    run(trained, frequency="D")  # another time axis: all of it is asked anew
    assert asked == [(4, 8), (8, 6), (2, 6), (8, None)]


@pytest.mark.slow  # trains several networks
def test_warm_starts_follow_one_another_night_after_night(trained):
    for more in (1, 2):
        champion = registry(trained).champion("air")
        feed(trained, ROWS + more)
        result = run(trained, start="warm")
        assert result.exit_code in {0, 6}
        assert result.run.scores["windows"] == 4  # though the champion has learnt from most rows
        challenger = registry(trained).version_folder("air", str(result.run.challenger))
        assert read_manifest(challenger)["warm_start"]["version"] == champion
        assert not [line for line in result.notices if "random weights" in line]


@pytest.mark.slow  # trains several networks
def test_what_cannot_be_continued_is_trained_afresh(trained):
    champion = registry(trained).champion("air")
    for number, reason in enumerate(("horizon 8 was asked for", "network.onnx"), 1):
        feed(trained, ROWS + number)
        result = run(trained, start="warm", horizon=8)
        (said,) = [line for line in result.notices if "random weights" in line]
        assert f"not from version {champion}" in said
        assert reason in said
        assert result.exit_code == 0
        champion = registry(trained).champion("air")
        assert champion == result.run.challenger
        (registry(trained).version_folder("air", champion) / "network.onnx").write_bytes(b"")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"max_data_age": 5}, "--max-data-age allows 5 (2 of 2 series"),
        ({"max_jump": 50.0}, "--max-jump allows 50 (1 of 2 series"),
    ],
)
def test_bad_data_changes_nothing(trained, no_training, flags, says):
    before = table(trained).read_bytes()
    champion = registry(trained).champion("air")
    feed(trained, ROWS + 1, a=1e6)
    result = run(trained, **flags)
    assert result.exit_code == 6
    assert says in result.error.message
    assert [step.name for step in result.run.steps] == list(STEPS[:3])
    assert table(trained).read_bytes() == before
    assert registry(trained).champion("air") == champion


def test_revised_history_is_refused_until_it_is_accepted(trained, monkeypatch):
    compared(monkeypatch, 1.0, 2.0)
    assert run(trained, max_revised=0.1).exit_code == 0
    frame = pd.read_csv(trained / "feed.csv")
    frame.loc[frame["unique_id"] == "b", "units"] *= 2
    frame.to_csv(trained / "feed.csv", index=False)
    for _ in range(2):  # not only on the day that it comes
        result = run(trained, max_revised=0.1)
        assert result.exit_code == 6
        assert "Series 'b' was revised in 1 of its rows" in result.error.message

    def fit(*_: Any, **__: Any) -> None:
        raise ForecasterError("It trained.")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    for allowed in (1, 0.1):  # accepted once, it is past the gate
        assert run(trained, max_revised=allowed).error.message == "It trained."


def test_when_nothing_can_be_fetched_all_stays(trained):
    before = table(trained).read_bytes()
    entries = (trained / "data" / "index.json").read_text()
    file = json.dumps({"kind": "file", "path": str(trained / "feed.csv")})[1:-1]
    assert file.replace(" ", "") in entries
    url = '"kind":"url","url":"http://127.0.0.1:9/feed.csv"'
    (trained / "data" / "index.json").write_text(entries.replace(file.replace(" ", ""), url))
    result = run(trained)
    assert result.exit_code == TemporaryError.exit_code
    assert outcomes(result) == {"lock": "done", "fetch": "failed"}
    assert table(trained).read_bytes() == before
    assert run(trained, fetch=False).exit_code == 0


def test_why_a_run_failed_is_said_once_and_in_the_log(trained, no_training, capsys):
    (trained / "feed.csv").unlink()
    capsys.readouterr()
    words = ["retrain", "--name", "air", "--workspace", str(trained)]
    for more in ([], ["--quiet"]):
        assert app.run([*words, *more]) == 4
        told = capsys.readouterr()
        assert told.err.count("There is no file") == told.err.count("Error: ") == 1
        assert told.out.endswith("\nFailed: 'a', 'b'.\n")
        assert ("fetch: failed (" in told.err) != bool(more)
    assert all("There is no file" in line["message"] for line in logged(trained)[-2:])
    feed(trained, ROWS + 1, a=1e6)
    assert app.run([*words, "--max-jump", "50"]) == 6
    assert capsys.readouterr().err.count("--max-jump allows 50") == 1


def test_an_output_that_cannot_be_written_takes_nothing_out_of_service(trained, no_training):
    result = run(trained, train=False, output=str(trained / "nodir" / "x.csv"))
    assert "does not exist" in str(result.error)
    assert result.run.champion == registry(trained).champion("air")
    assert "--output needs a file here" in str(run(trained, train=False, output="-").error)


def test_what_can_be_fetched_is_enough_for_a_forecast(trained, no_training):
    frame = pd.read_csv(trained / "feed.csv")
    frame[frame["unique_id"] == "a"].to_csv(trained / "feed.csv", index=False)
    result = run(trained)
    assert result.exit_code == 7
    assert "does not have it any more" in result.failed["b"]
    assert len(pd.read_csv(table(trained))) == 8
    refused = run(trained, min_fetched=0.6)
    assert refused.exit_code == 6
    assert "50% of 2 series could be fetched; --min-fetched needs 60%" in refused.error.message


def test_a_source_that_lost_its_latest_rows_takes_no_forecast_back(trained, no_training):
    before = table(trained).read_bytes()
    feed(trained, ROWS - 3)
    result = run(trained)
    assert result.exit_code == 5
    assert "but rows up to 2024-04-29 are stored" in result.error.message
    assert table(trained).read_bytes() == before
    whole = frame_of("a", "b", rows=ROWS).rename(columns={"y": "units"})
    whole[:-3].to_csv(trained / "feed.csv", index=False)
    result = run(trained)
    assert (result.exit_code, list(result.failed)) == (7, ["b"])
    assert table(trained).read_bytes() == before  # of the same rows, by the same version


def test_series_of_standard_input_are_kept(trained, no_training):
    entries = trained / "data" / "index.json"
    entries.write_text(entries.read_text().replace('"kind":"file"', '"kind":"stdin"'))
    result = run(trained)
    assert result.exit_code == 0
    assert any("standard input" in line for line in result.notices)


def test_without_training_the_champion_forecasts_new_rows(trained, no_training):
    feed(trained, ROWS + MORE)
    result = run(trained, train=False)
    assert result.exit_code == 0
    skipped = {name for name, outcome in outcomes(result).items() if outcome == "skipped"}
    assert skipped == {"train", "compare", "promote"}
    cutoff = pd.read_csv(table(trained))["cutoff"].max()
    assert cutoff == str(frame_of(rows=ROWS + MORE)["ds"].max().date())


def test_without_training_there_has_to_be_a_champion(trained):
    shutil.rmtree(trained / "models")
    result = run(trained, train=False)
    assert result.exit_code == 4
    assert "--no-train needs a version in service" in result.error.message


def test_settings_of_a_damaged_champion_still_count(trained, monkeypatch):
    (
        registry(trained).version_folder("air", str(registry(trained).champion("air")))
        / "network.onnx"
    ).write_bytes(b"")
    (trained / "forecast.toml").write_text("[training]\nepochs = 3\n")
    asked: list[Any] = []

    def fit(forecaster: api.Forecaster, *_: Any, **__: Any) -> None:
        asked.append(forecaster.config.network.horizon)
        raise ForecasterError("enough")

    monkeypatch.setattr(api.Forecaster, "fit", fit)
    run(trained)
    assert asked == [4]


def test_a_table_never_replaces_what_is_fetched(trained, no_training):
    before = (trained / "feed.csv").read_bytes()
    result = run(trained, output=str(trained / "models" / ".." / "feed.csv"))
    assert result.exit_code == 5
    assert "is the file that the series 'a' is fetched from" in result.error.message
    assert (trained / "feed.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("models/air/accepted.parquet", "where forecast keeps its own data"),
        ("data/parts/x.csv", "where forecast keeps its own data"),
        ("~nosuchuser/x.csv", "names no folder"),
        ("pipe.csv", "A file is needed to replace"),
    ],
)
def test_an_output_that_cannot_be_replaced(trained, no_training, output, says):
    os.mkfifo(trained / "pipe.csv")
    with (trained / "forecast.toml").open("a") as file:
        file.write(f'[retrain]\noutput = "{output}"\n')
    try:
        error: Exception | None = run(trained).error
    except InvalidInputError as raised:
        error = raised
    assert says in str(error)


def test_a_series_that_was_dropped_stays_away(trained):
    Store(trained / "data").drop(["b"])
    result = run(trained, train=False)
    assert any("also has 'b'" in line for line in result.notices)
    assert list(Store(trained / "data").entries()) == ["a"]
    assert result.failed == {"b": "it is not stored any more"}
    assert result.message == "Failed: 'b': it is not stored any more"


def told_of_another(folder: Path, *ids: str) -> bool:
    return any("trained without them: 'c'" in line for line in run(folder, *ids).notices)


def test_series_beside_those_that_were_named_are_not_told(trained, no_training):
    Store(trained / "data").put(frame_of("c", rows=ROWS), {"kind": "stdin"})
    assert told_of_another(trained)
    folder = registry(trained).version_folder("air", registry(trained).champion("air"))
    about = read_manifest(folder)
    assert about["series_named"] is False
    (folder / "manifest.json").write_text(json.dumps(about | {"series_named": True}))
    assert not told_of_another(trained)


@pytest.mark.slow  # trains several networks
def test_what_was_named_stays_named_in_the_versions_that_follow(trained, monkeypatch, capsys):
    Store(trained / "data").put(frame_of("c", rows=ROWS), {"kind": "stdin"})
    compared(monkeypatch, 1.0, 0.9)
    for more, ids in ((1, ["a", "b"]), (2, [])):
        feed(trained, ROWS + more)
        assert not told_of_another(trained, *ids)
    assert len(registry(trained).versions("air")) == 3
    capsys.readouterr()
    common = ["--name", "air", "--workspace", str(trained)]
    assert app.run(["compress", "--prune", "0.5", "--promote", "--max-rise", "9", *common]) == 0
    assert app.run(["predict", *common]) == 0
    assert "trained without" not in capsys.readouterr().err


def test_settings_that_cannot_be_used_are_in_the_log(trained):
    (trained / "forecast.toml").write_text("[training]\nepoch = 3\n")
    with pytest.raises(InvalidInputError, match="epoch"):
        run(trained)
    last = logged(trained)[-1]
    assert (last["level"], last["exit_code"]) == ("error", 5)
    assert "unknown key" in last["message"]


def test_where_nothing_is_stored_nothing_is_made(tmp_path):
    with pytest.raises(NotFoundError, match="holds no series"):
        run(tmp_path)
    with pytest.raises(InvalidInputError):
        retrain(Workspace(tmp_path), [], "../air", {})
    assert not list(tmp_path.iterdir())


def test_what_is_old_goes(waiting, monkeypatch):
    compared(monkeypatch, 1.0, 2.0)
    run(waiting, keep_forecasts="1w", keep=1)
    assert len(registry(waiting).versions("air")) == 2
    forecasts = list((waiting / "data" / "forecasts" / "air").glob("*.parquet"))
    assert len(forecasts) == 2
    run(waiting, keep=0, keep_runs=1, keep_forecasts=0.001)
    assert len(registry(waiting).versions("air")) == 1
    assert len(list((waiting / "models" / "air" / "runs").iterdir())) == 1
    assert not list((waiting / "data" / "forecasts" / "air").glob("*.parquet"))


def test_only_so_many_records_are_kept(trained):
    records = Records(trained / "models" / "air")
    for day in (1, 2, 3):
        earlier = Run("retrain", f"2020-01-0{day}T00:00:00+00:00", 1, exit_code=0)
        records.write(earlier, records.folder / f"2020010{day}T000000Z-1.json")
    run(trained, fetch=False, keep_runs=3)
    names = sorted(path.name for path in records.folder.iterdir())
    assert [name[:8] == "20200103" for name in names] == [True, False, False]
    assert len(Archive(trained / "data" / "forecasts").published("air")) == 2


def test_forecasts_are_kept_for_so_long(trained):
    archived = Archive(trained / "data" / "forecasts")
    for days in (20, 40):
        archived.publish(
            pd.read_csv(table(trained)), name="air", version="v", data_hash="", source=STORE,
            now=datetime.now(UTC) - timedelta(days=days),
        )  # fmt: skip
    run(trained, fetch=False, keep_forecasts="30d")
    ages = [(datetime.now(UTC) - each.created).days for each in archived.published("air")]
    assert ages == [20, 0, 0]
    assert len(list((trained / "models" / "air" / "runs").iterdir())) == 2


def test_where_the_table_goes(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["retrain", "--workspace", str(trained), "--name", "air"]
    assert app.run([*words, "--output", "here.csv"]) == 0
    assert (tmp_path / "here.csv").exists()
    assert "Wrote 8 rows to here.csv" in capsys.readouterr().out
    with (trained / "forecast.toml").open("a") as file:
        file.write('[retrain]\noutput = "there.csv"\n')
    assert app.run([*words, "--json"]) == 0
    assert (trained / "there.csv").exists()
    document = json.loads(capsys.readouterr().out)
    assert document["run"]["outcome"] == "done"
    assert app.run([*words, "--json", "--max-data-age", "1"]) == 6
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 6
    assert app.run([*words, "--output", "no/folder.csv"]) == 5


# --- what it tells


def logged(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "logs" / "air.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def hook(folder: Path) -> str:
    """A command that keeps what it is told."""
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    return shlex.join([sys.executable, "-c", code, str(folder / "told.json")])


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "told.json").read_text())


def test_every_step_is_in_the_log(trained):
    run(trained, fetch=False)
    lines = logged(trained)
    begins = [number for number, line in enumerate(lines) if line["step"] == "lock"]
    lines = lines[begins[-2] :]
    ended = [line["step"] for line in lines if line.get("outcome") in {"done", "skipped"}]
    assert ended == list(STEPS)
    assert (lines[-1]["step"], lines[-1]["exit_code"], lines[-1]["level"]) == ("end", 0, "info")
    assert {line["model"] for line in lines} == {"air"}


def test_a_promotion_is_told(waiting, monkeypatch):
    compared(monkeypatch, 1.0, 0.5)
    result = run(waiting, on_promote=hook(waiting), on_failure="no-such-program")
    assert (told(waiting)["event"], told(waiting)["champion"]) == ("promotion", result.run.champion)
    assert told(waiting)["message"].startswith("Better: MASE 0.5 of the challenger against 1")
    assert not [line for line in result.notices if "hook" in line]


def test_a_refusal_is_told(waiting, monkeypatch):
    compared(monkeypatch, 0.5, 1.0)
    run(waiting, on_failure=hook(waiting))
    assert (told(waiting)["event"], told(waiting)["exit_code"]) == ("refusal", 6)
    assert logged(waiting)[-1]["level"] == "warning"


def test_a_failure_is_told_and_a_failing_hook_is_only_said(trained):
    (trained / "feed.csv").unlink()
    run(trained, on_failure=hook(trained))
    assert told(trained)["event"] == "failure"
    assert told(trained)["exit_code"] == 4
    result = run(trained, on_failure="no-such-program --token secret")
    (notice,) = [line for line in result.notices if "hook" in line]
    assert "no-such-program ..." in notice
    assert "secret" not in notice
    ended, failed_hook = logged(trained)[-2:]
    assert (result.exit_code, ended["level"]) == (4, "error")
    assert failed_hook["message"] == notice


def test_a_taken_lock_is_told(trained):
    with registry(trained).writing("air"):
        others: list[BaseException] = []

        def other() -> None:
            try:
                run(trained, on_failure=hook(trained))
            except TemporaryError as error:
                others.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(others) == 1
    assert (told(trained)["exit_code"], logged(trained)[-1]["exit_code"]) == (75, 75)


def test_a_log_that_cannot_be_written_stops_nothing(trained):
    result = run(trained, fetch=False, log_file="feed.csv/log.jsonl")
    assert result.exit_code == 0
    assert [line for line in result.notices if "cannot be written" in line]
