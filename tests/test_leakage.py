"""No value after a cutoff reaches anything that is fitted or forecast before it."""

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import presets, scaling, splits, training
from forecaster.config import Config
from forecaster.series import prepare

SETTINGS = [
    {"transform": "auto", "scaler": "standard"},
    {"transform": "log", "scaler": "minmax", "calendar_features": True, "fallback": "baseline"},
    {
        "transform": "diff",
        "scaler": "robust",
        "normalise": "revin",
        "decoder": "recurrent",
        "teacher_forcing": 0.5,
        "segment": 2,
        "direction": True,
    },
    {
        "transform": "none",
        "scaler": "none",
        "covariates": ("rain",),
        "padding": "mask",
        "min_context": 8,
    },
    {
        "transform": "auto",
        "covariates": ("rain",),
        "available_after": {"rain": "3d"},
        "future": ("plan",),
        "static": ("town",),
        "holidays": "US",
    },
    {"transform": "log", "covariates": ("rain",), "future": ("plan",), "joint": True},
]
ROWS, TEST, GAP = 160, 24, 3


def poisoned(frame, keep, columns=("y", "rain", "plan")):
    """Replace every value, and every covariate, of the rows from `keep` on by nonsense."""
    frame = frame.copy()
    late = frame.groupby("unique_id").cumcount() >= keep
    random = np.random.default_rng(9)
    frame.loc[late, list(columns)] = random.uniform(1e3, 1e6, (int(late.sum()), len(columns)))
    return frame


def made():
    frame = frame_of("a", "b", rows=ROWS)
    random = np.random.default_rng(3)
    rain, plan = random.normal(size=(2, len(frame)))
    return frame.assign(rain=rain, plan=plan, town=frame["unique_id"])


def fit(frame, settings):
    config = Config.of(**QUICK | {"deterministic": True, "folds": None} | settings)
    config = config.replace(test_size=TEST, gap=GAP)
    panel = prepare(frame, config.data)
    config = presets.resolve(config, panel)
    parts = splits.split(panel, val_size=config.training.val_size, test_size=TEST, gap=GAP)
    return panel, parts, training.fit(panel, config, parts)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s["transform"])
def test_rows_after_the_cutoff_change_nothing(settings):
    cutoff = ROWS - TEST - 1  # the last row that the first fold may see
    clean_panel, parts, clean = fit(made(), settings)
    dirty_panel, _, dirty = fit(poisoned(made(), cutoff + 1 - GAP), settings)
    for name in scaling.ARRAYS:
        np.testing.assert_array_equal(getattr(clean.scaling, name), getattr(dirty.scaling, name))
    assert clean.config == dirty.config
    assert clean.graph == dirty.graph
    np.testing.assert_array_equal(clean.conformal.scores, dirty.conformal.scores)
    assert (clean.fallback and clean.fallback.chosen) == (dirty.fallback and dirty.fallback.chosen)
    assert clean.chances == dirty.chances
    # The rows of the gap may be seen by a context, so the forecasts compare from the cutoff on;
    # what is known ahead may be seen there.
    dirty_panel = prepare(poisoned(made(), cutoff + 1, ("y", "rain")), clean.config.data)
    cutoffs = splits.test_cutoffs(clean_panel, parts, 16, 4, step=1, folds=1)
    before, after = clean.forecast(clean_panel, cutoffs), dirty.forecast(dirty_panel, cutoffs)
    np.testing.assert_array_equal(before.levels, after.levels)
    if settings.get("direction"):
        np.testing.assert_array_equal(before.up, after.up)


def test_scalers_see_train_rows_only_and_validation_none():
    panel, parts, model = fit(made(), {"transform": "none", "scaler": "standard"})
    train = panel.y[: parts.train_stop[0]]
    assert model.scaling.center[0] == pytest.approx(train.mean())
    assert model.scaling.scale[0] == pytest.approx(train.std())


def test_what_all_series_share_is_not_learnt_from_a_late_short_one():
    """A series too short for a window is scaled by all its rows; they lie after the others' cutoff."""
    whole = frame_of("a", season=ROWS, noise=0, rows=ROWS)  # so smooth that others bound its unit
    late = pd.concat([whole.tail(18).assign(unique_id=uid) for uid in ("b", "c")])
    shared = []
    for noise in (0.0, 1e6):
        y = 8 + noise * np.random.default_rng(1).normal(size=len(late))
        frame = pd.concat([whole, late.assign(y=y)])
        settings = {"deterministic": True, "loss": "mase", "direction": True, "transform": "none"}
        config = Config.of(**QUICK | settings | {"epochs": 1, "series_vectors": False})
        panel = prepare(frame, config.data)
        config = presets.resolve(config, panel)
        shared.append(training.fit(panel, config, splits.of_config(panel, config)))
    clean, dirty = shared
    assert (clean.scaling.scale != dirty.scaling.scale).tolist() == [False, True, True]
    assert clean.chances == dirty.chances
    assert clean.graph == dirty.graph


def test_poison_inside_training_does_change_the_model():
    """The test above would pass for a model that reads nothing; this one would not."""
    _, _, clean = fit(made(), SETTINGS[0])
    _, _, dirty = fit(poisoned(made(), 60), SETTINGS[0])
    assert clean.graph != dirty.graph


def test_a_refit_backtest_never_fits_on_its_own_fold():
    from forecaster.api import evaluate

    settings = QUICK | {"deterministic": True, "refit": "each", "folds": 2, "epochs": 2}
    clean = evaluate(made(), Config.of(**settings)).backtest
    dirty = evaluate(poisoned(made(), ROWS - 4), Config.of(**settings)).backtest
    first = clean.folds.fold == 0
    name = clean.folds.name
    assert clean.models[0].graph == dirty.models[0].graph
    assert clean.models[1].graph == dirty.models[1].graph  # fold 1 forecasts the last 4 rows
    np.testing.assert_array_equal(
        clean.folds.forecasts[name][first], dirty.folds.forecasts[name][first]
    )
    assert not np.array_equal(clean.folds.y[~first], dirty.folds.y[~first])
