"""A trained model: what a version stores, and the one way to forecast with it.

Training calibrates with it, the backtest judges it and `predict` publishes it, so all three see the
same numbers. It needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from forecaster import baselines, fallback, joint, statistical
from forecaster.arrays import Flags, Floats, Ints
from forecaster.bounds import Bounds
from forecaster.chances import Chances, ups
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.fallback import NETWORK, Fallback
from forecaster.intervals import Conformal, Distribution, Recent, calibrate, extended
from forecaster.known import input_features
from forecaster.runtime import Network
from forecaster.scaling import Scaling
from forecaster.series import Panel
from forecaster.splits import Split
from forecaster.statistical import OnWindow, silent
from forecaster.windows import contexts, rows_after, rows_known, spans


@dataclass(frozen=True)
class Member:
    """The record of one network of an ensemble.

    Attributes:
        shrinkage: Share of what the network learnt that is kept; 1 for all, 0 for none.
        history: Losses and learning rates by epoch.
    """

    seed: int
    epochs: int
    best_epoch: int
    best_val_loss: float | None
    seconds: float
    stopped_by: str
    shrinkage: float = 1.0
    history: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """The record of a fit, kept in the manifest.

    Attributes:
        rehearsed: Seconds of the rehearsal that the intervals are calibrated by; 0 without one.
    """

    windows: int
    val_windows: int
    parameters: int
    seconds: float
    compiled: bool
    device: str
    members: tuple[Member, ...]
    rehearsed: float = 0.0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Trained:
        """Read back what `Model.record` wrote."""
        members = tuple(Member(**member) for member in record["members"])
        return cls(**{**record, "members": members})


@dataclass(frozen=True)
class Forecast:
    """Forecasts of some windows, on every scale.

    Attributes:
        series: Place of each window's series in the panel `(window,)`.
        levels: Forecast levels, the point and the quantiles `(window, horizon, 1 + quantile)`.
        quantiles: Between 0 and 1, one for each of the last axis but the point.
        scaling: State aligned with the panel.
        places: Place of each window's series among those trained on, -1 for a new one `(window,)`.
        sources: What forecasts each window: a baseline by its name, or `NETWORK` `(window,)`.
        conformal: Calibrated scores of each source.
        within: What values and intervals of the panel's series keep within.
        still: Windows of series that have never changed, which are forecast to stay as they are
            `(window,)`: that they do says nothing of the errors of others.
        notes: What to say of baselines that could not be fitted.
        up: Chance that each step is above the one before `(window, horizon)`, NaN where nothing
            says one: for baselines, and series that have never changed. None without `direction`.
        recent: Errors made since training; None where intervals are as calibrated.
    """

    series: Ints
    levels: Floats
    quantiles: tuple[float, ...]
    scaling: Scaling
    places: Ints
    sources: np.ndarray
    conformal: dict[str, Conformal]
    within: Bounds
    still: Flags
    notes: tuple[str, ...] = ()
    up: Floats | None = None
    recent: Recent | None = None

    @property
    def values(self) -> Floats:
        """Point forecasts in the units of the data `(window, horizon)`."""
        values = self.scaling.levels_to_values(self.levels[:, :, 0], self.series)
        return self.within.points(values, self.series)

    @cached_property
    def distribution(self) -> Distribution:
        """Levels as the network alone sees them spread, before calibration."""
        point, quantiles = self.levels[:, :, 0], self.levels[:, :, 1:]
        unit = self.scaling.error_unit[self.series]
        return Distribution.of(point, quantiles, self.quantiles, unit)

    @property
    def used(self) -> dict[str, Conformal]:
        """Calibrated scores of the sources that these windows have."""
        return {source: self.conformal[source] for source in dict.fromkeys(self.sources.tolist())}

    def named_sources(self, network: str) -> np.ndarray:
        """Name what forecasts each window, the network by the name given `(window,)`."""
        return np.where(self.sources == NETWORK, network, self.sources)

    def bounds(self, level: float) -> tuple[Floats, Floats]:
        """Lower and upper bound at a level in percent, each `(window, horizon)`."""
        horizon = self.levels.shape[1]
        reach = np.empty((len(self.series), horizon))
        for source, conformal in self.used.items():
            windows = self.sources == source
            stretch = conformal.stretches(self.places[windows])
            if self.recent is None or not conformal.windows:
                deviates = conformal.deviates(level, horizon)
            else:
                deviates = extended(self.recent.deviates(level, conformal, windows), horizon)
            reach[windows] = stretch[:, None] * deviates
        low, high = (
            self.scaling.levels_to_values(self.distribution.at(sign * reach), self.series)
            for sign in (-1, 1)
        )
        return self.within.lows(low, self.series), self.within.highs(high, self.series)


@dataclass(frozen=True)
class Model:
    """Everything that forecasting needs.

    Attributes:
        config: Resolved settings.
        scaling: State fitted on the train rows.
        conformal: Scores of the network on the calibration windows.
        graph: The networks of the ensemble and their median as ONNX.
        weights: The weights of all networks as an HDF5 file.
        trained: The record of the fit.
        fallback: The series that baselines forecast; None when the network forecasts all.
        chances: How the chances of the network are read; None without `direction`.
        seen_to: Time of the last row that trained or judged it, as manifests write it; None before
            that is noted.
    """

    config: Config
    scaling: Scaling
    conformal: Conformal
    graph: bytes
    weights: bytes
    trained: Trained
    fallback: Fallback | None = None
    chances: Chances | None = None
    seen_to: str | None = None

    @cached_property
    def network(self) -> Network:
        """The network in ONNX Runtime."""
        return Network(self.graph, len(self.scaling.ids) if self.config.network.joint else 1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what ONNX Runtime cannot copy: it is made again from the graph."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def with_network(self, network: Network) -> Model:
        """Return the model with another network in place of the one of its graph."""
        model = replace(self)
        vars(model)["network"] = network
        return model

    @property
    def lookback(self) -> int:
        """Rows of a context."""
        return int(self.config.network.lookback or 0)

    @property
    def horizon(self) -> int:
        """Steps that the network was trained to forecast."""
        return int(self.config.network.horizon or 0)

    def forecast(
        self, panel: Panel, cutoffs: Ints, horizon: int | None = None, known: Floats | None = None
    ) -> Forecast:
        """Forecast from any cutoffs of a panel.

        A series that has never changed, in training or since, is forecast to stay as it is.

        Args:
            panel: Regular series, with the covariates the model was trained with.
            cutoffs: Row of the last observed value of each window `(window,)`; of the rows after it
                only what is known ahead is read.
            horizon: Steps wanted; past the trained ones the forecast is rolled forward, with the
                last past covariates held.
            known: Features known ahead of the steps, in whole blocks of the trained horizon
                `(window, step, feature)`; of the panel's own rows when None.

        Raises:
            InvalidInputError: A covariate is missing, or values do not fit the transform.
        """
        forecast = self._by_network(panel, cutoffs, horizon, known)
        if self.fallback is None:
            return forecast
        return self._falling_back(self.fallback, forecast, panel, cutoffs)

    def outputs(self, panel: Panel, cutoffs: Ints) -> Floats:
        """Return what the network itself says of windows `(window, horizon, output)`.

        Args:
            panel: Regular series.
            cutoffs: Row of the last observed value of each window `(window,)`.
        """
        scaling = self.scaling.align(panel, self.config.scaling)
        return self._outputs(panel, scaling, cutoffs, None, self.horizon)

    def _by_network(
        self, panel: Panel, cutoffs: Ints, horizon: int | None, known: Floats | None = None
    ) -> Forecast:
        self._require_covariates(panel)
        if self.config.network.joint:
            joint.require_series(self.scaling.ids, panel)
        horizon = self.horizon if horizon is None else horizon
        scaling = self.scaling.align(panel, self.config.scaling)
        series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
        places = self.scaling.rows_of(panel.ids)[series]
        quantiles = tuple(self.config.network.quantiles or ())
        outputs = self._outputs(panel, scaling, cutoffs, known, horizon)
        seen = scaling.levels(panel)
        values = outputs[:, :, : 1 + len(quantiles)]
        levels = scaling.outputs_to_levels(
            values, seen[cutoffs], series, scaling.phases_ahead(panel, cutoffs, horizon)
        )
        still = scaling.never_changed(seen, panel.offsets, cutoffs, series)
        # A network is near a constant, never at it.
        levels[still] = seen[cutoffs[still], None, None]
        up = None
        if self.chances is not None:
            up = self.chances.of(outputs[:, :, -1])
            up[still] = np.nan
        return Forecast(
            series,
            levels,
            quantiles,
            scaling,
            places,
            sources=np.full(len(cutoffs), NETWORK, dtype=object),
            conformal={NETWORK: self.conformal},
            within=Bounds.of(self.config.bounds, panel.ids),
            still=still,
            up=up,
        )

    def _outputs(
        self, panel: Panel, scaling: Scaling, cutoffs: Ints, known: Floats | None, horizon: int
    ) -> Floats:
        """Run the network on windows; a joint one on those of all series, at each time once."""
        if not self.config.network.joint:
            return self._computed(panel, scaling, cutoffs, known, horizon)
        every, place = joint.of_all(cutoffs, panel.offsets)
        if known is not None:
            if len(every) != len(cutoffs):
                raise ValueError("Of a joint network, give what is known ahead of all series.")
            known = known[np.argsort(place)]
        return self._computed(panel, scaling, every, known, horizon)[place]

    def _computed(
        self, panel: Panel, scaling: Scaling, cutoffs: Ints, known: Floats | None, horizon: int
    ) -> Floats:
        """Gather contexts, a batch at a time, and run the network `(window, horizon, output)`."""
        series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
        places = self.scaling.rows_of(panel.ids)[series]
        features, of_rows = input_features(panel, scaling, self.config)
        static = scaling.static_features(panel)
        if known is None and of_rows is not None:
            _require_rows(panel, cutoffs, series, horizon)
        outputs = self.network.output_shape[1]
        result = np.empty((len(cutoffs), horizon, outputs), dtype=np.float32)

        def run(part: slice) -> None:
            starts = panel.offsets[series[part]]
            season = self.config.context_season
            context = contexts(features, cutoffs[part], self.lookback, starts, season)
            future = None if known is None else known[part]
            if known is None and of_rows is not None:
                future = of_rows[rows_after(cutoffs[part], horizon)]
            fixed = None if static is None else static[series[part]]
            length = rows_known(cutoffs[part], self.lookback, starts)
            result[part] = self._rolled(context, future, places[part], fixed, length, horizon)

        self.network.in_batches(len(cutoffs), run)
        return result

    def _falling_back(
        self, chosen: Fallback, forecast: Forecast, panel: Panel, cutoffs: Ints
    ) -> Forecast:
        """Put the baselines' forecasts in place of the network's, where they were chosen."""
        sources = chosen.of(forecast.places)
        levels, horizon = forecast.levels.copy(), forecast.levels.shape[1]
        up = None if forecast.up is None else forecast.up.copy()
        notes = []
        for name in sorted(set(sources.tolist()) - {NETWORK}):
            windows = np.flatnonzero(sources == name)
            series, ends = forecast.series[windows], cutoffs[windows]
            values, note = self._baseline(name, panel, series, ends, horizon)
            notes += [note] if note else []
            if up is not None:
                up[windows] = np.nan  # a baseline forecasts a value, no chance
            levels[windows] = fallback.levels_of(
                values,
                panel.y[ends],
                forecast.scaling.lowest[series],
                forecast.scaling.log[series],
                forecast.scaling.error_unit[series],
                forecast.quantiles,
            )
        conformal = chosen.conformal | forecast.conformal
        return replace(
            forecast, levels=levels, sources=sources, conformal=conformal, notes=tuple(notes), up=up
        )

    def _baseline(
        self,
        name: str,
        panel: Panel,
        series: Ints,
        cutoffs: Ints,
        horizon: int,
        on_window: OnWindow = silent,
    ) -> tuple[Floats, str]:
        """Forecast windows by a baseline, and say which it could not be fitted to."""
        season = int(self.config.data.season_length or 1)
        asked = panel.y, panel.offsets[series], cutoffs, horizon, season
        if name in statistical.STATISTICAL:
            return statistical.forecast(name, *asked, on_window)
        return baselines.forecast(name, *asked), ""

    def _rolled(
        self,
        context: Floats,
        known: Floats | None,
        places: Ints,
        static: Floats | None,
        length: Ints,
        horizon: int,
    ) -> Floats:
        """Forecast in blocks of the trained horizon, each block the next one's latest context."""
        blocks = []
        for begin in range(0, horizon, self.horizon):
            future = None if known is None else known[:, begin : begin + self.horizon]
            block = self.network(context, future, places, static, length)
            blocks.append(block)
            if begin + self.horizon < horizon:
                context = _advance(context, block[:, :, 0], future)
                length = np.minimum(length + self.horizon, self.lookback)
        return np.concatenate(blocks, axis=1)[:, :horizon]

    def _require_covariates(self, panel: Panel) -> None:
        needed = (*self.config.data.covariates, *self.config.data.future)
        if panel.covariate_names != needed:
            raise InvalidInputError(
                f"The model was trained with the covariates {', '.join(needed) or '(none)'} "
                f"but the data has {', '.join(panel.covariate_names) or '(none)'}.",
                "Give data with the same columns.",
            )

    def calibrated(self, panel: Panel, cutoffs: Ints) -> Model:
        """Return the model with intervals calibrated on windows it was not trained on.

        The network is calibrated on all of them, a baseline on those of the series it forecasts.
        """
        if not len(cutoffs):
            return self
        if self.chances is not None and self.chances.kept < 1:  # calibrated before: begin anew
            anew = replace(self, chances=replace(self.chances, kept=1.0))
            return anew.calibrated(panel, cutoffs)
        forecast = self._by_network(panel, cutoffs, self.horizon)
        truth = forecast.scaling.levels(panel)[rows_after(cutoffs, self.horizon)]
        deviates = forecast.distribution.deviate_of(truth)
        conformal = calibrate(deviates, forecast.places, len(self.scaling.ids), forecast.still)
        model = replace(self, conformal=conformal)
        if self.chances is not None and forecast.up is not None:
            chances = self._calibrated(self.chances, forecast.up, panel, cutoffs)
            model = replace(model, chances=chances)
        if self.fallback is None:
            return model
        mixed = self._falling_back(self.fallback, forecast, panel, cutoffs)
        deviates = mixed.distribution.deviate_of(truth)
        return replace(
            model, fallback=self.fallback.calibrated(deviates, forecast.places, forecast.still)
        )

    def _calibrated(self, chances: Chances, said: Floats, panel: Panel, cutoffs: Ints) -> Chances:
        """Calibrate the chances on validation windows of series that change."""
        came = ups(panel.y, panel.offsets)[rows_after(cutoffs, self.horizon)]
        given = np.isfinite(said).all(axis=1)
        if not given.any():
            return chances
        apart = spans(cutoffs[given], panel.offsets[:-1], self.horizon)
        return chances.calibrated(said[given], came[given], apart)

    def as_wide_as(self, calibrated: Model, panel: Panel, cutoffs: Ints) -> Model:
        """Return the model with the scores of another, made to fit it.

        A score counts in the widths that the network of its model gives each window. Another
        network's may all be wider: step by step, scores are divided by how much.

        Args:
            calibrated: The other model.
            panel: Regular series.
            cutoffs: Windows on which the widths are compared `(window,)`.
        """
        scores = calibrated.conformal.scores
        if len(cutoffs):
            ours, theirs = self._widths(panel, cutoffs), calibrated._widths(panel, cutoffs)
            known = (ours > 0) & (theirs > 0)
            ratios = np.where(known, theirs, 1.0) / np.where(known, ours, 1.0)
            scores = scores * np.median(ratios, axis=0)
        return replace(self, conformal=replace(calibrated.conformal, scores=scores))

    def _widths(self, panel: Panel, cutoffs: Ints) -> Floats:
        """Return how far apart the deviates -1 and 1 lie in the units of the data `(window, step)`."""
        forecast = self._by_network(panel, cutoffs, self.horizon)
        low, high = (
            forecast.scaling.levels_to_values(
                forecast.distribution.at(np.full(self.horizon, sign)), forecast.series
            )
            for sign in (-1.0, 1.0)
        )
        return np.asarray(high - low)

    def with_fallback(self, panel: Panel, cutoffs: Ints, on_window: OnWindow = silent) -> Model:
        """Return the model with each series left to a baseline that the network does not beat.

        Theta and ETS are among the baselines where these windows are not too many.

        Args:
            panel: Regular series.
            cutoffs: Validation windows: neither trained on nor tested `(window,)`.
            on_window: Called after each window that Theta or ETS is fitted to.
        """
        forecast = self._by_network(panel, cutoffs, self.horizon)
        candidates = {NETWORK: forecast.values}
        season = int(self.config.data.season_length or 1)
        names = baselines.of_season(season)
        if not statistical.left_out(panel.offsets[forecast.series], cutoffs, season):
            names += statistical.STATISTICAL
        for name in names:
            values, _ = self._baseline(
                name, panel, forecast.series, cutoffs, self.horizon, on_window
            )
            candidates[name] = forecast.within.points(values, forecast.series)
        truth = panel.y[rows_after(cutoffs, self.horizon)]
        errors = {name: np.abs(found - truth).mean(axis=1) for name, found in candidates.items()}
        chosen = fallback.choose(errors, forecast.places, len(self.scaling.ids))
        return replace(self, fallback=chosen)

    def notices(self, panel: Panel) -> list[str]:
        """Say which series of a panel do not suit the transform, or keep their season."""
        spec = self.config.scaling
        state = self.scaling.align(panel, spec)
        notices = state.notices(panel, asked=spec.transform == "log")
        return notices + state.seasonal_notices(panel, np.ones(len(panel.ids), dtype=bool))

    def record(self) -> dict[str, Any]:
        """Return the record of the fit for the manifest."""
        return asdict(self.trained)


Fit = Callable[[Panel, Config, Split], Model]  # `training.fit`, or the same with progress shown


def _require_rows(panel: Panel, cutoffs: Ints, series: Ints, horizon: int) -> None:
    if (cutoffs + horizon >= panel.offsets[series + 1]).any():
        raise ValueError("Past the end of a series, give what is known ahead.")


def _advance(context: Floats, block: Floats, future: Floats | None) -> Floats:
    """Append forecast steps to contexts: targets forecast, covariates held, calendar known."""
    steps = np.repeat(context[:, -1:], block.shape[1], axis=1)  # (window, horizon, feature)
    steps[:, :, 0] = block
    if future is not None:
        steps[:, :, -future.shape[2] :] = future
    return np.concatenate([context, steps], axis=1)[:, -context.shape[1] :]
