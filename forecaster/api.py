"""The whole job in Python: `Forecaster` and `backtest`, over long frames.

The command line is a thin layer over this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from forecaster import joint, judging, series, splits, statistical
from forecaster.config import Config
from forecaster.continuing import Earlier, Judged
from forecaster.errors import InvalidInputError
from forecaster.model import Fit, Model
from forecaster.predicting import Prediction, predict
from forecaster.preparing import prepared
from forecaster.statistical import OnWindow

if TYPE_CHECKING:
    from forecaster.backtesting import Backtest
    from forecaster.planning import OnEpoch
    from forecaster.selecting import Selection
    from forecaster.series import Panel


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
        evaluated = evaluate(frame, settings.replace(refit="never"), on_epoch, on_window, earlier)
        if settings.evaluation.refit == "each":
            evaluated = evaluated.noting(
                "refit each is left out: one network is trained here, and judged on all folds. A "
                "backtest trains anew for each."
            )
        self._evaluated = evaluated
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
        found = predict(
            self.model,
            panel,
            horizon=horizon,
            level=asked.level,
            adaptive=asked.adaptive_intervals,
            max_age=asked.max_age,
        )
        mended = () if frame is None else panel.notices  # `fit` has said those of its own
        return replace(found, notices=(*mended, *found.notices))

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
        forecaster = cls.of(model.config.replace(folds=None))  # test_size says how many
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

    def noting(self, *notices: str) -> Evaluated:
        """Return the same with more to say of it."""
        return replace(self, panel=replace(self.panel, notices=(*self.panel.notices, *notices)))


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
    from forecaster.planning import staged
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
        return partial(fit, on_epoch=partial(staged, on_epoch, candidate))

    selection = None if earlier else select(panel, config, resolved, fit_of)
    chosen = resolved if selection is None else selection.config
    left = 1.0 if selection is None else selection.budget_left
    fit = partial(fit, share=left / len(backtesting.fits_of(chosen)))
    backtest = backtesting.backtest(panel, chosen, fit, on_window)
    notices = backtest.models[-1].notices(panel)
    return Evaluated(panel, chosen, backtest, selection, earlier).noting(*notices)


def _earlier(warm_start: Forecaster | str | Path) -> Earlier:
    """Return the model to continue from with what its judgement leaves unseen."""
    found = warm_start if isinstance(warm_start, Forecaster) else Forecaster.load(warm_start)
    if found._model is None:
        raise InvalidInputError(
            "warm_start needs a trained model, but this Forecaster has none.",
            "Call its fit(frame) first.",
        )
    if found.judged is None:
        raise InvalidInputError(
            f"--warm-start needs the judged weights of version {found._version!r}, which does not "
            "hold them.",
            "Train it again once without --warm-start.",
        )
    return Earlier(found._version, found.model, found.judged)


def _refitted(evaluated: Evaluated, judged: Model, on_epoch: OnEpoch) -> Model:
    from forecaster.refitting import refitted

    left = 1.0 if evaluated.selection is None else evaluated.selection.budget_left
    return refitted(evaluated.panel, judged, evaluated.earlier, left, on_epoch)


def _judged(evaluated: Evaluated) -> Judged:
    panel, earlier = evaluated.panel, evaluated.earlier
    parts = splits.of_config(panel, evaluated.config)
    return Judged.of(
        evaluated.backtest.models[-1], panel, parts, None if earlier is None else earlier.judged
    )


def _about(evaluated: Evaluated) -> dict[str, Any]:
    panel, config = evaluated.panel, evaluated.config
    fitted = panel
    if not config.training.refit_all:
        fitted = panel.head(splits.of_config(panel, config).train_stop)
    selection, earlier = evaluated.selection, evaluated.earlier
    return {
        "selection": None if selection is None else selection.to_dict(),
        "warm_start": None if earlier is None else earlier.to_dict(panel),
        "data": panel.about(),
        "fitted": {"first": str(fitted.ds.min()), "last": str(fitted.ds.max())},
        "judged": evaluated.backtest.models[-1].record(),
        "judgement": evaluated.backtest.judgement.to_dict(),
    }
