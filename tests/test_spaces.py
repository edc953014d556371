"""What is searched: asked for, usual, fixed; and what its values stand for."""

from __future__ import annotations

import numpy as np
import pytest
from series_made import QUICK, panel_of

from forecaster import presets, splits
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.tuning.inner import InnerFolds
from forecaster.tuning.spaces import (
    SEARCHABLE,
    USUAL,
    Choices,
    Range,
    asked_for,
    params_of,
    settings_of,
    space_of,
)

OPEN = {"preset": "segment", "horizon": 12, "season_length": 12, "folds": 1}


def searched(words=(), fixed=(), rows=400, **settings):
    asked = Config.of(**OPEN | settings)
    panel = panel_of("a", rows=rows)
    base = presets.resolve(asked, panel)
    folds = InnerFolds.of(panel, base)
    return space_of(asked_for(words), fixed, base, folds.train_rows, folds.windows)


def test_usual_values_follow_the_data():
    space = {name: str(values) for name, values in searched().items()}
    assert space == {
        "cell": "rnn,lstm,gru",
        "depth": "1..3",
        "units": "16..256",
        "lookback": "12,24,36,48,72,96,144,192",  # seasons that fit into the first inner fold
        "segment": "2,3,4,6,12",  # divide the horizon; 1 would make 192 steps of recurrence
        "dropout": "0..0.5",
        "learning_rate": "0.0001..0.01",
        "batch_size": "16,32,64,128",
        "loss": "mae,mse,huber",
    }
    assert str(searched(rows=150)["lookback"]) == "12,24,36,48"


def test_the_default_lies_in_the_usual_space():
    for settings in ({}, {"horizon": 18}, {"horizon": 13}, {"preset": "classic"}):
        base = presets.resolve(Config.of(**OPEN | settings), panel_of("a", rows=400))
        space = searched(**settings)
        assert params_of(base, space).keys() == space.keys(), settings
        again = settings_of(params_of(base, space), Config.of(**OPEN | settings), base)
        assert (
            presets.resolve(Config.of(**OPEN | settings | again), panel_of("a", rows=400)) == base
        )


def test_a_fixed_setting_is_not_searched():
    assert "cell" not in searched(fixed={"cell"})
    assert not {"depth", "units"} & searched(fixed={"layers"}).keys()
    space = searched(fixed={"lookback"}, lookback=30)
    assert "lookback" not in space
    assert str(space["segment"]) == "1,2,3,6"  # divide 30 as well as 12


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["cell=lstm"], {"cell": Choices(("lstm",))}),
        (["depth=1..2", "units=8,16"], {"depth": Range(1, 2), "units": Choices((8, 16))}),
        (["clip-norm=0.1..10"], {"clip_norm": Range(0.1, 10.0)}),
        (["skip=none,season", "shrink=on,off"], {
            "skip": Choices(("none", "season")), "shrink": Choices((True, False))}),
        (["dropout"], {"dropout": Range(0.0, 0.5)}),
        (["dilations=1,2", "l2=1e-6..1e-2"], {
            "dilations": Choices((1, 2)), "l2": Range(1e-6, 1e-2)}),
        (["cell=gru,rnn-lstm"], {"cell": Choices(("gru", "rnn-lstm"))}),
    ],
)  # fmt: skip
def test_only_what_is_named_is_searched(words, found):
    assert searched(words) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["horizon=4,8"], "'horizon' cannot be searched. These can be: depth, units"),
        (["layers=8"], "Search its parts: depth (how many layers) and units (of each)."),
        (["cel=gru"], "Did you mean 'cell'?"),
        (["cell=gru,tcn"], "network.cell"),
        (["cell=gru..lstm"], "a range runs from a number up to a larger one"),
        (["dropout=0.3..0.1"], "a range runs from a number up to a larger one"),
        (["dropout=0..2"], "training.dropout|network.dropout"),
        (["dropout=0..0.1", "dropout=0.2"], "names 'dropout' twice"),
        (["clip_norm"], "--search clip_norm needs values"),
        (["units=0,8"], "network.layers"),
        (["units="], "network.layers"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_in_words(words, said):
    with pytest.raises(InvalidInputError) as refused:
        searched(words)
    assert any(part in str(refused.value) for part in said.split("|"))


def test_fixed_and_searched_contradict_each_other():
    with pytest.raises(InvalidInputError, match="both fixed"):
        searched(["cell"], fixed={"cell"})
    with pytest.raises(InvalidInputError, match="both fixed"):
        searched(["units=8..16"], fixed={"layers"})
    with pytest.raises(InvalidInputError, match="Every setting that is usually searched is fixed"):
        searched(fixed={*USUAL, "layers"})


def test_every_searchable_setting_is_one_that_a_config_has():
    assert set(USUAL) <= set(SEARCHABLE)
    assert set(SEARCHABLE) - {"depth", "units"} <= Config().flat().keys()


def test_values_become_settings_that_keep_the_windows():
    asked = Config.of(**OPEN)
    base = presets.resolve(asked, panel_of("a", rows=400))
    assert (base.network.lookback, base.context_rows) == (36, 36)
    values = {"depth": 2, "units": 16, "lookback": 50, "segment": 6}
    assert settings_of(values, asked, base) == {
        "layers": (16, 16),
        "lookback": 48,  # cut to whole segments
        "min_context": 36,
        "segment": 6,
        "decoder": "parallel",
    }
    assert settings_of({"units": 8}, asked, base) == {"layers": (8,)}
    assert settings_of({"lookback": 24}, asked, base) == {"lookback": 24, "min_context": 24}


@pytest.mark.parametrize(
    ("rows", "gap", "wanted"), [(400, 0, None), (160, 3, None), (300, 2, 4), (3000, 0, None)]
)
def test_inner_folds_lie_before_the_test_and_forward_in_time(rows, gap, wanted):
    panel = panel_of("a", "b", rows=rows)
    base = presets.resolve(Config.of(**QUICK, gap=gap), panel)
    folds = InnerFolds.of(panel, base, wanted)
    horizon, outer = 4, splits.of_config(panel, base)
    assert folds.panel.lengths.tolist() == outer.val_stop.tolist()
    assert folds.count == (wanted or 3)
    assert len(folds.cutoffs(0)) <= 2 * 64
    assert folds.stride == (4 if rows == 3000 else 1)
    ends = trained = 0
    for fold in range(folds.count):
        parts, cutoffs = folds.parts(fold), folds.cutoffs(fold)
        rows_of_a = cutoffs[cutoffs < folds.panel.offsets[1]]
        assert (parts.val_start > parts.train_stop - 1).all()
        assert (rows_of_a + 1 >= parts.val_stop[0] + gap).all()
        assert rows_of_a[0] + 1 == parts.test_start[0]  # the first target row
        assert rows_of_a[-1] + horizon < parts.test_start[0] + folds.block
        assert (np.diff(rows_of_a) == folds.stride).all()
        assert rows_of_a[0] >= ends  # targets of different folds do not overlap
        assert parts.train_stop[0] > trained  # each fold trains on more
        ends, trained = rows_of_a[-1] + horizon, parts.train_stop[0]
    assert ends < outer.test_start[0] - gap
