"""`forecast compare`: the same rows, seeds and budget for all, and what of it is noise."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

import forecaster
from forecaster import backtesting, compiling, presets, runtime, statistical, training
from forecaster.cli import app
from forecaster.cli.compare import PRESETS
from forecaster.cli.comparison import with_spread
from forecaster.comparing import asked, candidate_of
from forecaster.config import CELLS, SEEDS, Config, NetworkSpec
from forecaster.contest import COSTS, SCORES
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.model import Model
from forecaster.reports import costs
from forecaster.series import prepare

pytestmark = pytest.mark.xdist_group("compare")

SMALL = QUICK | {"deterministic": True, "epochs": 12, "skip": "none", "shrink": False, "folds": 8}
FLAGS = [
    *("--lookback", "16", "--horizon", "4", "--segment", "4", "--layers", "8"),
    *("--batch-size", "64", "--season-length", "8", "--val-size", "16", "--folds", "8"),
    *("--epochs", "12", "--skip", "none", "--no-shrink", "--deterministic"),
]
TWIN, STILL, BAD = "cell=rnn dropout=0.1", "cell=rnn learning_rate=1e-9", "cell=rnn segment=5"


def run(*words: object) -> tuple[int, str]:
    """Run a command in this process; return its code and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = app.run([str(word) for word in words])
    return code, out.getvalue()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    frame_of("a", "b").to_csv(folder / "feed.csv", index=False)
    assert run("fetch", "--csv", folder / "feed.csv", "--workspace", folder)[0] == 0
    return folder


@pytest.fixture(scope="module")
def models() -> list[Model]:
    """What was trained for `real`."""
    return []


@pytest.fixture(scope="module")
def real(workspace: Path, models: list[Model]) -> dict[str, Any]:
    """The document of a real comparison; its table and plot lie in the workspace."""
    fit = training.fit

    def kept(*args: Any, **more: Any) -> Model:
        models.append(fit(*args, **more))
        return models[-1]

    words = ["compare", "--cells", "rnn", "--seeds", "2", "--workspace", workspace, *FLAGS]
    words += [part for text in (TWIN, STILL, BAD) for part in ("--candidate", text)]
    words += ["--learning-rate", "0.02", "--plot", workspace / "o.png"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", kept)
        patch.setattr(compiling, "forget", lambda: None)  # compiling takes most of the time
        code, text = run(*words, "--output", workspace / "o.csv", "--json")
    assert code == 7
    return dict(json.loads(text))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch, real: dict[str, Any], models: list[Model]) -> list[Any]:
    """Let a real model stand in for all that are trained; list what was asked for."""
    calls: list[Any] = []

    def fit(panel: Any, config: Config, parts: Any, **more: Any) -> Model:
        calls.append((config, more))
        return models[0]

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(statistical, "STATISTICAL", ())  # Theta and ETS take a second
    return calls


def test_every_network_is_measured_beside_the_baselines(real):
    names = {"rnn", TWIN, STILL}
    assert real["means"].keys() == real["spreads"].keys() == names
    assert real["means"][STILL].pop("direction") is None  # it stays where it is
    for name, row in real["means"].items():
        assert {*row, "direction"} == {*COSTS, *SCORES}, name
        assert all(value > 0 for value in row.values())
        assert row["lookback"] == 16
        assert row["epochs"] <= 12
    assert real["baselines"].keys() == {"naive", "seasonal_naive", "drift", "theta", "ets"}
    assert real["baselines"]["naive"].keys() == set(SCORES)
    assert real["seeds"] == [1, 2]
    assert real["folds"] == 8


def test_means_and_spreads_are_those_of_the_runs(real):
    for name, mean in real["means"].items():
        mase = [each["mase"] for each in real["runs"] if each["candidate"] == name]
        assert len(mase) == 2
        assert mean["mase"] == pytest.approx(np.mean(mase))
        assert real["spreads"][name]["mase"] == pytest.approx(np.std(mase, ddof=1))


def test_scores_are_those_of_a_backtest(fitted):
    found = comparison({"it": {"cell": "rnn"}}, seeds=1)
    judged = forecaster.backtest(frame_of("a", "b"), **SMALL | {"cell": "rnn"}).judgement
    (it,) = found.runs
    for name, scores in {"rnn": it.figures, **found.baselines}.items():
        for score in ("mae", "mase"):
            assert scores[score] == pytest.approx(judged.scores[name][score])
        assert scores["mse"] == pytest.approx(judged.scores[name]["rmse"] ** 2)
    assert it.figures["direction"] == pytest.approx(judged.checks.direction.accuracy)


def test_the_same_seeds_give_the_same_table(real):
    runs: dict[str, list[Any]] = {}
    for each in real["runs"]:
        found = [value for key, value in each.items() if key not in ("candidate", *COSTS[-2:])]
        runs.setdefault(each["candidate"], []).append(found)
    assert runs["rnn"] == runs[TWIN]
    assert runs["rnn"] != runs[STILL]


def test_a_planted_difference_is_found_and_a_null_difference_is_noise(real):
    pairs = {frozenset((each["better"], each["worse"])): each for each in real["differences"]}
    null, planted = pairs[frozenset(("rnn", TWIN))], pairs[frozenset(("rnn", STILL))]
    assert null["is_noise"]
    assert null["p_value"] == 1
    assert not planted["is_noise"]
    assert planted["better"] == "rnn"
    verdict = " ".join(real["verdict"])
    assert f"rnn beats {STILL}" in verdict or f", {STILL}" in verdict
    assert f"rnn and {TWIN} (p = 1.000)" in verdict


def test_one_that_fails_is_a_line_with_its_reason(real):
    assert real["failed"].keys() == {BAD}
    assert "segment 5 does not divide" in real["failed"][BAD]


def test_the_table_has_a_row_for_every_run_and_failure(real, workspace):
    table = pd.read_csv(workspace / "o.csv")
    assert list(table) == ["candidate", "seed", *COSTS, *SCORES, "failure"]
    assert len(table) == 2 * 3 + 1
    failed = table[table["failure"].notna()]
    assert set(failed["candidate"]) == {BAD}
    assert failed["mase"].isna().all()
    done = table[table["failure"].isna()]
    assert done["mase"].tolist() == pytest.approx([each["mase"] for each in real["runs"]])
    assert (workspace / "o.png").read_bytes().startswith(b"\x89PNG")


def comparison(candidates: Any = None, seeds: int = 2, **settings: Any) -> Any:
    return forecaster.compare(frame_of("a", "b"), candidates, seeds=seeds, **SMALL | settings)


def test_cells_and_presets_are_combined():
    assert tuple(asked()) == CELLS
    assert asked(["gru"], ["segment"]) == {"gru": {"cell": "gru", "preset": "segment"}}
    assert list(asked((), ["segment", "classic"])) == [
        *("rnn segment", "lstm segment", "gru segment"),
        *("rnn classic", "lstm classic", "gru classic"),
    ]
    text = "cell=lstm layers=64,64"
    assert asked(texts=[text]) == {text: {"cell": "lstm", "layers": "64,64"}}
    assert list(asked(["gru"], (), [text])) == ["gru", text]


@pytest.mark.parametrize(
    ("cells", "texts", "said"),
    [
        (
            (),
            ["cell=gru dropout=0", "dropout=0  cell=gru"],
            "and 'dropout=0  cell=gru' are the same",
        ),
        (["gru"], ["cell=gru"], "The candidates 'gru' and 'cell=gru' are the same"),
        ((), ["dropout=0 dropout=0.5"], "sets something twice"),
    ],
)
def test_a_candidate_that_is_there_twice_is_refused(cells, texts, said):
    with pytest.raises(InvalidInputError, match=said):
        asked(cells, (), texts)


def test_every_preset_but_auto_can_be_compared():
    known = get_args(NetworkSpec.model_fields["preset"].annotation)
    assert set(PRESETS) == set(known) - {"auto"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "written as its settings"),
        ("lstm", "written as its settings"),
        ("cell='lstm", "written as its settings"),
    ],
)
def test_a_candidate_that_is_not_written_as_settings_is_refused(text, said):
    with pytest.raises(InvalidInputError, match=said):
        candidate_of(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"horizon": 8}, "has to be the same for all"),
        ({"epochs": 8}, "Give --epochs beside"),
        ({"folds": 8}, "has to be the same for all"),
        ({"preset": "auto"}, "compares networks itself"),
        ({"cell": "lsmt"}, "cell"),
        ({"layer": 8}, "Did you mean 'layers'"),
    ],
)
def test_what_cannot_differ_is_refused_before_anything_is_trained(settings, said):
    with pytest.raises(InvalidInputError, match=said):
        comparison({"it": settings})


def test_open_gates_are_for_the_cells_that_have_gates(fitted):
    found = comparison({"rnn": {"cell": "rnn"}, "lstm": {"cell": "lstm"}}, gate_bias="chrono")
    assert [config.network.gate_bias for config, _ in fitted] == ["chrono"] * 4
    assert not found.failed
    with pytest.raises(InvalidInputError, match="every cell is rnn"):
        comparison({"rnn": {"cell": "rnn"}}, gate_bias="chrono")


def test_no_candidate_is_called_as_a_baseline_is():
    with pytest.raises(InvalidInputError, match="a baseline is"):
        comparison({"theta": {}})


def test_seeds_budget_and_folds_are_the_same_for_all(fitted):
    settings = {"epochs": None, "ensemble": None, "segment": None, "time_budget": 60}
    named = {"wide": {"preset": "classic", "lookback": 24}, "three": {"ensemble": 3}}
    found = comparison(named, **settings, preset="auto", seed=5, fallback="baseline")
    tried = [config for config, _ in fitted]
    assert [config.training.seed for config in tried] == [5, 5, 8, 8]  # no network twice
    assert [config.network.preset for config in tried] == ["classic", "segment"] * 2
    assert len({config.training.epochs for config in tried}) == 1
    assert {config.training.time_budget for config in tried} == {60}
    assert {config.evaluation.fallback for config in tried} == {"none"}
    assert {config.training.refit_all for config in tried} == {False}
    assert [more["share"] for _, more in fitted] == [1] * 4
    assert found.seeds == (5, 8)
    lengths = {len(each.losses) for each in found.runs}
    assert lengths == {8 * 4}


@pytest.mark.parametrize("seeds", [0, 1.5])
def test_less_than_a_seed_is_refused(seeds):
    with pytest.raises(InvalidInputError, match=f"At least 1 seed, .* got {seeds}"):
        comparison(seeds=seeds)


def test_after_the_largest_seed_comes_zero(fitted):
    assert comparison(seed=SEEDS - 2, ensemble=2).seeds == (SEEDS - 2, 0)


def test_every_run_compiles_for_itself(fitted, monkeypatch):
    forgotten = []
    monkeypatch.setattr(compiling, "forget", lambda: forgotten.append(len(fitted)))
    comparison(seeds=2)
    assert forgotten == list(range(2 * len(CELLS)))


def test_the_budget_is_the_smallest_that_any_would_take(fitted):
    named = {"few": {"preset": "segment", "batch_size": 4}, "many": {"preset": "classic"}}
    found = comparison(named, seeds=1, epochs=None, segment=None)
    resolved = {
        presets.resolve(
            Config.of(**SMALL | {"epochs": None, "segment": None} | each),
            prepare(frame_of("a", "b"), Config().data),
        ).training.epochs
        for each in named.values()
    }
    assert len(resolved) == 2
    assert {config.training.epochs for config in found.configs.values()} == {min(resolved)}


def test_a_series_too_short_for_one_is_left_out_for_all(fitted, tmp_path):
    rows = 40 + 16 + 4 * 8  # of the wide one's context, and what is held out
    frame = pd.concat([frame_of("long"), frame_of("short", rows=rows)])
    named = {"narrow": {}, "wide": {"lookback": 40, "segment": 4}}
    found = forecaster.compare(frame, named, seeds=1, **SMALL)
    assert list(found.panel.skipped) == ["short"]
    frame.to_csv(tmp_path / "feed.csv", index=False)
    assert run("fetch", "--csv", tmp_path / "feed.csv", "--workspace", tmp_path)[0] == 0
    words = ["compare", "--workspace", tmp_path, "--seeds", "1", *FLAGS]
    assert run(*words, "--candidate", "lookback=40", "--candidate", "lookback=16")[0] == 7


def test_one_that_no_series_is_long_enough_for_is_left_to_itself(fitted):
    found = comparison({"narrow": {}, "wide": {"lookback": 160}}, seeds=1)
    assert "needs at least" in found.failed["wide"]
    assert found.panel.skipped == {}


def test_no_test_row_decides_what_is_trained(fitted, monkeypatch):
    settings = SMALL | {"epochs": None, "segment": None, "lookback": None}
    frame = frame_of("a", "b")
    dirty = frame.copy()
    dirty.loc[dirty.groupby("unique_id").cumcount() >= 160 - 8 * 4, "y"] = 1e6
    stand_in, given = training.fit, []

    def fit(panel: Any, config: Config, parts: Any, **more: Any) -> Model:
        given.append(panel.head(parts.val_stop).y)
        return stand_in(panel, config, parts, **more)

    monkeypatch.setattr(training, "fit", fit)
    for rows in (frame, dirty):
        forecaster.compare(rows, {"it": {"lookback": 16, "segment": 4}}, seeds=2, **settings)
    configs = [config for config, _ in fitted]
    assert configs[:2] == configs[2:]
    np.testing.assert_array_equal(given[:2], given[2:])
    assert np.max(given) < 1e6 == dirty["y"].max()


def stop_after(monkeypatch: pytest.MonkeyPatch, runs: int, error: BaseException) -> None:
    fit, left = training.fit, iter(range(runs))

    def stopped(*args: Any, **more: Any) -> Any:
        if next(left, None) is None:
            raise error
        return fit(*args, **more)

    monkeypatch.setattr(training, "fit", stopped)


def test_an_interrupted_run_keeps_the_seeds_that_all_were_trained_with(fitted, monkeypatch):
    stop_after(monkeypatch, 5, KeyboardInterrupt())
    found = comparison(seeds=3)
    assert found.interrupted
    assert found.seeds == (1,)
    assert found.verdict
    assert [each.candidate for each in found.runs] == list(CELLS)
    assert found.failed == {}


def test_interrupted_before_all_were_trained_once_it_says_which_were_not(
    fitted, monkeypatch, workspace, capsys
):
    stop_after(monkeypatch, 2, KeyboardInterrupt())
    code, text = run("compare", "--workspace", workspace, *FLAGS)
    assert code == 130
    begun = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" ...")]
    assert begun == [f"{cell}, seed 1 of 3 ..." for cell in ("rnn", "lstm", "gru")]
    assert "Interrupted: this is what was done before." in text
    assert "gru failed: It was not reached" in text


def test_interrupted_at_once_it_leaves_nothing(fitted, monkeypatch, workspace, tmp_path, capsys):
    stop_after(monkeypatch, 0, KeyboardInterrupt())
    output = tmp_path / "o.csv"
    code, text = run("compare", "--workspace", workspace, *FLAGS, "--output", output)
    assert (code, text, output.exists()) == (130, "", False)


def test_one_that_fails_with_a_later_seed_is_left_out(fitted, monkeypatch):
    fit = training.fit

    def sometimes(panel: Any, config: Config, parts: Any, **more: Any) -> Any:
        if config.network.cell == "lstm" and config.training.seed == 2:
            raise ForecasterError("It diverged.")
        return fit(panel, config, parts, **more)

    monkeypatch.setattr(training, "fit", sometimes)
    found = comparison(seeds=3)
    assert found.failed == {"lstm": "It diverged."}
    assert {each.candidate for each in found.runs} == {"rnn", "gru"}
    assert found.seeds == (1, 2, 3)
    assert sum(config.network.cell == "lstm" for config, _ in fitted) == 1


def test_one_that_takes_too_much_memory_is_left_out(fitted, monkeypatch):
    fit = training.fit

    def sometimes(panel: Any, config: Config, parts: Any, **more: Any) -> Any:
        if config.network.cell == "lstm":
            raise MemoryError
        return fit(panel, config, parts, **more)

    monkeypatch.setattr(training, "fit", sometimes)
    assert comparison(seeds=1).failed == {"lstm": "Out of memory."}


def test_a_mistake_of_the_program_is_not_hidden_as_a_failed_candidate(fitted, monkeypatch):
    stop_after(monkeypatch, 1, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        comparison(seeds=1)


def test_a_forecast_that_is_not_finite_is_a_failure(fitted, monkeypatch):
    roll = backtesting.roll

    def far_off(panel: Any, config: Config, fit: Any) -> Any:
        rolled = roll(panel, config, fit)
        if config.network.cell == "gru":
            rolled.folds.forecasts[rolled.folds.name][0] = math.inf
        return rolled

    monkeypatch.setattr(backtesting, "roll", far_off)
    found = comparison(seeds=1)
    assert found.failed == {"gru": "Some of its forecasts are not finite."}


def test_inference_is_measured_with_every_kind_of_input():
    shapes = []

    class Made:
        context_shape, output_shape = (16, 2), (4, 3)
        future_features, static_features = 5, 6
        knows_series, takes_length, together = True, True, 3
        random_inputs = runtime.Network.random_inputs

        def __call__(self, **inputs: Any) -> None:
            shapes.append({name: array.shape for name, array in inputs.items()})

    windows = 258  # the next multiple of those that are taken as one
    assert 0 < runtime.seconds_per_window(Made()) < 1
    expected = {
        "context": (windows, 16, 2),
        "future": (windows, 4, 5),
        "series": (windows,),
        "static": (windows, 6),
        "length": (windows,),
    }
    assert shapes == [expected] * runtime.ROUNDS


def test_when_all_fail_the_first_reason_is_the_error(fitted, monkeypatch):
    stop_after(monkeypatch, 0, ForecasterError("It diverged."))
    with pytest.raises(ForecasterError, match="It diverged"):
        comparison()
    with pytest.raises(InvalidInputError, match="does not divide"):
        comparison({"bad": {"segment": 5}, "worse": {"segment": 7}})


def test_the_table_of_people(fitted, workspace):
    words = ["compare", "--workspace", workspace, *FLAGS, "--seeds"]
    assert run(*words, "2")[1].startswith("Mean ±standard deviation over 2 seeds, on 8 held-out")
    code, text = run(*words, "1")
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == ("One seed, on 8 held-out folds; at most 12 epochs:")
    assert lines[1].split()[:3] == ["model", "parameters", "lookback"]
    assert [line.split()[0] for line in lines[2:8]] == [
        *("rnn", "lstm", "gru"),
        *("naive", "seasonal_naive", "drift"),
    ]
    assert "One seed says nothing about luck" in text
    assert lines[-1].endswith("corrected for 6 pairs (Holm).")


def test_every_option_of_the_command_is_read(fitted, workspace, tmp_path):
    words = ["compare", "--workspace", workspace, *FLAGS, "--json", "b"]
    document = json.loads(
        run(*words, "--seeds", "1", "--cells", "gru", "--presets", "segment,classic")[1]
    )
    assert document["means"].keys() == {"gru segment", "gru classic"}
    output = tmp_path / "o.parquet"
    plot = tmp_path / "o.svg"
    document = json.loads(
        run(*words, "--seeds", "2", "--candidate", "dropout=0", "--output", output, "--plot", plot)[
            1
        ]
    )
    assert document["means"].keys() == {"dropout=0"}
    assert document["configs"]["dropout=0"]["network"]["dropout"] == [0.0]
    assert (document["output"], document["plot"]) == (str(output), str(plot))
    assert pd.read_parquet(output)["seed"].tolist() == [1, 2]
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (0.64032, 0.0123, "0.6403 ±0.012"),
        (58947.2, 112.3, "58,947 ±112"),
        (1.5, math.nan, "1.5"),
        (math.nan, math.nan, "-"),
        (1e12, 1.0, "1e+12 ±1"),
    ],
)
def test_figures_are_readable(mean, spread, text):
    assert with_spread(mean, spread) == text


def test_the_legend_names_every_candidate_in_order_of_accuracy(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(costs, "save_figure", lambda figure, _: figures.append(figure))
    means = {
        name: {"training_seconds": 9.0 + size, "mase": size}
        for size, name in enumerate(("a", "b", "a=$x^$"))
    }
    spreads = {name: {"training_seconds": math.nan, "mase": 0.1} for name in means}
    costs.plot_costs(means, spreads, {"theta": 0.9}, tmp_path / "o.png")
    (figure,) = figures
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*means, "theta"]
    figure.canvas.draw()  # nothing of a name is read as a formula


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--presets", "auto"], 2),
        (["--cells", ""], 2),
        (["--seeds", "0"], 2),
        (["--output", "-"], 2),
        (["--output", "o.xlsx"], 5),
        (["--plot", "o.gif"], 5),
        (["--candidate", "lstm"], 5),
        (["nothing"], 4),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(words, code, workspace, fitted, capsys):
    assert run("compare", "--workspace", workspace, *words)[0] == code
    assert fitted == []
