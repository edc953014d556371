"""Permutation importance: the planted driver is found, and what does nothing is not."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, inspecting
from forecaster.cli import app
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.explaining import Inputs, Part, _donors, explain, parts_of
from forecaster.runtime import Network

pytestmark = pytest.mark.xdist_group("retrain")

LAG = 5  # of the driver, and of the target itself
DRIVEN = QUICK | {
    "horizon": 1,
    "segment": 1,
    "lookback": 8,
    "layers": (16,),
    "skip": "linear",
    "skip_lag": LAG,
    "series_vectors": True,
    "calendar_features": True,
    "normalise": "none",
    "shrink": False,
    "epochs": 4,
    "learning_rate": 0.02,
    "val_size": 60,
    "test_size": 60,
    "step_size": 60,
    "folds": None,
    "refit_all": False,
    "covariates": ("noise",),
    "future": ("price",),
    "static": ("floor",),
    "transform": "none",
}


def driven(*ids, rows=320):
    """The value follows its own fifth lag and today's price; `noise` and `floor` do nothing."""
    random, pieces = np.random.default_rng(2), []
    for number, uid in enumerate(ids):
        price, own = random.normal(size=(2, rows))
        for row in range(LAG, rows):
            own[row] = 0.9 * own[row - LAG] + 1.0 * price[row] + 0.1 * own[row]
        ds = pd.date_range("2024-01-01", periods=rows, freq="D")
        columns = {"price": price, "noise": random.normal(size=rows), "floor": float(number)}
        pieces.append(pd.DataFrame({"unique_id": uid, "ds": ds, "y": own, **columns}))
    return pd.concat(pieces, ignore_index=True)


@cache
def fitted():
    return Forecaster(**DRIVEN).fit(driven("a", "b"))


def explained(*ids, **options):
    forecaster = fitted()
    panel = forecaster.evaluated.panel.select(ids)
    return explain(forecaster.model, forecaster.judged, panel, **options)


def test_the_planted_drivers_are_found_and_the_others_are_not():
    found = explained("a", "b")
    table = found.parts.set_index("part")
    assert set(table.index[:2]) == {"price", f"lag {LAG}"}
    assert table["mase_rise"].is_monotonic_decreasing
    idle = table.drop(index=["price", f"lag {LAG}"])["mase_rise"]
    assert table["mase_rise"].iloc[1] > 4 * idle.max()
    assert (table["share"] == table["mase_rise"] / found.mase).all()
    assert table["kind"].to_dict() == {
        **{f"lag {lag}": "lags" for lag in range(1, 9)},
        **{"price": "future", "noise": "past", "floor": "static"},
        **{"calendar": "calendar", "series": "series"},
    }
    assert found.windows == 2 * 120  # validation and test, a window each row


def test_the_same_seed_gives_the_same_table_and_repeats_count():
    one, again = (explained("a", "b", repeats=2).parts for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    other = explained("a", "b", repeats=2, seed=9).parts
    assert not one["mase_rise"].equals(other["mase_rise"])
    assert (explained("a", "b", repeats=1).parts["mase_spread"] == 0).all()


def test_lags_are_shuffled_in_blocks():
    table = explained("a", "b", block=3, repeats=1).parts
    assert set(table["part"]) >= {"lags 1-3", "lags 4-6", "lags 7-8"}
    lags = table[table["kind"] == "lags"]
    assert lags["part"].iloc[0] == "lags 4-6"
    with pytest.raises(InvalidInputError, match="--block 9 is longer than the context of 8 steps"):
        explained("a", "b", block=9)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_what_tells_series_apart_is_always_taken_from_another_one(count):
    series = np.repeat(np.arange(count), 4)
    for seed in range(20):
        donors = _donors(series, Part("floor", "static"), np.random.default_rng(seed))
        assert (series[donors] != series).all()
        assert set(series[donors]) == set(series)  # each gives once


def test_what_is_the_same_in_all_windows_is_not_shuffled():
    found = explained("a", repeats=1)
    assert found.left_out == ("floor", "series")
    assert "floor" not in set(found.parts["part"])


def test_lags_are_cut_by_segments_or_seasons_into_a_dozen_blocks_at_most():
    def blocks(lookback, **settings):
        config, shape = Config.of(**settings), (1, lookback, 1)
        inputs = Inputs(np.zeros(shape), None, np.zeros(1), None, np.ones(1))
        return [part.name for part in parts_of(config, fitted().model.scaling, inputs, None)][:-1]

    assert blocks(6, segment=3) == ["lags 1-3", "lags 4-6"]
    assert blocks(6, segment=1, season_length=4) == ["lags 1-4", "lags 5-6"]
    assert blocks(3, segment=1, season_length=4) == ["lag 1", "lag 2", "lag 3"]
    assert blocks(100, segment=4)[:2] == ["lags 1-12", "lags 13-24"]


def test_the_network_is_only_shown_windows_that_did_not_train_it(monkeypatch):
    forecaster = fitted()
    shown, call = [], Network.__call__

    def watched(self, context, *others):
        shown.append(len(context))
        return call(self, context, *others)

    monkeypatch.setattr(Network, "__call__", watched)
    explained("a", "b", repeats=1)
    assert set(shown) == {240}
    judged = forecaster.judged
    panel = forecaster.evaluated.panel.head(np.array([200, 200]))
    with pytest.raises(InvalidInputError, match="needs 2 windows that the network was not trained"):
        explain(forecaster.model, judged, panel)


def run(folder, capsys, *words, code=0):
    capsys.readouterr()
    assert app.run(["explain", "--name", "air", "--workspace", str(folder), *words]) == code
    return capsys.readouterr()


def test_the_command_prints_writes_and_draws(first, tmp_path, capsys):
    target, plot = tmp_path / "importance.csv", tmp_path / "importance.png"
    words = ("--repeats", "2", "--output", str(target), "--plot", str(plot))
    said = run(first[0], capsys, *words)
    assert "on 42 windows that it was not trained on" in said.out
    assert "share their importance" in said.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(target)
    document = json.loads(run(first[0], capsys, *words[:2], "--json").out)
    assert [part["part"] for part in document["parts"]] == table["part"].tolist()
    assert (document["repeats"], document["windows"]) == (2, 42)
    one = json.loads(run(first[0], capsys, "a", "--block", "8", "--seed", "3", "--json").out)
    assert one["windows"] == 21
    assert {part["part"] for part in one["parts"]} == {"lags 1-8", "lags 9-16"}


def test_the_command_explains_by_a_file(first, tmp_path, capsys):
    """Of a series that is new, the first context of 16 rows stands for what trained."""
    frame_of("new", rows=60).to_csv(tmp_path / "new.csv", index=False)
    said = run(first[0], capsys, "--data", str(tmp_path / "new.csv"), "--repeats", "1")
    assert f"on {60 - 16 - 4 + 1} windows that it was not trained on" in said.out
    assert "never seen new: scaled by their own rows" in said.err
    assert "too few" not in said.err
    frame_of("new", rows=24).to_csv(tmp_path / "few.csv", index=False)
    said = run(first[0], capsys, "--data", str(tmp_path / "few.csv"), "--repeats", "1")
    assert "5 windows are too few to tell importance from luck: 8 are needed" in said.err
    frame_of("a", rows=140).to_csv(tmp_path / "a.csv", index=False)
    known = json.loads(run(first[0], capsys, "--data", str(tmp_path / "a.csv"), "--json").out)
    stored = json.loads(run(first[0], capsys, "a", "--json").out)
    assert known["windows"] == stored["windows"] + 140 - 120  # the rows that came since


def test_it_says_when_nothing_that_was_learnt_is_left_to_explain(first, monkeypatch, capsys):
    load = inspecting.judged_model

    def said_of(kept):
        def judged_model(folder):
            model, judged = load(folder)
            members = tuple(replace(member, shrinkage=kept) for member in model.trained.members)
            return replace(model, trained=replace(model.trained, members=members)), judged

        monkeypatch.setattr(inspecting, "judged_model", judged_model)
        return run(first[0], capsys, "--repeats", "1", "--block", "16").err

    assert "Nothing that the network learnt" not in said_of(1.0)
    assert "Nothing that the network learnt was kept" in said_of(0.0)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--version", "2020"), 4, "has no version '2020'"),
        (("nobody",), 4, "was not trained on 'nobody'"),
        (("--block", "17"), 5, "--block 17 is longer"),
        (("--plot", "odd.txt"), 5, "A plot is .png"),
        (("--target", "y"), 2, "describe the FILE of --data"),
    ],
)
def test_the_command_says_what_it_cannot_do(first, capsys, words, code, message):
    said = run(first[0], capsys, *words, code=code)
    assert message in said.err
    assert said.out == ""
