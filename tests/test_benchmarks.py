"""The benchmarks' own code: windows, official scores, and whose rows stand in the table."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from series_made import seasonal

import accuracy
import cells
import gpu
import ours
import peers
import speed
import speed_tasks
from forecaster.backend import import_keras
from forecaster.comparing import Comparison
from forecaster.contest import COSTS, SCORES, Run
from forecaster.networks import encoder
from problems import PROBLEMS, Forecasts, Problem
from published import PUBLISHED
from scoring import MAIN, score

keras = import_keras()
SEASON, HORIZON, TEST = 8, 4, 6


def problem_of(kind, lengths=(40, 33), test_size=TEST, **more):
    series = {
        uid: pd.Series(seasonal(rows, seed=rows)[1], pd.RangeIndex(40 - rows, 40))
        for uid, rows in zip("ba", lengths, strict=True)
    }
    return Problem("made", kind, series, HORIZON, test_size, SEASON, 16, **more)


def competition():
    return problem_of("competition", test_size=HORIZON)


@pytest.mark.parametrize("season", [1, 3, SEASON])
def test_reference_repeats_the_last_season_before_each_cutoff(season):
    problem = problem_of("prices")
    forecast = problem.seasonal_naive(season)
    for number, y in enumerate(map(np.asarray, problem.series.values())):
        for window in range(problem.windows):
            cutoff = len(y) - TEST + window
            expected = np.resize(y[cutoff - season : cutoff], HORIZON)
            assert forecast[number, window] == pytest.approx(expected)
            assert problem.truth[number, window] == pytest.approx(y[cutoff : cutoff + HORIZON])


def test_held_out_rows_are_not_in_the_frame():
    frame = competition().frame(held_out=HORIZON)
    assert frame.groupby("unique_id")["ds"].agg(["size", "max"]).loc["a"].tolist() == [29, 35]


def test_channels_are_scored_on_the_scale_of_the_train_rows():
    problem = problem_of("channels", scale=np.array([1.0, 2.0]))
    scores = score(problem, Forecasts(problem.truth + 2))
    assert (scores["MSE"], scores["MAE"]) == pytest.approx((2.5, 1.5))


def test_interval_score_is_that_of_the_competition():
    problem = competition()
    truth, scores = problem.truth, []
    low, high = truth - 1, truth + np.array([2.0, -0.5, -0.5, 2.0])
    for number, y in enumerate(problem.series.values()):
        seen = y.to_numpy()[:-HORIZON]
        scale = np.abs(seen[SEASON:] - seen[:-SEASON]).mean()
        missed = 2 / 0.05 * 0.5 * 2 / HORIZON  # two steps of four, each by a half
        scores.append(((high - low)[number].mean() + missed) / scale)
    found = score(problem, Forecasts(truth, {95.0: (low, high)}))
    assert found["MSIS 95%"] == pytest.approx(np.mean(scores))
    assert found["inside 95%"] == 50
    assert [found[f"inside 95% third {third}"] for third in (1, 2, 3)] == [50, 0, 100]


def test_series_without_intervals_do_not_count_as_missed():
    problem = competition()
    low, high = problem.truth - 1, problem.truth + 1
    low[0] = high[0] = np.nan
    scores = score(problem, Forecasts(problem.truth, {80.0: (low, high)}))
    assert scores["inside 80%"] == 100
    assert np.isfinite(scores["MSIS 80%"])


def test_prices_claim_skill_only_beyond_chance():
    problem = problem_of("prices", lengths=(200, 200), test_size=100)
    last = problem.seasonal_naive(1)
    assert score(problem, Forecasts(last))["claims of skill"] == 0
    better = score(problem, Forecasts((last + 9 * problem.truth) / 10))
    assert better["claims of skill"] == 2
    assert better["a MAE / naive"] == pytest.approx(0.1)


def test_forecasts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="needs forecasts"):
        score(competition(), Forecasts(np.zeros((2, 1, 3))))


def test_series_that_the_program_skips_are_forecast_by_the_last_season(monkeypatch):
    problem = competition()
    steps = np.arange(float(HORIZON))
    table = pd.DataFrame({"unique_id": "a", "gru": steps, "gru-lo-80": steps, "gru-hi-80": steps})
    seen = []
    fitted = SimpleNamespace(
        predict=lambda: table,
        about={"judgement": {"verdict": "so"}},
        config=SimpleNamespace(
            network=SimpleNamespace(cell="gru"), prediction=SimpleNamespace(level=(80.0,))
        ),
    )
    maker = SimpleNamespace(fit=lambda frame, tell: seen.append(frame) or fitted)
    monkeypatch.setattr(ours, "Forecaster", lambda **_: maker)
    found = ours.forecast(problem, seed=1)
    assert len(seen[0]) == 40 + 33 - 2 * HORIZON
    assert found.notes == {"skipped": 1, "verdict": "so"}
    assert found.values[1, 0].tolist() == steps.tolist()
    assert found.values[0] == pytest.approx(problem.seasonal_naive(SEASON)[0])
    assert np.isnan(found.bounds[80.0][0][0]).all()


def folds_of(problem, order, shift=0.0):
    """Return what a backtest would, its windows in another order."""
    windows = [(uid, fold) for uid in (0, 1) for fold in range(problem.windows)]
    series, fold = np.array([windows[place] for place in order]).T
    y = problem.truth[1 - series, fold]  # the program sorts ids: "a" is its first series
    folds = SimpleNamespace(
        name="gru", ids=("a", "b"), series=series, fold=fold, y=y + shift,
        forecasts={"gru": y + 1}, bounds={80.0: (y, y + 2)},
    )  # fmt: skip
    return SimpleNamespace(folds=folds, judgement=SimpleNamespace(p_value=0.5, verdict="so"))


def test_windows_of_a_backtest_are_put_in_the_order_of_the_benchmark(monkeypatch):
    problem = problem_of("prices")
    order = [5, 0, 3, 1, 4, 2]
    monkeypatch.setattr(ours, "backtest", lambda *_, **__: folds_of(problem, order))
    found = ours.forecast(problem, seed=1)
    assert found.values == pytest.approx(problem.truth + 1)
    assert found.bounds[80.0][1] == pytest.approx(problem.truth + 2)


def test_windows_that_are_not_the_benchmarks_are_refused(monkeypatch):
    problem = problem_of("prices")
    monkeypatch.setattr(ours, "backtest", lambda *_, **__: folds_of(problem, range(6), 0.1))
    with pytest.raises(SystemExit, match="not the benchmark's windows"):
        ours.forecast(problem, seed=1)


def interpreter(folder, body):
    """Write what stands for the Python of the peers' environment."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return path


def test_a_peer_gets_the_problem_as_files_and_answers_with_files(tmp_path):
    answer = """
import json, pathlib, sys, numpy
script, model, folder = sys.argv[1:]
folder = pathlib.Path(folder)
about = json.loads((folder / "problem.json").read_text()) | {"model": model, "script": script}
(folder / "about.json").write_text(json.dumps(about))
stored = numpy.load(folder / "series.npz")
y = numpy.split(stored["y"], stored["offsets"][1:-1])[1]
numpy.savez(folder / "forecast.npz", values=y, **{"lo-80": y - 1, "hi-80": y + 2})
"""
    problem = competition()
    where = peers.Environment(interpreter(tmp_path, answer), steps=9, limit=60)
    found = peers.forecast(problem, "some-model", where, 7)
    y = problem.series["a"].to_numpy()
    assert found.values.tolist() == y.tolist()
    assert list(found.bounds) == [80.0]
    assert [bound.tolist() for bound in found.bounds[80.0]] == [(y - 1).tolist(), (y + 2).tolist()]
    assert Path(found.notes.pop("script")).exists()
    sizes = {"horizon": HORIZON, "test_size": HORIZON, "season": SEASON, "lookback": 16}
    assert found.notes == {**sizes, "seed": 7, "steps": 9, "model": "some-model"}


@pytest.mark.parametrize(
    ("body", "limit", "told"),
    [
        ("import sys; sys.exit(3)", 60, "exit code 3"),
        ("import time; time.sleep(60)", 0.5, "after 0.5 s"),
    ],
)
def test_a_peer_that_fails_or_takes_too_long_is_told(body, limit, told, tmp_path):
    where = peers.Environment(interpreter(tmp_path, body), steps=9, limit=limit)
    with pytest.raises(peers.PeerError, match=told):
        peers.forecast(competition(), "some-model", where, 1)


def test_published_figures_are_of_scores_that_are_measured():
    kinds = {"etth": "channels", "exch": "channels", "stoc": "prices"}
    for name, rows in PUBLISHED.items():
        assert name in PROBLEMS
        for row in rows:
            assert set(row.scores) <= set(MAIN[kinds.get(name[:4], "competition")])


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "made", *map(str, arguments)])
    accuracy.main()


def test_runs_keep_the_rows_of_other_models_and_export_every_forecast(
    monkeypatch, tmp_path, capsys
):
    problem = problem_of("channels", scale=np.array([1.0, 2.0]))
    monkeypatch.setitem(PROBLEMS, "made", lambda _: problem)
    monkeypatch.setattr(
        ours, "forecast", lambda problem, seed: Forecasts(problem.truth + seed, notes={"p": 0.5})
    )
    monkeypatch.setattr(peers, "forecast", lambda *_: Forecasts(problem.truth + 2))
    path = tmp_path / "scores.json"
    run(monkeypatch, "--seeds", "1,3", "--json", path, "--export", tmp_path)
    assert "| ours | 3.125 | 1.5 |" in capsys.readouterr().out
    run(monkeypatch, "--models", "darts-BlockRNN", "--peers", "python", "--json", path)
    out = capsys.readouterr().out
    assert "| ours |" in out
    assert "| darts-BlockRNN | 2.5 | 1.5 |" in out
    models = json.loads(path.read_text())["made"]["models"]
    assert list(models) == ["naive", "seasonal naive", "ours", "darts-BlockRNN"]
    assert [run["MAE"] for run in models["ours"]["runs"]] == pytest.approx([0.75, 2.25])
    exported = pd.read_parquet(tmp_path / "made-ours-2.parquet")
    assert (exported["ours"] - exported["y"]).to_numpy() == pytest.approx(3)
    assert (exported["ds"] - exported["cutoff"]).tolist() == [1, 2, 3, 4] * 6
    assert exported.loc[exported["unique_id"] == "b", "cutoff"].unique().tolist() == [33, 34, 35]


def test_a_peer_counts_at_its_best_and_ours_only_when_accurate(monkeypatch, capsys):
    asked = SimpleNamespace(data=Path("data"), peers=None)
    assert not list(speed.time_to_accuracy(Path(), asked))
    assert capsys.readouterr().out.count("needs --data and --peers") == 2
    curve = {"50": 0.5, "100": 0.45, "200": 0.46}

    def scores(_, model, *words):
        mse = 0.37 if model == "ours" else curve[words[-1]]
        return {"MSE": mse, "seconds": 10 * mse}

    monkeypatch.setattr(speed, "_etth1", scores)
    asked.peers = Path("python")
    first, _ = speed.time_to_accuracy(Path(), asked)
    assert first.what.endswith("neuralforecast-LSTM to 0.450, 100 steps")
    assert first.other() == 4.5
    assert first.ours() >= 0
    monkeypatch.setattr(speed, "ACCURACY", 0.36)
    with pytest.raises(SystemExit, match=r"MSE is 0\.370"):
        first.ours()

    def none(*_):
        raise LookupError("not finished after 5 s")

    monkeypatch.setattr(speed, "_etth1", none)
    assert not list(speed.time_to_accuracy(Path(), asked))
    assert capsys.readouterr().out.count("not finished after 5 s") == 2


def test_a_peer_without_a_forecast_keeps_its_row(monkeypatch, capsys):
    def fails(*_):
        raise peers.PeerError("not finished after 5 s")

    monkeypatch.setitem(PROBLEMS, "made", lambda _: competition())
    monkeypatch.setattr(peers, "forecast", fails)
    run(monkeypatch, "--models", "neuralforecast-GRU", "--peers", "python")
    assert "not finished after 5 s |" in capsys.readouterr().out


def test_peers_need_their_environment(monkeypatch, capsys):
    monkeypatch.setitem(PROBLEMS, "made", lambda _: competition())
    with pytest.raises(SystemExit):
        run(monkeypatch, "--models", "darts-BlockRNN")
    assert "--peers PYTHON" in capsys.readouterr().err


def test_cells_are_compared_on_standardised_channels_and_written(monkeypatch, tmp_path, capsys):
    scale = np.array([1.0, 2.0])
    problem = problem_of("channels", scale=scale, settings={"val_size": 8, "transform": "none"})
    asked = []

    def compare(frame, candidates, **settings):
        asked.append((frame, candidates, settings))
        scores = dict.fromkeys(SCORES, 0.25)
        run = Run("gru", 1, dict.fromkeys(COSTS, 2.0) | scores, np.zeros(1))
        return Comparison({}, (1,), (run,), {"naive": scores}, {"rnn": "No."}, (), 2, None, ())

    monkeypatch.setattr(cells, "compare", compare)
    monkeypatch.setattr(cells, "etth", lambda number, folder: problem)
    words = ["--data", str(tmp_path), "--cells", "rnn,gru", "--presets", "classic", "--seeds", "1"]
    words += ["--set", "layers=8", "--json", str(tmp_path / "cells.json")]
    monkeypatch.setattr(sys, "argv", ["cells.py", *words])
    cells.main()
    ((frame, candidates, settings),) = asked
    assert frame["y"].tolist() == pytest.approx(
        np.concatenate([y / size for y, size in zip(problem.series.values(), scale, strict=True)])
    )
    assert list(candidates) == ["rnn", "gru"]
    assert settings.pop("on_run")("gru") is cells.tell
    assert settings == {
        **{"seeds": 1, "horizon": HORIZON, "test_size": TEST, "step_size": 24},
        **{"val_size": 8, "transform": "none", "layers": "8"},
    }
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].startswith("| gru | 2 | 2 | 2 | 2.0 | 2000000 | 0.2500 ±nan |")
    assert printed[3] == "| naive |  |  |  |  |  | 0.2500 | 0.2500 | 0.2500 | 0.2500 |"
    assert "- rnn failed: No." in printed
    assert json.loads((tmp_path / "cells.json").read_text())["means"]["gru"]["mse"] == 0.25


WORKER = """
import json, os, sys
if os.environ["KERAS_BACKEND"] == "torch":
    sys.exit(3)
ceilings = {"operations/s": {"float32": 1e6}, "bytes/s": 1e6}
print(json.dumps({"about": ceilings}), flush=True)
print("a line of a library")
for case in json.loads(sys.argv[-1]):
    if case["batch"] == 2:
        sys.exit(9)
    kinds = ("train", "keras train", "forward")
    told = dict.fromkeys(kinds, 1000.0) | {"keras forward": "out of memory"}
    print(json.dumps({"case": case} | told), flush=True)
"""


def on_a_gpu(monkeypatch, folder, *words):
    monkeypatch.setattr(gpu.sys, "executable", str(interpreter(folder, WORKER)))
    words = ["--cells", "lstm", "--precisions", "float32", "--cudnn", "on", *words]
    words += ["--lookbacks", "3", "--units", "2", "--json", str(folder / "gpu.json")]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
    gpu.main()


def test_a_process_that_dies_on_a_gpu_costs_one_row(monkeypatch, tmp_path, capsys):
    on_a_gpu(monkeypatch, tmp_path, "--backends", "torch", "jax", "--batches", "1", "2", "4")
    rows = [line for line in capsys.readouterr().out.splitlines() if "| lstm |" in line]
    torch, (first, second, third) = rows[:3], rows[3:]
    assert all("its process ended with 3" in row for row in torch)
    assert "| 2 | 2 | its process ended with 9 |" in second
    # 2 x 4 x 2 x (3 + 4) operations a step, 3 steps, thrice for training: 1008 a window
    assert "| 3 | 2 | 1 | 1,000 | 100.80% |" in first
    assert first.endswith("| 1,000 | 33.60% | 118.80% | out of memory |")
    assert "| 3 | 2 | 4 | 1,000 | 100.80% |" in third
    rows = json.loads((tmp_path / "gpu.json").read_text())["backends"]["jax"]["rows"]
    assert [row["case"]["batch"] for row in rows] == [1, 2, 4]


def test_what_there_is_no_time_for_on_a_gpu_is_told(monkeypatch, tmp_path, capsys):
    on_a_gpu(monkeypatch, tmp_path, "--backends", "jax", "--batches", "1", "4", "--limit", "0")
    assert capsys.readouterr().out.count("no time left") == 2


@pytest.mark.slow
def test_our_step_and_that_of_keras_are_timed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    case = gpu.Case("lstm", "float32", "on", lookback=4, units=2, batch=8)
    found = gpu._measured(case, steps=2, seconds=0.01)
    assert list(found) == ["train", "forward", "keras train", "keras forward"]
    assert all(rate > 0 for rate in found.values())


def test_layers_are_told_to_leave_cudnn(monkeypatch):
    seen = []

    def told(case, *_, **options):
        seen.append((encoder.CELLS[case.cell](1).use_cudnn, options))
        return (lambda: 1.0,) * 2

    monkeypatch.setenv("KERAS_BACKEND", "torch")
    for side in ("_ours", "_keras"):
        monkeypatch.setattr(gpu, side, told)
    for cudnn in ("on", "off"):
        gpu._measured(gpu.Case("lstm", "float32", cudnn, 4, 2, 8), 2, 0.01)
    off = {"options": {"use_cudnn": False}}
    assert seen == [("auto", {}), ("auto", {"options": {}}), (False, {}), (False, off)]
    assert encoder.CELLS["lstm"](1).use_cudnn == "auto"


def test_what_cannot_be_measured_on_a_gpu_is_told(monkeypatch):
    def too_large(*_, **__):
        raise MemoryError

    def unknown():
        raise ValueError("no\nsuch thing")

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(gpu, "_ours", too_large)
    monkeypatch.setattr(gpu, "_keras", lambda *_, **__: (lambda: 1.0, unknown))
    found = gpu._measured(gpu.Case("lstm", "float32", "on", 4, 2, 8), 2, 0.01)
    assert found["train"] == found["forward"] == "out of memory"
    assert found["keras train"] == 1.0
    assert found["keras forward"] == "ValueError: no such thing"
    found = gpu._measured(gpu.Case("gru", "float32", "on", 4, 2, 8), 2, 0.01)
    assert found == {"failed": "cuDNN in Keras with jax runs only LSTM"}


def test_work_is_that_of_the_ceiling_on_a_cpu():
    case = gpu.Case("lstm", "float32", "on", speed_tasks.LOOKBACK, speed_tasks.UNITS, 32)
    assert gpu.TIMES * case.work == speed_tasks.flops()
