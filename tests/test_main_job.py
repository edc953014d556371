"""The main job through the command line, in processes of their own, on real data."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from series_made import frame_of

pytestmark = pytest.mark.xdist_group("main_job")

QUICK = [
    "--preset",
    "segment",
    "--horizon",
    "12",
    "--lookback",
    "24",
    "--layers",
    "8",
    "--epochs",
    "2",
]
TRAIN = ["train", "--name", "air", *QUICK]


def forecast(folder, *words, **options):
    return subprocess.run(
        [sys.executable, "-m", "forecaster", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def done(folder, *words, code=0, **options):
    run = forecast(folder, *words, **options)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    return run


def refused(folder, *words, code, **options):
    """One clear line on stderr, the exit code, nothing on stdout."""
    run = done(folder, *words, code=code, **options)
    assert run.stdout == ""
    lines = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, run.stderr
    return lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with the sample and a model; tests must not change it."""
    folder = tmp_path_factory.mktemp("trained")
    done(folder, "fetch", "--sample", "air-passengers")
    run = done(folder, *TRAIN)
    told = [line for line in run.stderr.splitlines() if not line.startswith("Training: ")]
    assert told == []  # not a line of TensorFlow's own; signs of life on a slow machine
    return folder


@pytest.fixture
def workspace(trained, tmp_path):
    """A copy that a test may change."""
    import shutil

    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_fetch_train_predict(workspace):
    run = done(workspace, "predict", "--name", "air", "--output", "o.csv", "--plot", "o.png")
    table = pd.read_csv(workspace / "o.csv", parse_dates=["ds", "cutoff"])
    assert table["ds"].tolist() == list(pd.date_range("1961-01-01", periods=12, freq="MS"))
    assert (table["cutoff"] == pd.Timestamp("1960-12-01")).all()
    assert table["gru"].between(200, 1000).all()
    assert ((table["gru-lo-80"] < table["gru"]) & (table["gru"] < table["gru-hi-80"])).all()
    assert (workspace / "o.png").read_bytes().startswith(b"\x89PNG")
    version = (workspace / "models" / "air" / "champion").read_text().strip()
    assert set(table["model_version"]) == {version}
    assert "Wrote 12 rows of 1 series to o.csv" in run.stdout


def test_training_prints_a_table_and_a_verdict(trained):
    document = json.loads(done(trained, *TRAIN, "--name", "other", "--json").stdout)
    assert document["judged"]["members"][0]["epochs"] == 2
    judgement = document["judgement"]
    assert list(judgement["scores"]) == ["gru", "naive", "seasonal_naive", "drift", "theta", "ets"]
    assert judgement["scores"]["gru"].keys() == {"mae", "rmse", "mase", "smape"}
    assert judgement["verdict"].endswith(").")
    assert document["judged"]["device"].startswith("cpu")
    assert document["config"]["network"]["lookback"] == 24


def test_prediction_goes_to_stdout(trained):
    plain = done(trained, "predict", "--name", "air").stdout
    dash = done(trained, "predict", "--name", "air", "--output", "-").stdout
    assert plain == dash
    assert plain.startswith("unique_id,ds,cutoff,gru,gru-lo-80,gru-hi-80,gru-lo-95,gru-hi-95,")
    assert len(plain.splitlines()) == 13
    document = json.loads(done(trained, "predict", "--name", "air", "--json").stdout)
    assert len(document["forecasts"]) == 12


SPY = """
import sys
from forecaster.cli.app import run
code = run(sys.argv[1:])
heavy = {"tensorflow", "keras", "jax", "torch", "sklearn", "onnx", "yfinance", "matplotlib"}
heavy |= {"statsmodels"}
print(code, sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""


def test_prediction_imports_neither_tensorflow_nor_keras(trained, tmp_path):
    words = ["predict", "--name", "air", "--horizon", "20", "--output", str(tmp_path / "o.csv")]
    run = subprocess.run(
        [sys.executable, "-c", SPY, *words], cwd=trained, capture_output=True, text=True, check=True
    )
    assert run.stderr.splitlines()[-1] == "0 []"


def test_new_series_from_a_file(trained, tmp_path):
    ds = pd.date_range("2020-01-01", periods=60, freq="MS")
    pd.DataFrame({"unique_id": "new", "ds": ds, "y": range(100, 160)}).to_csv(
        tmp_path / "new.csv", index=False
    )
    run = done(trained, "predict", "--name", "air", "--data", tmp_path / "new.csv")
    assert "new,2025-01-01,2024-12-01," in run.stdout
    assert "never seen" in run.stderr
    refused(trained, "predict", "x", "--name", "air", "--data", tmp_path / "new.csv", code=4)


def test_the_columns_of_a_file_are_named(trained, tmp_path):
    ds = pd.date_range("2020-01-01", periods=60, freq="MS")
    table = pd.DataFrame({"shop": r"$\\bad$", "when": ds, "sold": range(100, 160), "x": 1.0})
    table.to_csv(tmp_path / "new.csv", index=False)
    names = ["--id", "shop", "--time", "when", "--target", "sold"]
    plot = ["--plot", tmp_path / "p.svg"]
    data = ["--data", tmp_path / "new.csv"]
    assert "bad" in done(trained, "predict", "--name", "air", *data, *names, *plot).stdout
    assert done(trained, "predict", "--name", "air", *names, code=2)


def test_bounds_come_from_the_file_and_from_flags(workspace):
    (workspace / "forecast.toml").write_text(
        "[bounds]\nmax = 460\n[bounds.per_series.air-passengers]\nmin = 400.5\nwhole = true\n"
        "[bounds.per_series.shop]\nmax = 9\n"
    )
    shown = done(workspace, "config", "show").stdout
    assert '{"air-passengers": {"min": 400.5, "whole": true}, "shop": {"max": 9.0}}' in shown
    run = done(workspace, "predict", "--name", "air", "--max", "455.5", "--output", "o.csv")
    assert "Bounds of no series here are left unused: 'shop'." in run.stderr
    numbers = pd.read_csv(workspace / "o.csv").filter(like="gru")
    assert numbers.min().min() == 401
    assert numbers.max().max() == 455
    assert (numbers == numbers.round()).all(axis=None)
    error = refused(workspace, "predict", "--name", "air", "--max", "100", code=5)
    assert "bounds.per_series" in error
    assert "'air-passengers' has to be above the min, but is 100 with min 400.5" in error


@pytest.mark.slow
def test_a_series_that_is_not_stored_any_more_is_skipped_and_named(workspace):
    done(workspace, "fetch", "--sample", "stocks")
    quick = ["--preset", "segment", "--epochs", "1", "--layers", "8", "--horizon", "5"]
    done(workspace, "train", "AAPL", "META", "--name", "two", *quick)
    done(workspace, "data", "drop", "META")
    run = done(workspace, "predict", "--name", "two", code=7)
    assert "Skipped 'META': it is not stored any more." in run.stderr
    assert "trained without them" not in run.stderr  # the user named two
    assert "AAPL,2023" in run.stdout
    assert "META" not in run.stdout


def test_a_short_series_at_predict_follows_the_policy_of_the_day(trained, tmp_path):
    frame = pd.concat([frame_of("long", frequency="MS"), frame_of("short", rows=9, frequency="MS")])
    frame.to_csv(tmp_path / "new.csv", index=False)
    words = ["predict", "--name", "air", "--data", tmp_path / "new.csv"]
    assert "Skipped 'short'" in done(trained, *words, code=7).stderr
    assert "'short' needs" in refused(trained, *words, "--too-short", "error", code=5)


@pytest.mark.slow
def test_without_the_skill_required_nothing_is_put_into_service(workspace, tmp_path):
    before, output = snapshot(workspace), tmp_path / "folds.csv"
    required = ["--require-skill", "--folds", "1"]  # one fold is too few to prove anything
    told = done(workspace, *TRAIN, *required, code=6)
    assert told.stdout.startswith("Scores on 1 held-out fold:")  # the report, then the refusal
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("Error: ")]
    assert "nothing is published" in line
    assert "MASE" in line
    assert "--folds" in line  # what to do
    words = ["backtest", *QUICK, *required, "--output", output, "--json"]
    document = json.loads(done(workspace, *words, code=6).stdout)
    assert document.keys() == {"error"}
    assert document["error"]["code"] == 6
    assert len(pd.read_csv(output)) == 12
    told = done(workspace, *words[:-1], code=6)
    assert "gru" in told.stdout  # the report, then the refusal
    assert "nothing is published" in told.stderr
    assert snapshot(workspace) == before


@pytest.mark.slow
def test_backtest_writes_what_it_scores(trained, tmp_path):
    output = tmp_path / "folds.parquet"
    words = ["backtest", *QUICK, "--test-size", 24, "--step-size", 6, "--refit", "each"]
    document = json.loads(done(trained, *words, "--output", output, "--json").stdout)
    table = pd.read_parquet(output)
    assert list(table)[:5] == ["unique_id", "ds", "cutoff", "y", "gru"]
    assert table["cutoff"].nunique() == document["judgement"]["folds"] == 3
    mae = (table["y"] - table["gru"]).abs().mean()
    assert document["judgement"]["scores"]["gru"]["mae"] == pytest.approx(mae)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "--horizon", "0"], 5, "horizon"),
        (["train", "--lookback", "500", "--horizon", "12", "--segment", "4"], 5, "but has 144"),
        (["train", "nothing"], 4, "'nothing' is not stored"),
        (["train", "--name", "../x"], 5, "model's name"),
        (["train", "--covariates", "rain"], 5, "rain"),
        (["train", "--cell", "gru", "--device", "gpu"], 3, "GPU"),
        (["predict", "--name", "none"], 4, "no model 'none'"),
        (["predict", "AAPL", "--name", "air"], 4, "not trained on 'AAPL'"),
        (["predict", "--name", "air", "--max-age", "2d"], 6, "too old"),
        (["predict", "--name", "air", "--level", "120"], 5, "level"),
        (["predict", "--name", "air", "--data", "missing.csv"], 4, "missing.csv"),
        (["predict", "--name", "air", "--output", "no/such/o.csv"], 5, "does not exist"),
        (["predict", "--name", "air", "--output", "o.xlsx"], 5, "CSV (.csv) or Parquet"),
        (["predict", "--name", "air", "--plot", "o.xyz"], 5, ".png, .svg, .pdf"),
        (["backtest", "--output", "-"], 2, "stdout"),
        (["explain", "--name", "air", "--output", "-"], 5, "--output needs a file here"),
        (["data", "list", "--workspace", ""], 2, "Invalid value for '--workspace': it is empty."),
        (["predict", "--name", "air", "--output", "models"], 5, "is a folder"),
        (["backtest", "--output", "no/such/o.csv"], 5, "does not exist"),
        (["backtest", "--folds", "2", "--test-size", "24"], 5, "Both --folds"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(trained, words, code, message):
    assert message in refused(trained, *words, code=code)


def test_a_horizon_of_zero_at_predict_is_a_usage_error(trained):
    assert "--horizon" in done(trained, "predict", "--horizon", "0", code=2).stderr


def test_errors_are_json_under_json(trained):
    run = done(trained, "predict", "--name", "none", "--json", code=4)
    assert json.loads(run.stdout)["error"]["code"] == 4


def test_a_damaged_model_forecasts_nothing(workspace):
    version = (workspace / "models" / "air" / "champion").read_text().strip()
    graph = workspace / "models" / "air" / "versions" / version / "network.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert "network.onnx" in refused(workspace, "predict", "--name", "air", code=5)


def test_a_full_disk_leaves_the_champion_in_service(workspace):
    before = snapshot(workspace)

    def small():  # no file may grow past 2 KiB: what a full disk does to a write
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    line = refused(workspace, *TRAIN, code=1, preexec_fn=small)
    assert "File too large" in line
    assert snapshot(workspace) == before


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_a_training_leaves_no_half_written_model(workspace, stop):
    before = snapshot(workspace)
    words = [
        "train",
        "--preset",
        "segment",
        "--name",
        "air",
        "--epochs",
        "100000",
        "--patience",
        "100000",
        "--quiet",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "forecaster", *words],
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(8)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
    assert process.returncode == expected[stop]
    assert "Traceback" not in errors
    assert snapshot(workspace) == before
    done(workspace, "predict", "--name", "air")


@pytest.mark.slow
def test_two_trainings_at_once_both_finish(workspace):
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "forecaster", *TRAIN, "--seed", str(seed), "--quiet"],
            cwd=workspace,
            stdout=subprocess.DEVNULL,
        )
        for seed in (1, 2)
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    versions = list((workspace / "models" / "air" / "versions").iterdir())
    assert len(versions) == 3
    done(workspace, "predict", "--name", "air")


def snapshot(workspace):
    """Every file of the models and its content."""
    return {
        path.relative_to(workspace): path.read_bytes()
        for path in (workspace / "models").rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.slow
def test_the_environment_and_the_file_reach_the_training(workspace):
    (workspace / "forecast.toml").write_text('[network]\ncell = "lstm"\n')
    environment = os.environ | {"FORECAST_LOOKBACK": "36"}
    words = [word for word in TRAIN if word not in {"--lookback", "24"}]
    document = json.loads(done(workspace, *words, "--json", env=environment).stdout)
    assert document["config"]["network"]["cell"] == "lstm"
    assert document["config"]["network"]["lookback"] == 36
    assert "lstm" in done(workspace, "predict", "--name", "air").stdout.splitlines()[0]


def test_quiet_and_json_print_one_document(trained):
    run = done(trained, "--json", "predict", "--name", "air", "--horizon", "20")
    assert json.loads(run.stdout)["rows"] == 20


def test_quiet_leaves_notices_out_and_results_stay(trained, tmp_path):
    ds = pd.date_range("2020-01-01", periods=60, freq="MS")
    pd.DataFrame({"ds": ds, "y": range(100, 160)}).to_csv(tmp_path / "new.csv", index=False)
    words = ["predict", "--name", "air", "--data", tmp_path / "new.csv", "--unique-id", "shop"]
    loud, quiet = done(trained, *words), done(trained, "-q", *words)
    assert "never seen" in loud.stderr
    assert (quiet.stderr, quiet.stdout) == ("", loud.stdout)
    assert quiet.stdout.splitlines()[1].startswith("shop,2025-01-01,")
    written = done(trained, "-q", *words, "--output", tmp_path / "o.csv")
    assert "Wrote 12 rows" in written.stdout


COVARIATES = ["--calendar-features", "--covariates", "price,promo"]


@pytest.mark.slow
def test_a_file_with_covariates_is_forecast(tmp_path):
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=200), "y": range(200)})
    table = table.assign(price=2.5, promo=table.index % 7)
    table.to_csv(tmp_path / "sales.csv", index=False)
    done(tmp_path, "fetch", "--csv", "sales.csv")
    quick = [
        "--preset",
        "segment",
        "--horizon",
        "7",
        "--lookback",
        "14",
        "--layers",
        "8",
        "--epochs",
        "1",
    ]
    done(tmp_path, "train", *quick, *COVARIATES)
    assert "sales,2024-07-19," in done(tmp_path, "predict", "--data", "sales.csv").stdout
    table.drop(columns="promo").to_csv(tmp_path / "less.csv", index=False)
    assert "promo" in refused(tmp_path, "predict", "--data", "less.csv", code=5)
    table.assign(promo="x").to_csv(tmp_path / "text.csv", index=False)
    assert "promo" in refused(tmp_path, "predict", "--data", "text.csv", code=5)


@pytest.mark.slow  # trains several networks
def test_what_is_known_ahead_comes_in_with_the_file(tmp_path):
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=207), "y": range(207)})
    table = table.assign(y=table["y"].where(table.index < 200), heat=table.index % 5, town="Bonn")
    table.to_csv(tmp_path / "sales.csv", index=False)
    done(tmp_path, "fetch", "--csv", "sales.csv")
    ahead = "7 rows after the last value, from 2024-07-19 on: known ahead (--future)?"
    assert ahead in done(tmp_path, "data", "show", "sales").stdout
    assert ahead in done(tmp_path, "data", "check").stdout
    done(tmp_path, "data", "export", "--output", "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[-1] == "sales,2024-07-25,,1,Bonn"
    words = ["--preset", "segment", "--horizon", "7", "--lookback", "14", "--layers", "8"]
    words += ["--epochs", "1", "--future", "heat", "--static", "town", "--holidays", "DE-NW"]
    done(tmp_path, "train", *words)
    assert "sales,2024-07-19,2024-07-18," in done(tmp_path, "predict").stdout
    line = refused(tmp_path, "predict", "--horizon", "8", code=5)
    assert "Series 'sales' has no value of 'heat' at 2024-07-26" in line
    line = refused(tmp_path, "train", *words[:-1], "DE-XX", code=5)
    assert "no part of DE 'XX'" in line


@pytest.mark.slow
def test_stocks_in_one_global_model(tmp_path):
    done(tmp_path, "fetch", "--sample", "stocks")
    words = ["train", "--preset", "segment", "--epochs", "1", "--layers", "8", "--horizon", "5"]
    document = json.loads(done(tmp_path, *words, "--json").stdout)
    assert document["series"] == 6
    table = done(tmp_path, "predict", "AAPL", "--calendar", "XNYS").stdout
    assert "AAPL,2023-09-22,2023-09-21" in table
    assert len(table.splitlines()) == 6


def test_mixed_frequencies_are_refused_with_a_list(workspace):
    done(workspace, "fetch", "--sample", "stocks")
    line = refused(workspace, "train", code=5)
    assert "MS" in line
    assert "B" in line
    assert "air-passengers" in line
