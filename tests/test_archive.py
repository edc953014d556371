"""Published forecasts: all are kept, each counts once, and the values that arrive judge them."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from series_made import frame_of

from forecaster import archive, artifacts
from forecaster.archive import Archive
from forecaster.cli import app
from forecaster.errors import DamagedError, NotFoundError
from forecaster.registry import Registry
from forecaster.scoring import score
from forecaster.store import Store

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeded")
    Registry(folder / "models").save("air", artifacts.load(GOLDEN / "gru"), {})
    Store(folder / "data").put(frame_of("a", "b", rows=160), {"kind": "test"})
    return folder


@pytest.fixture
def workspace(seeded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seeded, tmp_path / "workspace"))


def told(capsys: pytest.CaptureFixture[str], folder: Path, *args: object, code: int = 0) -> Any:
    assert app.run([*map(str, args), "--workspace", str(folder), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def predicted(capsys: pytest.CaptureFixture[str], folder: Path, *args: object) -> pd.DataFrame:
    document = told(capsys, folder, "predict", "--name", "air", *args)
    return pd.DataFrame(document["forecasts"])


def arrive(folder: Path, rows: int) -> pd.DataFrame:
    frame = frame_of("a", "b", rows=rows)
    Store(folder / "data").put(frame, {"kind": "test"})
    return frame


def test_every_prediction_is_kept_with_its_origin(workspace: Path, capsys):
    table = predicted(capsys, workspace)
    assert app.run(
        ["predict", "--name", "air", "--output", str(workspace / "o.csv"), "--level", "50",
         "--workspace", str(workspace)]
    ) == 0  # fmt: skip
    first, second = Archive(workspace / "data" / "forecasts").published("air")
    kept = archive.read(first)
    assert kept["point"].tolist() == table["gru"].tolist()
    assert kept["lo-80"].tolist() == table["gru-lo-80"].tolist()
    assert kept["step"].tolist() == [1, 2, 3, 4] * 2
    assert set(kept["version"]) == set(table["model_version"])
    assert set(kept["model"]) == {"gru"}
    assert set(kept["source"]) == {"store"}
    assert kept["data_hash"].str.len().eq(64).all()
    assert (kept["cutoff"] == pd.Timestamp("2024-06-08")).all()
    assert kept["created"].iloc[0] == first.created
    assert {"lo-50", "hi-50"} <= set(archive.read(second).columns)


def test_what_has_arrived_judges_what_was_forecast(workspace: Path, capsys):
    table = predicted(capsys, workspace)
    document = told(capsys, workspace, "score")
    assert (document["models"], document["pending"]) == ([], 8)
    arrived = arrive(workspace, 163)
    document = told(capsys, workspace, "score", "--name", "air")
    (live,) = document["models"]
    assert (live["score"]["points"], document["pending"]) == (6, 2)
    table["ds"] = pd.to_datetime(table["ds"])
    joined = table.merge(arrived, on=["unique_id", "ds"])
    assert live["score"]["mae"] == pytest.approx((joined["gru"] - joined["y"]).abs().mean())
    assert live["score"]["bias"] == pytest.approx((joined["gru"] - joined["y"]).mean())
    inside = joined["y"].between(joined["gru-lo-80"], joined["gru-hi-80"])
    assert live["score"]["coverage"]["80"] == pytest.approx(inside.mean())
    assert list(live["score"]["coverage"]) == ["80", "95"]
    assert [(part["label"], part["score"]["points"]) for part in live["steps"]] == [
        ("1", 2), ("2", 2), ("3", 2),
    ]  # fmt: skip
    scaled = naive = seasonal = 0.0
    for uid, rows in joined.groupby("unique_id"):
        y = arrived.loc[arrived["unique_id"] == uid, "y"].to_numpy()
        unit = np.abs(y[8:160] - y[:152]).mean()  # a season of 8, the rows forecast from
        scaled += float((rows["gru"] - rows["y"]).abs().sum() / unit / 6)
        naive += float(np.abs(rows["y"] - y[159]).sum() / unit / 6)
        seasonal += float(np.abs(rows["y"] - y[152:155]).sum() / unit / 6)
    assert live["score"]["mase"] == pytest.approx(scaled)
    baselines = live["score"]["baselines"]
    assert list(baselines) == ["naive", "seasonal_naive", "drift"]
    assert baselines["naive"] == pytest.approx(naive)
    assert baselines["seasonal_naive"] == pytest.approx(seasonal)
    best = min(baselines, key=baselines.get)
    assert live["score"]["best_baseline"] == best
    assert live["score"]["skill"] == pytest.approx(1 - scaled / baselines[best])
    assert app.run(["score", "--workspace", str(workspace)]) == 0
    text = capsys.readouterr().out
    assert "air: 6 values of 2 series have arrived, forecast from 1 cutoff.\n" in text
    assert "  MASE    naive MASE  seasonal_naive MASE  inside 80%  inside 95%\n" in text
    assert "drift" not in text
    assert re.search(r"\nstep +values .*\n1-2 +4 .*\n3 +2 .*\n\n", text)
    assert re.search(r"\nseries +values .*\n[ab]  ", text)
    assert "2 values forecast have not arrived yet." in text
    more = f"{abs(live['score']['skill']):.1%} more error than {best}"
    assert f"\nThe verdict is open: air has {more} (MASE " in text
    assert "), but 3 points in time are too few to tell (8 are needed).\n" in text
    assert "retrain" not in text
    assert (live["times"], live["p_value"]) == (3, None)


def test_many_steps_are_told_as_early_middle_and_late(workspace: Path, capsys):
    table = predicted(capsys, workspace, "--horizon", 24)
    arrived = arrive(workspace, 178)
    (live,) = told(capsys, workspace, "score")["models"]
    assert len(live["steps"]) == 18
    said = [(part["label"], part["score"]["points"]) for part in live["thirds"]]
    assert said == [("1-8", 16), ("9-16", 16), ("17-24", 4)]
    table["ds"] = pd.to_datetime(table["ds"])
    late = table[table.groupby("unique_id").cumcount() >= 16].merge(arrived, on=["unique_id", "ds"])
    error = (late["gru"] - late["y"]).abs().mean()
    assert live["thirds"][2]["score"]["mae"] == pytest.approx(error)
    assert app.run(["score", "--workspace", str(workspace)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"\nstep +values .*\n1-8 .*\n9-16 .*\n17-24 .*\n\n", text)


def publish_days(archived: Archive, rows: pd.DataFrame, **columns: Any) -> None:
    """Keep a forecast of one step for each row."""
    for _, row in rows.iterrows():
        table = pd.DataFrame(
            {"unique_id": ["a"], "ds": row["ds"], "cutoff": row["ds"] - pd.Timedelta("1D")}
        ).assign(**{name: row["y"] + error() for name, error in columns.items()})
        table = table.assign(model_version="v", scale=2.0)
        archived.publish(table, name="air", version="v", data_hash="", source=archive.STORE)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0.2, r"Skill: air has .*% less error than naive \(.* p < 0.001\)\. Theta and ETS, .*"),
        (1.0, r"Skill is not proven: .* may be chance .*|No skill: .*, the best baseline .*"),
        (5.0, r"No skill: air has .*% more error than naive \(.* p < 0.001\)\."),
    ],
)
def test_enough_points_in_time_give_a_verdict(tmp_path: Path, capsys, size: float, said: str):
    rows, noise = frame_of("a", rows=60).tail(40), np.random.default_rng(1)
    archived, store = Archive(tmp_path / "data" / "forecasts"), Store(tmp_path / "data")
    store.put(frame_of("a", rows=60), {"kind": "test"})
    errors = {"gru": lambda: size * noise.normal(), "naive": noise.normal}
    publish_days(archived, rows, **errors)
    (live,) = score(archived, store).models
    assert re.fullmatch(said, live.verdict), live.verdict
    assert live.times == 40
    assert live.score.baselines.keys() == {"naive"}
    assert app.run(["score", "--workspace", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"\n{live.verdict}\n" in text
    worse = "\nA new training may help: forecast retrain --name air\n" in text
    assert worse == (live.score.skill < 0)


@pytest.mark.parametrize(
    ("days", "width", "said"),
    [
        (7, 0.1, ""),
        (8, 0.1, "The intervals were too narrow on these forecasts: expect more surprises."),
        (24, 9, ""),
        (26, 9, "The intervals were wider than needed on these forecasts."),
    ],
)
def test_intervals_that_are_far_off_are_told_after_enough_cutoffs(
    tmp_path: Path, capsys, days: int, width: float, said: str
):
    frame, noise = frame_of("a", rows=60), np.random.default_rng(1)
    archived, _ = stored(tmp_path, frame)
    for day in range(days):
        rows = frame.iloc[[30 + day]]
        point = rows["y"] + noise.normal(size=1)
        bounds = {"gru-lo-80": point - width, "gru-hi-80": point + width}
        publish(archived, rows, gru=point, **bounds, naive=rows["y"] + 1)
    assert app.run(["score", "--workspace", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"\n\n{said}\n\n" in text if said else "The intervals were" not in text


def publish(archived: Archive, rows: pd.DataFrame, step: str = "1D", **columns: Any) -> None:
    """Keep one forecast of each series from the time before its first row."""
    rows = rows.reset_index(drop=True)
    first = rows.groupby("unique_id")["ds"].transform("min")
    table = pd.DataFrame({"unique_id": rows["unique_id"], "ds": rows["ds"]})
    table = table.assign(cutoff=first - pd.Timedelta(step).as_unit("s"))
    plain = {
        name: getattr(values, "to_numpy", lambda v=values: v)() for name, values in columns.items()
    }
    table = table.assign(**plain | {"scale": plain.get("scale", 1.0)})
    version = str(columns.get("model_version", "v"))
    table = table.assign(model_version=version)
    archived.publish(table, name="air", version=version, data_hash="", source=archive.STORE)


def stored(tmp_path: Path, frame: pd.DataFrame) -> tuple[Archive, Store]:
    archived, store = Archive(tmp_path / "data" / "forecasts"), Store(tmp_path / "data")
    store.put(frame, {"kind": "test"})
    return archived, store


def test_the_chances_of_a_step_up_are_judged_by_the_value_before_it(tmp_path: Path, capsys):
    """Two steps a day of two series; the second step's value of before was forecast too."""
    frame, noise = frame_of("a", "b", rows=80), np.random.default_rng(1)
    frame["y"] = noise.normal(size=len(frame)).round(1)
    frame = frame.drop(index=[45, 50])  # one before the forecasts of "a" counts in their place
    archived, store = stored(tmp_path, frame)
    frame["up"] = frame["y"] > frame.groupby("unique_id")["y"].shift()
    frame["chance"] = np.where(frame["up"], 0.8, 0.3)
    published = []
    for first, second in itertools.pairwise(np.sort(frame["ds"].unique())[40:]):
        rows = frame[frame["ds"].isin([first, second])]
        publish(
            archived, rows, gru=rows["y"], naive=0.0, base_rate=0.4, **{"gru-up": rows["chance"]}
        )
        published.append(rows.assign(first=rows.groupby("unique_id")["ds"].transform("min")))
    rows = pd.concat(published).drop_duplicates(["unique_id", "first", "ds"])
    (live,) = score(archived, store).models
    found = live.chances
    assert (found.steps, found.base_rate) == (len(rows), pytest.approx(0.4))
    assert found.came == pytest.approx(rows["up"].mean())
    likely = np.where(rows["up"], rows["chance"], 1 - rows["chance"])
    assert found.model.log_loss == pytest.approx(-np.log(likely).mean())
    assert found.model.accuracy == 1
    assert [(each.said, each.came) for each in found.bins] == [
        (pytest.approx(0.3), 0), (pytest.approx(0.8), 1),
    ]  # fmt: skip
    assert found.verdict.startswith("The chances of a step up are better than the base rate (")
    assert "p < 0.001" in found.verdict
    assert app.run(["score", "--workspace", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"is above the one before, on {len(rows)} published steps:" in text
    assert f"of the published steps {found.came:.0%} are." in text
    assert "\n\n\n" not in text
    assert told(capsys, tmp_path, "score")["models"][0]["chances"]["steps"] == len(rows)


def test_chances_without_a_base_rate_are_told_and_those_of_few_times_open(tmp_path: Path, capsys):
    frame = frame_of("a", rows=60)
    archived, store = stored(tmp_path, frame)
    rows = frame.iloc[30:34]
    publish(archived, rows, gru=rows["y"], naive=0.0, **{"gru-up": 0.7})
    scored = score(archived, store)
    assert scored.models[0].chances is None
    (notice,) = scored.notices
    assert notice == (
        "4 chances of a step up by air are not judged: an older version kept them without the base "
        "rate."
    )
    rows = frame.iloc[34:38]
    publish(archived, rows, gru=rows["y"], naive=0.0, base_rate=0.5, **{"gru-up": 0.7})
    scored = score(archived, store)
    assert scored.models[0].chances.steps == 4
    assert "is open" in scored.models[0].chances.verdict
    assert scored.notices == (notice,)


def test_a_base_rate_that_was_kept_later_counts(tmp_path: Path):
    frame = frame_of("a", rows=60)
    archived, store = stored(tmp_path, frame)
    rows = frame.iloc[30:34]
    for more in ({}, {"base_rate": 0.5}):
        publish(archived, rows, gru=rows["y"], naive=0.0, **{"gru-up": 0.7}, **more)
    scored = score(archived, store)
    assert (scored.repeated, scored.notices) == (4, ())
    assert scored.models[0].chances.steps == 4
    assert scored.models[0].score.baselines.keys() == {"naive"}


def test_the_verdict_is_on_the_error_that_it_tells_also_when_the_panel_grew(tmp_path: Path):
    """Twelve days of one series that is forecast badly, then twelve of nine that are forecast well."""
    frame = frame_of(*"abcdefghi", rows=60)
    archived, store = stored(tmp_path, frame)
    noise = np.random.default_rng(1)
    for day in range(24):
        rows = frame[frame["ds"] == frame["ds"].iloc[30 + day]]
        rows = rows if day >= 12 else rows[rows["unique_id"] == "a"]
        error = (0.5 if day >= 12 else 2.0) + 0.1 * noise.normal(size=len(rows))
        publish(archived, rows, gru=rows["y"] + error, naive=rows["y"] + 1)
    live = score(archived, store).models[0]
    assert live.score.skill > 0.3
    assert live.p_value > 0.05 or live.verdict.startswith("Skill")
    assert [part.label for part in live.series] == list("abcdefghi")
    assert live.series[0].score.mase > live.score.mase


def test_a_version_without_a_season_has_the_naive_forecast_as_its_seasonal_one(
    tmp_path: Path, capsys
):
    frame = frame_of("a", rows=60)
    archived, store = stored(tmp_path, frame)
    for day in range(20):
        rows = frame.iloc[[30 + day]]
        more = {} if day < 3 else {"seasonal_naive": rows["y"] + 0.1, "model_version": "w"}
        publish(archived, rows, gru=rows["y"] + 0.1, naive=rows["y"] + 3, **more)
    live = score(archived, store).models[0]
    assert live.score.best_baseline == "seasonal_naive"
    assert live.score.baselines["seasonal_naive"] == pytest.approx((3 * 3 + 17 * 0.1) / 20)
    assert live.versions[0].score.baselines["seasonal_naive"] == pytest.approx(3)
    assert live.latest.startswith(
        "Version w alone: No skill: air has as much error as seasonal_naive"
    )
    assert app.run(["score", "--workspace", str(tmp_path)]) == 0
    assert f"\n{live.verdict}\n{live.latest}\n" in capsys.readouterr().out


def test_series_whose_clocks_differ_share_their_times(tmp_path: Path):
    """Four series of one forecast each; the same days begin at other hours."""
    frame = frame_of(*"abcd", rows=60)
    frame["ds"] += pd.to_timedelta(
        frame["unique_id"].map(dict(zip("abcd", (0, 3, 6, 9), strict=True))), "h"
    )
    archived, store = stored(tmp_path, frame)
    rows = frame.groupby("unique_id").tail(20)
    publish(archived, rows, gru=rows["y"] + 1, naive=rows["y"] + 2)
    live = score(archived, store).models[0]
    assert live.times == 20
    assert live.score.cutoffs == 4
    assert live.verdict.endswith("20 points in time are too few to tell (40 are needed).")


@pytest.mark.parametrize(
    "times",
    [
        pd.bdate_range("2024-01-01", periods=40),
        pd.DatetimeIndex(
            [
                day + pd.Timedelta(hour, "h")
                for day in pd.date_range("2024-01-01", periods=6)
                for hour in range(9, 16)
            ]
        ),
        pd.date_range("2020-01-01", periods=40, freq="MS"),
    ],
    ids=["weekdays", "sessions", "months"],
)
def test_no_two_times_are_taken_for_one(tmp_path: Path, times: pd.DatetimeIndex):
    frame = frame_of("a", rows=len(times))
    frame["ds"] = times.as_unit("s")
    archived, store = stored(tmp_path, frame)
    for begin in range(20, 36):
        ahead = frame[begin : begin + 5]
        step = ahead["ds"].iloc[0] - frame["ds"].iloc[begin - 1]
        publish(archived, ahead, step, gru=ahead["y"] + 1, naive=ahead["y"] + 2)
    assert score(archived, store).models[0].times == 20


def test_errors_of_few_cutoffs_tell_nothing_however_many_times_they_are_of(tmp_path: Path):
    frame, noise = frame_of("a", rows=90), np.random.default_rng(1)
    archived, store = stored(tmp_path, frame)
    for begin in (30, 42, 54, 66, 78):
        before = score(archived, store).models[0].verdict if begin > 42 else ""
        assert not before or before.endswith("cutoffs are too few to tell (5 are needed).")
        ahead = frame[begin : begin + 12]
        error = 0.1 * noise.normal(size=12)
        publish(archived, ahead, gru=ahead["y"] + error, naive=ahead["y"] + 1 + error)
    assert score(archived, store).models[0].p_value is not None


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_cutoffs_are_told_in_utc_where_there_are_zones(tmp_path: Path, zone: str | None):
    frame = frame_of("a", rows=60)
    frame["ds"] = frame["ds"].dt.tz_localize(zone)
    archived, store = stored(tmp_path, frame)
    publish(archived, frame.iloc[[10]], gru=1.0, naive=0.0)
    (part,) = score(archived, store).models[0].trend
    assert part.label == ("2024-01-09 23:00 UTC" if zone else "2024-01-10")


def test_what_is_needed_to_tell_does_not_move_as_values_arrive(tmp_path: Path):
    frame = frame_of("a", rows=60)
    for rows in (54, 56, 58):
        archived, store = stored(tmp_path / str(rows), frame.head(rows))
        for begin in (46, 47, 48):
            ahead = frame[begin : begin + 12]
            publish(archived, ahead, gru=ahead["y"] + 1, naive=ahead["y"] + 2)
        verdict = score(archived, store).models[0].verdict
        assert verdict.endswith("are too few to tell (24 are needed)."), verdict


def test_one_long_forecast_leaves_the_others_to_be_judged(tmp_path: Path):
    frame, noise = frame_of("a", rows=80), np.random.default_rng(1)
    archived, store = stored(tmp_path, frame.head(75))
    for day in range(30, 70):
        rows = frame.iloc[day : day + (2 if day != 50 else 30)]
        error = noise.normal(size=len(rows))
        publish(archived, rows, gru=rows["y"] + 0.1 * error, naive=rows["y"] + error)
    assert score(archived, store).models[0].p_value < 0.01


def test_values_too_large_to_compare_and_times_beyond_2262_are_no_crash(tmp_path: Path, capsys):
    frame = frame_of("a", rows=60)
    frame["ds"] = pd.DatetimeIndex(
        np.datetime64("2300-01-01", "s") + np.arange(60) * np.timedelta64(1, "D")
    )
    frame.loc[59, "y"] = 1.5e308
    archived, store = stored(tmp_path, frame)
    rows = frame.tail(20)
    publish(archived, rows, gru=1.0, naive=-1e308)
    publish(archived, rows.iloc[[3]], gru=1.0, naive=0.0, scale=0.0, model_version="w")
    found = score(archived, store)
    assert (found.unscaled, found.pending) == (20, 1)
    assert found.models[0].trend[0].label == "2300-02-09"
    assert app.run(["score", "--workspace", str(tmp_path)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_steps_that_overlap_need_more_points_in_time(workspace: Path, capsys):
    for rows in (158, 159, 160):
        arrive(workspace, rows)
        predicted(capsys, workspace, "--horizon", 10)
    arrive(workspace, 168)
    (live,) = told(capsys, workspace, "score")["models"]
    assert live["verdict"].endswith("10 points in time are too few to tell (20 are needed).")


def test_baselines_keep_the_bounds_too(workspace: Path, capsys):
    predicted(capsys, workspace, "--min", 5)
    kept = archive.read(Archive(workspace / "data" / "forecasts").published()[0])
    assert (kept[["point", "naive", "seasonal_naive", "drift"]] >= 5).all(axis=None)
    assert (kept["seasonal_naive"] == 5).any()


def test_the_scores_are_written_as_a_table(workspace: Path, capsys):
    where = ["--workspace", str(workspace), "--output", str(workspace / "scores.csv")]
    predicted(capsys, workspace)
    assert app.run(["score", *where]) == 0
    assert "Table: " in capsys.readouterr().out
    assert (workspace / "scores.csv").read_text() == "name,by,part\n"
    arrive(workspace, 162)
    document = told(capsys, workspace, "score", *where[2:])
    assert document["output"] == where[-1]
    found = pd.read_csv(workspace / "scores.csv").set_index(["by", "part"])
    (live,) = document["models"]
    assert [by for by, _ in found.index] == [
        "all",
        "version",
        *["series"] * 2,
        *["step"] * 2,
        "cutoffs",
    ]
    assert list(found.columns) == [
        "name", "points", "forecasts", "cutoffs", "mae", "bias", "smape", "mase", "best_baseline",
        "skill", "naive_mase", "seasonal_naive_mase", "drift_mase", "coverage_80", "coverage_95",
    ]  # fmt: skip
    second = live["steps"][1]["score"]
    row = found.loc[("step", "2")]
    assert (row["points"], row["mae"]) == (2, pytest.approx(second["mae"]))
    assert row["naive_mase"] == pytest.approx(second["baselines"]["naive"])
    assert row["coverage_80"] == pytest.approx(second["coverage"]["80"])
    before = (workspace / "scores.csv").read_text()
    for output in ("-", str(workspace / "models" / "s.csv"), str(workspace / "s.xlsx")):
        assert app.run(["score", "--workspace", str(workspace), "--output", output]) in {2, 5}
    assert (workspace / "scores.csv").read_text() == before


def test_values_without_a_scale_have_no_mase_and_that_is_told(workspace: Path, capsys):
    table = predicted(capsys, workspace)
    archived = Archive(workspace / "data" / "forecasts")
    archived.published()[0].path.unlink()
    table["ds"], table["cutoff"] = pd.to_datetime(table["ds"]), pd.to_datetime(table["cutoff"])
    archived.publish(table, name="air", version="v", data_hash="", source=archive.STORE)
    arrive(workspace, 170)
    document = told(capsys, workspace, "score")
    found = document["models"][0]["score"]
    assert (document["unscaled"], found["points"], found["mase"]) == (8, 8, None)
    assert (found["baselines"], found["best_baseline"], found["skill"]) == ({}, None, None)
    assert app.run(["score", "--workspace", str(workspace)]) == 0
    assert "8 values have no MASE: their series had never changed, or " in capsys.readouterr().out
    predicted(capsys, workspace)  # beside one with a scale
    arrive(workspace, 180)
    document = told(capsys, workspace, "score")
    assert (document["unscaled"], document["models"][0]["score"]["points"]) == (8, 16)
    assert document["models"][0]["times"] == 4
    assert document["models"][0]["score"]["skill"] is not None


def test_a_forecast_counts_once_as_it_was_published_first(workspace: Path, capsys):
    predicted(capsys, workspace)
    predicted(capsys, workspace)
    predicted(capsys, workspace, "a", "--horizon", 6, "--min", 7)  # the same steps, and two more
    arrive(workspace, 170)
    document = told(capsys, workspace, "score")
    assert document["repeated"] == 8 + 4
    (live,) = document["models"]
    assert live["score"]["points"] == 8 + 2
    assert live["score"]["forecasts"] == 2
    only = Archive(workspace / "data" / "forecasts").published()[0]
    for each in Archive(workspace / "data" / "forecasts").published()[1:]:
        each.path.unlink()
    first = told(capsys, workspace, "score")["models"][0]
    assert only.path.exists()
    assert first["steps"] == live["steps"][:4]


def test_one_that_kept_no_baselines_hides_not_those_of_a_later_one(workspace: Path, capsys):
    predicted(capsys, workspace)
    archived = Archive(workspace / "data" / "forecasts")
    (whole,) = archived.published()
    kept = archive.read(whole)
    before = kept.rename(columns={"point": "gru", "version": "model_version"}).assign(
        gru=kept["point"] + 1
    )
    before = before[["unique_id", "ds", "cutoff", "gru", "model_version"]]
    version = kept["version"].iloc[0]
    archived.publish(
        before, name="air", version=version, data_hash="", source=archive.STORE,
        now=whole.created - timedelta(days=1),
    )  # fmt: skip
    arrive(workspace, 170)
    document = told(capsys, workspace, "score")
    assert (document["repeated"], document["unscaled"]) == (8, 0)
    arrived = before.merge(frame_of("a", "b", rows=170), on=["unique_id", "ds"])
    error = (arrived["gru"] - arrived["y"]).abs()
    found = document["models"][0]["score"]
    assert found["mae"] == pytest.approx(error.mean())
    assert found["mase"] == pytest.approx((error / kept["scale"]).mean())
    assert list(found["baselines"]) == ["naive", "seasonal_naive", "drift"]


def test_versions_and_the_trend_are_told_apart(workspace: Path, capsys):
    for rows in range(140, 160, 2):
        arrive(workspace, rows)
        if rows == 150:
            registry = Registry(workspace / "models")
            registry.save("air", artifacts.load(GOLDEN / "lstm"), {})
        predicted(capsys, workspace)
    arrive(workspace, 180)
    (live,) = told(capsys, workspace, "score")["models"]
    assert [part["label"] for part in live["versions"]] == Registry(workspace / "models").versions(
        "air"
    )
    assert len(live["trend"]) == 6
    assert live["trend"][0]["label"] == "2024-05-19 to 2024-05-21"
    assert live["trend"][-1]["label"] == "2024-06-06"
    assert sum(part["score"]["points"] for part in live["trend"]) == 80
    assert app.run(["score", "--workspace", str(workspace)]) == 0
    assert "2024-05-19 to 2024-05-21" in capsys.readouterr().out


def test_forecasts_of_files_and_of_dropped_series_have_no_score(workspace: Path, capsys):
    frame_of("a", rows=60).to_csv(workspace / "new.csv", index=False)
    predicted(capsys, workspace, "--data", workspace / "new.csv")
    predicted(capsys, workspace)
    Store(workspace / "data").drop(["b"])
    document = told(capsys, workspace, "score")
    assert (document["strange"], document["pending"], document["models"]) == (8, 4, [])


def test_a_forecast_of_a_file_hides_none_from_the_store(workspace: Path, capsys):
    frame = frame_of("a", "b", rows=160)  # to the same cutoff
    frame.assign(y=frame["y"] + 5).to_csv(workspace / "new.csv", index=False)
    predicted(capsys, workspace, "--data", workspace / "new.csv")
    predicted(capsys, workspace)
    document = told(capsys, workspace, "score")
    assert (document["strange"], document["repeated"], document["pending"]) == (8, 0, 8)


@pytest.mark.parametrize(
    ("moment", "zone"),
    [(lambda frame: frame["ds"].rank(method="dense").astype(int), None),
     (lambda frame: frame["ds"].dt.tz_localize("Europe/Berlin"), "Europe/Berlin")],
    ids=["integers", "zones"],
)  # fmt: skip
def test_any_kind_of_time_is_joined(tmp_path: Path, moment, zone):
    frame = frame_of("a", "b", rows=30)
    frame["ds"] = moment(frame)
    ahead = frame.groupby("unique_id").tail(2)
    cutoff = frame["ds"].iloc[27]
    table = pd.DataFrame(
        {"unique_id": ahead["unique_id"], "ds": ahead["ds"], "cutoff": cutoff, "gru": ahead["y"],
         "model_version": "v", "naive": ahead["y"] + 1, "scale": 2.0}
    )  # fmt: skip
    archived, store = Archive(tmp_path / "forecasts"), Store(tmp_path / "data")
    archived.publish(table, name="air", version="v", data_hash="", source=archive.STORE)
    store.put(frame, {"kind": "test"})
    found = score(archived, store)
    assert found.models[0].score.points == 4
    assert found.models[0].score.mae == pytest.approx(0)
    assert found.models[0].score.baselines == pytest.approx({"naive": 0.5})
    assert zone is None or "2024-01" in str(found.models[0].trend[0].label)


def test_a_damaged_file_is_told_and_left_out(workspace: Path, capsys):
    for _ in range(2):
        predicted(capsys, workspace)
    damaged, _ = Archive(workspace / "data" / "forecasts").published()
    damaged.path.write_bytes(damaged.path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match="SHA-256"):
        archive.read(damaged)
    document = told(capsys, workspace, "score")
    assert document["pending"] == 8
    assert str(damaged.path) in document["notices"][0]
    listed = told(capsys, workspace, "archive", "list")
    assert [each["summary"] is None for each in listed] == [True, False]
    assert listed[1]["summary"]["series"] == 2
    assert app.run(["archive", "list", "--workspace", str(workspace)]) == 0
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("scale", lambda column: column.astype(str), "its column 'scale' has the type str"),
        ("naive", lambda column: column.map(lambda value: [value]), "'naive' has the type object"),
        ("lo-80", lambda column: column > 0, "'lo-80' has the type bool"),
        ("unique_id", lambda column: column == "a", "'unique_id' has the type bool"),
        ("cutoff", lambda column: column.astype(str), "'cutoff' has the type str"),
        ("cutoff", lambda column: column.dt.tz_localize("UTC"), "different kinds of time"),
        ("created", lambda column: column.dt.tz_localize(None), "'created' has no time zone"),
        ("point", None, "it has no column 'point'"),
    ],
)
def test_a_whole_file_of_other_columns_is_damaged_too(
    workspace: Path, capsys, column: str, change: Any, said: str
):
    predicted(capsys, workspace)
    (whole,) = Archive(workspace / "data" / "forecasts").published()
    kept = archive.read(whole)
    kept = (
        kept.drop(columns=column)
        if change is None
        else kept.assign(**{column: change(kept[column])})
    )
    kept.to_parquet(whole.path)
    digest = sha256(whole.path.read_bytes()).hexdigest()[:16]
    whole.path.rename(whole.path.with_name(f"20200101T{'0' * 12}Z-{digest}.parquet"))
    predicted(capsys, workspace)
    arrive(workspace, 170)
    document = told(capsys, workspace, "score")
    assert document["models"][0]["score"]["points"] == 8
    assert f"-{digest}.parquet' cannot be read: " in document["notices"][0]
    assert said in document["notices"][0]


def test_old_forecasts_are_pruned(workspace: Path, capsys):
    archived = Archive(workspace / "data" / "forecasts")
    predicted(capsys, workspace)
    table = pd.DataFrame({"unique_id": "a", "ds": [1], "cutoff": [0], "gru": [1.0]})
    table["model_version"] = "v"
    said = {"version": "v", "data_hash": "", "source": archive.STORE}
    now = datetime.now(UTC)
    archived.publish(table, name="air", now=now - timedelta(days=40), **said)
    archived.publish(table, name="other", now=now - timedelta(days=40), **said)
    (archived.folder / "air" / ".abandoned.tmp").write_text("")
    (archived.folder / "air" / ".fresh.tmp").write_text("")
    os.utime(archived.folder / "air" / ".abandoned.tmp", (0, 0))
    words = ["archive", "prune", "--older-than", "30d", "--name", "air"]
    assert len(told(capsys, workspace, *words, "--dry-run")["deleted"]) == 1
    assert len(archived.published()) == 3
    assert len(told(capsys, workspace, *words)["deleted"]) == 1
    assert [each.name for each in archived.published()] == ["other", "air"]
    assert [path.name for path in archived.folder.glob("air/.*")] == [".fresh.tmp"]


def test_an_archive_that_cannot_be_written_does_not_stop_a_forecast(workspace: Path, capsys):
    (workspace / "data" / "forecasts").write_text("a file")
    document = told(capsys, workspace, "predict", "--name", "air")
    assert len(document["forecasts"]) == 8
    assert any("cannot be kept" in line for line in document["notices"])


def test_impossible_dates_and_huge_durations_do_not_matter(tmp_path: Path):
    archived, store = Archive(tmp_path / "forecasts"), Store(tmp_path / "data")
    frame = frame_of("a", "b", rows=30)
    for uid, integers in (("a", False), ("b", True)):  # one model, two kinds of time
        rows = frame[frame["unique_id"] == uid].reset_index(drop=True)
        rows = rows.assign(ds=rows.index if integers else rows["ds"])
        store.put(rows, {"kind": "test"})
        table = rows.tail(2)[["unique_id", "ds"]].assign(
            cutoff=rows["ds"].iloc[27], gru=0.0, model_version="v"
        )
        archived.publish(table, name="air", version="v", data_hash="", source=archive.STORE)
    strange = archived.folder / "air" / f"20249999T{'9' * 12}Z-{'0' * 16}.parquet"
    strange.write_bytes(b"")
    assert len(archived.published()) == 2
    assert archived.prune(1e300) == []
    assert score(archived, store, within=1e300).models[0].score.points == 4


def test_nothing_published_is_not_found(workspace: Path, capsys):
    assert "No forecast is kept" in str(told(capsys, workspace, "score", code=4))
    predicted(capsys, workspace)
    assert "of the model 'x'" in str(told(capsys, workspace, "score", "--name", "x", code=4))
    with pytest.raises(NotFoundError, match="since"):
        score(Archive(workspace / "data" / "forecasts"), Store(workspace / "data"), within=0.0)
    assert told(capsys, workspace, "score", "--published-within", "1h")["pending"] == 8
    assert told(capsys, workspace / "models", "archive", "list") == []


def test_writers_at_once_lose_nothing(workspace: Path):
    code = (
        "import sys\nfrom pathlib import Path\nimport pandas as pd\n"
        "from forecaster.archive import Archive\n"
        "table = pd.DataFrame({'unique_id': 'a', 'ds': [1], 'cutoff': [0], 'gru': [1.0]})\n"
        "table['model_version'] = 'v'\n"
        "for number in range(8):\n"
        "    Archive(Path(sys.argv[1])).publish(table, name='air', version='v', data_hash='', "
        "source='store')\n"
    )
    folder = workspace / "data" / "forecasts"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    published = Archive(folder).published()
    assert len(published) == 24
    assert all(len(archive.read(each)) == 1 for each in published)


def test_scoring_imports_no_tensorflow(workspace: Path, capsys):
    predicted(capsys, workspace)
    code = (
        "import sys\nfrom forecaster.cli.app import run\n"
        "assert run(['score', '--workspace', sys.argv[1]]) == 0\n"
        "print(sorted({'tensorflow', 'keras', 'onnxruntime', 'sklearn'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"
