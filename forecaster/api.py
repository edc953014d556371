"""The whole job in Python: `Forecaster` and `backtest`, over long frames.

The command line is a thin layer over this module.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from forecaster import joint, judging, presets, series, splits, statistical
from forecaster.bounds import outside_notice, unknown_notice
from forecaster.calendars import default_horizon
from forecaster.config import Config
from forecaster.continuing import Earlier, Judged
from forecaster.errors import InvalidInputError
from forecaster.model import Fit, Model
from forecaster.predicting import Prediction, predict
from forecaster.statistical import OnWindow
from forecaster.windows import spread
from forecaster.words import of_series

if TYPE_CHECKING:
    from collections.abc import Callable

    from forecaster.arrays import Ints
    from forecaster.backtesting import Backtest
    from forecaster.planning import OnEpoch, Progress
    from forecaster.selecting import Selection
    from forecaster.series import Panel


MADE_UP = 0.2  # share of the test rows: more say little of what would have come
REHEARSED_WINDOWS = 300  # if they were independent, these would cover 95% to 1.3 points
COMPARED_WINDOWS = 4096  # by whose widths intervals are carried over to the published network
ABOUT = (
    "selection",
    "warm_start",
    "data",
    "fitted",
    "judged",
    "judgement",
)  # what a manifest says besides the model


class Forecaster:
    """A recurrent network that is fitted on a long frame and forecasts it.

    Args:
        **settings: Any setting of `Config` by its name: `preset`, `cell`, `layers`, `lookback`,
            `horizon`, `epochs`, `seed` ...

    Attributes:
        settings: As asked; each `fit` resolves them anew.

    Raises:
        InvalidInputError: An unknown setting or a value that is not allowed.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = Config.of(**settings)
        self._model: Model | None = None
        self._evaluated: Evaluated | None = None
        self._judged: Judged | None = None
        self._about: dict[str, Any] = {}
        self._version = "(not saved)"

    @classmethod
    def of(cls, settings: Config) -> Forecaster:
        """Make a forecaster of settings that are already checked."""
        forecaster = cls()
        forecaster.settings = settings
        return forecaster

    @property
    def config(self) -> Config:
        """The settings in force: of the model once there is one, all of them resolved."""
        return self.settings if self._model is None else self._model.config

    def __repr__(self) -> str:
        verdict = self.about.get("judgement", {}).get("verdict", "not fitted")
        network = self.config.network
        return f"Forecaster({network.cell}, horizon={network.horizon}): {verdict}"

    @property
    def model(self) -> Model:
        """The trained model.

        Raises:
            InvalidInputError: Neither `fit` nor `load` was called.
        """
        if self._model is None:
            raise InvalidInputError("There is no trained model yet.", "Call fit(frame) first.")
        return self._model

    def fit(
        self,
        frame: pd.DataFrame,
        on_epoch: OnEpoch = lambda _: None,
        *,
        on_window: OnWindow = statistical.silent,
        warm_start: Forecaster | str | Path | None = None,
    ) -> Self:
        """Train on a long frame and judge the model on its last folds, which it has not seen.

        Args:
            frame: Columns `unique_id, ds, y` and any covariates; rows after the last value of a
                series hold what is known ahead (`future`), for `predict`.
            on_epoch: Called after each epoch.
            on_window: Called after each window that Theta or ETS is fitted to.
            warm_start: A fitted or saved model to continue from: its weights, its scalers and all
                settings of its network.

        Raises:
            InvalidInputError: Data or settings that cannot be used; rows held out that the model
                to continue has seen.
            QualityGateError: Skill is required and there is none; `evaluated` says why.
        """
        earlier = None if warm_start is None else _earlier(warm_start)
        settings = self.settings if earlier is None else earlier.settings(self.settings)
        self._evaluated = evaluate(
            frame, settings.replace(refit="never"), on_epoch, on_window, earlier
        )
        self._model, self._judged, self._about = None, None, {}
        if self.settings.evaluation.require_skill:
            judging.require_skill(self._evaluated.backtest.judgement)
        judged = self._evaluated.backtest.models[-1]
        again = self.settings.training.refit_all
        model = _refitted(self._evaluated, judged, on_epoch) if again else judged
        self._about = _about(self._evaluated)
        self._model = replace(model, seen_to=self._about["data"]["last"])
        self._judged = _judged(self._evaluated)
        return self

    @property
    def judged(self) -> Judged | None:
        """The judged model, which a warm start continues from; None when it was not stored."""
        return self._judged

    @property
    def evaluated(self) -> Evaluated:
        """The series of `fit` and how the model did on their held-out folds.

        Raises:
            InvalidInputError: `fit` was not called.
        """
        if self._evaluated is None:
            raise InvalidInputError("Nothing was judged yet.", "Call fit(frame) first.")
        return self._evaluated

    def predict(
        self,
        horizon: int | None = None,
        *,
        frame: pd.DataFrame | None = None,
        level: tuple[float, ...] | None = None,
    ) -> pd.DataFrame:
        """Forecast from the last row of each series.

        Args:
            horizon: Steps; the trained ones when None.
            frame: Series to forecast, known or new; those of `fit` when None. Rows after the last
                value of a series hold what is known ahead (`future`).
            level: Interval levels in percent.

        Returns:
            `unique_id, ds, cutoff, <cell>, <cell>-lo-80, ...`.
        """
        table = self.prediction(horizon, frame=frame, level=level).frame
        return table.drop(columns="model_version")

    def prediction(
        self,
        horizon: int | None = None,
        *,
        frame: pd.DataFrame | None = None,
        level: tuple[float, ...] | None = None,
    ) -> Prediction:
        """Forecast as `predict` does, with notices and the series that were skipped."""
        config = self.model.config if level is None else self.model.config.replace(level=level)
        if frame is not None:
            panel = series.prepare(frame, config.data)
        elif self._evaluated is not None:
            panel = self._evaluated.panel
        else:
            raise InvalidInputError(
                "A loaded model holds no series.", "Give them: predict(frame=...)."
            )
        asked = config.prediction
        return predict(
            self.model,
            panel,
            horizon=horizon,
            level=asked.level,
            adaptive=asked.adaptive_intervals,
            max_age=asked.max_age,
        )

    def keras_networks(self) -> list[Any]:
        """Build the `keras.Model` of each network of the ensemble again, with its weights."""
        from forecaster.weights import networks_of

        return networks_of(self.model)

    def save(self, path: str | Path) -> None:
        """Write the model as a folder, which must not exist yet."""
        from forecaster import artifacts

        artifacts.save(self.model, Path(path), self.about, self.judged)

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of the data, the rows fitted and the judgement."""
        return self._about

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read a saved model, checked against damage.

        Raises:
            NotFoundError: There is no such folder.
            DamagedError: It is not what was written.
        """
        from forecaster import artifacts
        from forecaster.manifest import read_manifest

        model, manifest = artifacts.load(Path(path)), read_manifest(Path(path))
        forecaster = cls.of(model.config.replace(test_size=None))
        forecaster._model, forecaster._judged = model, artifacts.load_judged(Path(path))
        forecaster._version = str(manifest.get("version", Path(path).name))
        forecaster._about = {key: manifest[key] for key in ABOUT if key in manifest}
        return forecaster


@dataclass(frozen=True)
class Evaluated:
    """Series made regular, the settings resolved for them, and what the backtest found."""

    panel: Panel
    config: Config
    backtest: Backtest
    selection: Selection | None = None
    earlier: Earlier | None = None


def backtest(
    frame: pd.DataFrame, *, on_epoch: OnEpoch = lambda _: None, **settings: Any
) -> Backtest:
    """Judge settings over a rolling origin.

    Args:
        frame: Columns `unique_id, ds, y` and any covariates.
        on_epoch: Called after each epoch of each fit.
        **settings: As for `Forecaster`; `folds`, `test_size`, `step_size`, `gap` and `refit` say
            how it is judged.

    Returns:
        Folds (`.folds.to_frame()` has every forecast), scores and verdict (`.judgement`).

    Raises:
        QualityGateError: `require_skill` is asked for and there is none.
    """
    config = Config.of(**settings).replace(refit_all=False)
    found = evaluate(frame, config, on_epoch).backtest
    if config.evaluation.require_skill:
        judging.require_skill(found.judgement)
    return found


def evaluate(
    frame: pd.DataFrame,
    config: Config,
    on_epoch: OnEpoch = lambda _: None,
    on_window: OnWindow = statistical.silent,
    earlier: Earlier | None = None,
) -> Evaluated:
    """Make a long frame regular, resolve the settings for it, and judge them on its last folds.

    Series without room for one training window and the rows held out are skipped and listed, or
    refused, as the settings say. With an earlier version to continue from, nothing is compared: the
    settings are its own.
    """
    from forecaster import backtesting, training
    from forecaster.selecting import select

    panel, resolved = prepared(frame, config)
    start = None
    if earlier is not None:
        if resolved.network.joint:
            joint.require_series(earlier.model.scaling.ids, panel)
        earlier.require_unseen(panel, splits.of_config(panel, resolved))
        start = earlier.judged.start
    fit = partial(training.fit, on_epoch=on_epoch, start=start, on_window=on_window)

    def fit_of(candidate: str) -> Fit:
        return partial(fit, on_epoch=partial(_staged, on_epoch, candidate))

    selection = None if earlier else select(panel, config, resolved, fit_of)
    chosen = resolved if selection is None else selection.config
    left = 1.0 if selection is None else selection.budget_left
    fit = partial(fit, share=left / len(backtesting.fits_of(chosen)))
    backtest = backtesting.backtest(panel, chosen, fit, on_window)
    panel = replace(panel, notices=(*panel.notices, *backtest.models[-1].notices(panel)))
    return Evaluated(panel, chosen, backtest, selection, earlier)


def _staged(on_epoch: OnEpoch, stage: str, progress: Progress) -> None:
    """Say what is trained, where it is not the network that is judged."""
    on_epoch(replace(progress, stage=stage))


def prepared(frame: pd.DataFrame, config: Config) -> tuple[Panel, Config]:
    """Return a long frame made regular, without series that are too short, and settings for it."""
    presets.check_asked(config)
    panel = series.prepare(frame, config.data)
    resolved = presets.resolve(config, panel)
    return with_notices(_long_enough(panel, resolved), config, resolved), resolved


def panel_of(frame: pd.DataFrame, config: Config) -> Panel:
    """Return the panel that a version of these resolved settings was, or would be, trained on."""
    return _long_enough(series.prepare(frame, config.data), config)


def _earlier(warm_start: Forecaster | str | Path) -> Earlier:
    """Return the model to continue from with what its judgement leaves unseen."""
    found = warm_start if isinstance(warm_start, Forecaster) else Forecaster.load(warm_start)
    if found.judged is None:
        raise InvalidInputError(
            f"--warm-start needs the judged weights of version {found._version!r}, which does not "
            "hold them.",
            "Train it again once without --warm-start.",
        )
    return Earlier(found._version, found.model, found.judged)


def _judged(evaluated: Evaluated) -> Judged:
    panel, earlier = evaluated.panel, evaluated.earlier
    parts = splits.of_config(panel, evaluated.config)
    return Judged.of(
        evaluated.backtest.models[-1], panel, parts, None if earlier is None else earlier.judged
    )


def _long_enough(panel: Panel, config: Config) -> Panel:
    """Keep the series with room for a window; say how many are too short to be tested."""
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    held_out = splits.rows_held_out(config)
    window, policy = f"min_context {context} + horizon {horizon}", config.data.too_short
    whole = context + horizon + held_out
    if policy == "error" or panel.lengths.max() < whole:
        return series.without_short(panel, whole, f"{window} + {held_out} held out", policy)
    panel = series.without_short(panel, context + horizon, window, policy)
    tested = splits.are_tested(panel, config)
    if tested.all():
        return panel
    notice = (
        f"{of_series(int((~tested).sum()), len(panel.ids))} less than {whole} rows ({window} "
        f"+ {held_out} held out): they are forecast, but not tested, and the judged network sees "
        "only their rows before the others' validation."
    )
    return replace(panel, notices=(*panel.notices, notice))


def with_notices(panel: Panel, asked: Config, config: Config) -> Panel:
    """Say what training will do about series and settings that do not go together."""
    notices = outside_notice(config.bounds, panel.ids, panel.y, panel.offsets)
    notices += unknown_notice(config.bounds, {*panel.ids, *panel.skipped})
    val_size = asked.training.val_size
    if val_size is not None and val_size != config.training.val_size:
        notices.append(
            f"val_size {val_size} holds no window of horizon {config.network.horizon}: "
            f"{config.training.val_size} rows of each series validate."
        )
    season, usual = int(config.data.season_length or 1), default_horizon(panel.frequency)
    if asked.network.horizon is None and int(config.network.horizon or usual) < usual:
        notices.append(
            f"The horizon is {config.network.horizon}, not {usual} as usual: a fifth of the rows that "
            "most series have. Give --horizon for another."
        )
    notices += _fallback_notice(panel, config, season)
    seen = splits.of_config(panel, config).test_start
    if short := int((seen < season).sum()):
        notices.append(
            f"The season of {season} steps is longer than what {of_series(short, len(panel.ids))} "
            "before the rows held out: there, seasonal_naive is the naive forecast and the network "
            "sees no season. Fetch more history, or give --season-length."
        )
    notices += _filled_notice(panel, seen)
    ends = panel.ds[panel.offsets[1:] - 1]
    if not (ends == ends[0]).all():
        notices.append(
            "Series end at different times: each is judged on the rows before its own end."
        )
    return replace(panel, notices=(*panel.notices, *notices))


def _filled_notice(panel: Panel, seen: Ints) -> list[str]:
    """Say that many of the rows after those that training has seen are made up, when that is so."""
    begins = panel.offsets[:-1] + seen
    parts = [panel.filled[row:end] for row, end in zip(begins, panel.offsets[1:], strict=True)]
    tested = np.concatenate(parts)
    if tested.sum() <= MADE_UP * len(tested):
        return []
    return [
        f"{tested.mean():.0%} of the rows to judge on were missing and are filled in: where that "
        "carries the last value on, naive is right. Give complete rows, or name the --frequency "
        "that they have."
    ]


def _fallback_notice(panel: Panel, config: Config, season: int) -> list[str]:
    """Say that Theta and ETS cannot stand in for the network, when that is so."""
    if config.evaluation.fallback == "none":
        return []
    context, horizon = config.context_rows, int(config.network.horizon or 0)
    windows = splits.val_cutoffs(panel, splits.of_config(panel, config), context, horizon)
    starts = panel.offsets[np.searchsorted(panel.offsets, windows, side="right") - 1]
    note = statistical.left_out(starts, windows, season)
    return [f"Fallback: {note}"] if note else []


def _refitted(evaluated: Evaluated, judged: Model, on_epoch: OnEpoch) -> Model:
    """Train again on all rows; calibrate on what the judged model, or a rehearsal, has not seen."""
    from forecaster import training

    panel, earlier = evaluated.panel, evaluated.earlier
    left = 1.0 if evaluated.selection is None else evaluated.selection.budget_left
    again = partial(training.refit, judged=judged, share=left)
    published = again(
        panel,
        start=None if earlier is None else earlier.published,
        on_epoch=partial(_staged, on_epoch, "On all rows"),
    )
    rehearse = partial(
        again,
        start=None if earlier is None else earlier.judged.start,
        on_epoch=partial(_staged, on_epoch, "Rehearsal"),
    )
    limited = judged.config.training.time_budget is not None  # which is for what is published
    return with_intervals(published, judged, panel, None if limited else rehearse)


def with_intervals(
    published: Model, judged: Model, panel: Panel, rehearse: Callable[[Panel], Model] | None = None
) -> Model:
    """Return a model that has seen all rows, with intervals calibrated on what another has not.

    What is calibrated are the widths that the other network gives: the published one's are compared
    with them. It has seen these windows, which makes its errors there too small, but a width is
    forecast from the context alone.

    Args:
        published: Trained on all rows.
        judged: Trained on the train rows.
        panel: All rows.
        rehearse: Trains on some rows as the published model was on all. Where the test windows of many
            series are enough to calibrate on, a model of the rows before them does: they follow its
            rows as what is forecast follows those of the published one.
    """
    config, horizon = judged.config, judged.horizon
    parts = splits.of_config(panel, config)
    unseen = splits.cutoffs_since(panel, parts.val_start, config.context_rows, horizon)
    tested = splits.cutoffs_since(panel, parts.test_start, config.context_rows, horizon)
    judged = judged.calibrated(panel, unseen)
    published = replace(published, fallback=judged.fallback, chances=judged.chances)
    seconds = 0.0
    many = splits.are_tested(panel, config).sum() >= presets.MANY_SERIES
    if rehearse is not None and many and len(tested) >= REHEARSED_WINDOWS:
        rehearsed = replace(rehearse(panel.head(parts.val_stop)), fallback=None)  # nothing to fit
        judged, unseen = rehearsed.calibrated(panel, tested), tested
        seconds = rehearsed.trained.seconds
    published = replace(published, trained=replace(published.trained, rehearsed=seconds))
    return published.as_wide_as(judged, panel, spread(unseen, COMPARED_WINDOWS))


def digest(panel: Panel) -> str:
    """Return a digest of series as they are trained on or forecast from."""
    found = hashlib.sha256("\0".join(panel.ids).encode())
    times = panel.ds.asi8 if isinstance(panel.ds, pd.DatetimeIndex) else panel.ds.to_numpy()
    for array in (panel.offsets, times, panel.y, panel.covariates):
        found.update(np.ascontiguousarray(array).tobytes())
    if panel.statics:  # the hashes of versions of before there were any stay true
        found.update(str([values.tolist() for values in panel.statics.values()]).encode())
    return found.hexdigest()


def data_of(panel: Panel) -> dict[str, Any]:
    """Return what a manifest says of the rows."""
    return {
        "series": len(panel.ids),
        "rows": len(panel.y),
        "filled": int(panel.filled.sum()),
        "hash": digest(panel),
        "first": str(panel.ds.min()),
        "last": str(panel.ds.max()),
        "frequency": panel.frequency,
    }


def _about(evaluated: Evaluated) -> dict[str, Any]:
    panel, config = evaluated.panel, evaluated.config
    fitted = panel
    if not config.training.refit_all:
        fitted = panel.head(splits.of_config(panel, config).train_stop)
    selection, earlier = evaluated.selection, evaluated.earlier
    return {
        "selection": None if selection is None else selection.to_dict(),
        "warm_start": None if earlier is None else earlier.to_dict(panel),
        "data": data_of(panel),
        "fitted": {"first": str(fitted.ds.min()), "last": str(fitted.ds.max())},
        "judged": evaluated.backtest.models[-1].record(),
        "judgement": evaluated.backtest.judgement.to_dict(),
    }
