"""Series and settings that do not go together: each is said, and nothing comes out as NaN."""

import numpy as np
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster


def made():
    frame = frame_of("good", "late", "neg", "short", "zero")
    place = frame.groupby("unique_id").cumcount()
    frame.loc[frame["unique_id"] == "neg", "y"] -= 11
    frame.loc[frame["unique_id"] == "zero", "y"] = 0.0
    frame.loc[(frame["unique_id"] == "late") & (place == 157), "y"] = 0.0  # in the last fold
    return frame[(frame["unique_id"] != "short") | (place < 12)]


@pytest.fixture(scope="module")
def fitted():
    settings = {"transform": "log", "season_length": 155, "val_size": 2, "refit_all": False}
    settings |= {"epochs": 1, "fallback": "baseline", "level": (50, 99)}
    return Forecaster(**QUICK | settings).fit(made())


@pytest.mark.parametrize(
    "said",
    [
        "1 series never changes and was kept: zero.",
        "val_size 2 holds no window of horizon 4: 4 rows of each series validate.",
        "The season of 155 steps is longer than what 4 of 4 series have before the rows held out",
        "2 of 4 series ('neg', 'zero') have values of zero or less and are forecast without the",
        "1 of 4 series ('late') are forecast as logarithms, which their values of zero or less do",
    ],
)
def test_training_says_what_it_does_instead(fitted, said):
    assert [notice for notice in fitted.evaluated.panel.notices if notice.startswith(said)]


def test_a_series_without_a_window_is_skipped_with_its_reason(fitted):
    skipped = fitted.evaluated.panel.skipped
    assert skipped == {"short": "needs at least 20 rows (min_context 16 + horizon 4) but has 12"}


def test_too_few_windows_to_calibrate_are_said(fitted):
    notices = fitted.prediction().notices
    said = (
        "Of the series that naive forecasts: Intervals at 99% need more than 1 calibration window: "
        "the largest error seen stands in."
    )
    assert said in notices


@pytest.mark.parametrize("horizon", [4, 11])
def test_no_number_is_missing(fitted, horizon):
    table = fitted.predict(horizon)
    assert len(table) == 4 * horizon
    assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    assert (table.loc[table["unique_id"] == "zero"].filter(like="gru") == 0).all(axis=None)
    folds = fitted.evaluated.backtest.folds.to_frame()
    assert np.isfinite(folds.select_dtypes("number")).all(axis=None)
