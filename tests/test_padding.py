"""Series shorter than a context: their first season stands in before their start."""

import functools

import numpy as np
import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, presets, splits
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.series import prepare

SHORT = {**QUICK, "folds": 1, "min_context": 8, "epochs": 2, "dropout": 0.0}


def mixed(short=20):
    frame = frame_of("long", "short", rows=160)
    return frame[(frame["unique_id"] == "long") | (frame.groupby("unique_id").cumcount() < short)]


@functools.cache
def fitted():
    return Forecaster(**SHORT).fit(mixed())


@pytest.mark.slow  # trains several networks
def test_a_short_series_is_trained_on_and_forecast():
    table = fitted().predict()
    assert table.groupby("unique_id").size().to_dict() == {"long": 4, "short": 4}
    assert np.isfinite(table["gru"]).all()
    # Judged: 160 - 20 held out - 8 - 4 + 1 windows of the long series, 20 - 8 - 4 + 1 of the short.
    judged = fitted().evaluated.backtest.models[-1].trained.windows
    assert judged == 129 + 9
    assert fitted().model.trained.windows == 149 + 9
    assert {
        row[0] for row in fitted().evaluated.backtest.folds.to_frame()[["unique_id"]].values
    } == {"long"}


def test_what_is_left_out_of_the_judgement_is_told():
    [notice] = [line for line in fitted().evaluated.panel.notices if "not tested" in line]
    assert "1 of 2 series has less than 32 rows" in notice


@pytest.mark.slow  # trains several networks
def test_a_context_goes_on_backwards_with_the_first_season():
    frame = mixed(short=12)
    short = frame[frame["unique_id"] == "short"]
    before = pd.concat([short.iloc[4:8], short.iloc[:8], short.iloc[8:]])
    ds = pd.date_range(end=short["ds"].iloc[-1], periods=len(before), freq="D")
    whole = fitted().predict(frame=before.assign(ds=ds))
    np.testing.assert_allclose(fitted().predict(frame=short)["gru"], whole["gru"], rtol=1e-5)


def test_fewer_rows_than_the_least_context_are_refused():
    short = mixed(short=7)
    with pytest.raises(InvalidInputError, match=r"'short' needs at least 8 rows \(min_context\)"):
        fitted().predict(frame=short[short["unique_id"] == "short"])


def test_the_preset_asks_for_less_context_only_where_series_are_short():
    asked = Config.of(season_length=8, horizon=4)
    alike = presets.resolve(asked, prepare(frame_of("a", "b", rows=80), asked.data)).network
    assert alike.min_context == alike.lookback
    panel = prepare(mixed(short=24), asked.data)
    config = presets.resolve(asked, panel)
    assert config.network.min_context == 8 < config.network.lookback
    assert splits.are_tested(panel, config).tolist() == [True, False]


def test_a_short_series_tells_nothing_of_the_time_that_others_are_judged_on():
    """Both end on the same day: only the rows before the validation of the long one train."""
    long, short = frame_of("long", rows=160), frame_of("short", rows=160).iloc[-30:]
    panel = prepare(pd.concat([long, short]), Config().data)
    config = presets.resolve(Config.of(**SHORT), panel)
    parts = splits.of_config(panel, config)
    assert parts.train_stop.tolist() == [140, 10]
    assert panel.ds[parts.train_stop[0]] == panel.ds[160 + 10]
    assert (splits.val_cutoffs(panel, parts, 8, 4) < 160).all()
    assert (splits.cutoffs_since(panel, parts.val_start, 8, 4) < 160).all()
    fitted = Forecaster(**SHORT, refit_all=False, transform="none").fit(pd.concat([long, short]))
    assert fitted.model.scaling.center[1] == pytest.approx(
        short["y"].mean()
    )  # nothing else uses it
    table = fitted.predict()
    found = table.loc[table["unique_id"] == "short", "gru"]
    assert found.between(short["y"].min() - 1, short["y"].max() + 1).all()


def test_a_least_context_above_the_lookback_is_refused():
    with pytest.raises(InvalidInputError, match="min_context 17 is more than lookback 16"):
        Forecaster(**{**SHORT, "min_context": 17}).fit(mixed())
