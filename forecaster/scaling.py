"""Values made comparable: a transform and a scaler for each series, fitted on train rows only.

Three spaces: the *values* as stored; the *levels*, after the logarithm where one is used; and the
*inputs* that a network sees: levels without the season where it is taken away, or their differences,
less a centre and divided by a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecaster import calendars
from forecaster.arrays import Flags, Floats, Ints
from forecaster.config import ScalingSpec
from forecaster.errors import InvalidInputError
from forecaster.metrics import mean_change, own_size
from forecaster.seasonality import FEWEST_SEASONS, seasonal_effects
from forecaster.series import Panel
from forecaster.statics import StaticScaling
from forecaster.words import listed

CELLS_AT_ONCE = 4_000_000  # of the padded matrix in which series are scaled together
LARGEST_VALUE = 1e100  # squares and sums of squares stay finite
LARGEST_INPUT = 1e15  # in float32 with room for the squares that training takes
FAR_OFF = (
    f"more than {LARGEST_INPUT:g} times as far from the rows trained on as they are from each other"
)
LARGEST_LOG = float(np.log(LARGEST_VALUE))  # forecasts and bounds end where values do
FAR = 4.0  # scales below the centre: where a value without a logarithm counts
FEWEST_BLOCKS = 4
ROUNDING = 1e-9  # a logarithm may be computed a little differently each time
LOG_SLOPE = 0.5  # spread grows with at least this power of the level: a power below 1/2, so log


@dataclass(frozen=True)
class Scaling:
    """The fitted state; plain arrays, so that it is stored as JSON and applied without scikit-learn.

    Attributes:
        ids: The series it was fitted on.
        log: Which series are forecast as logarithms `(series,)`.
        difference: Whether inputs are differences of levels, for all series.
        center: Subtracted from inputs `(series,)`.
        scale: Inputs are divided by it `(series,)`.
        error_unit: Mean absolute change of the levels from row to row, in which errors of
            different series are pooled `(series,)`.
        season: Subtracted from levels, by phase (`calendars.phases`) `(series, step of a season)`;
            a single zero where nothing is.
        covariate_center: `(series, covariate)`.
        covariate_scale: `(series, covariate)`.
        statics: How static columns become features, for all series.
    """

    ids: tuple[str, ...]
    log: Flags
    difference: bool
    center: Floats
    scale: Floats
    error_unit: Floats
    season: Floats
    covariate_center: Floats
    covariate_scale: Floats
    statics: tuple[StaticScaling, ...] = ()

    @property
    def season_length(self) -> int:
        """Steps of the season that is taken away, 1 for none."""
        return int(self.season.shape[1])

    @property
    def lowest(self) -> Floats:
        """Level that a value without a logarithm counts as `(series,)`."""
        return np.asarray(self.center + self.season.min(axis=1) - FAR * self.scale)

    def rows_of(self, ids: Sequence[str]) -> Ints:
        """Return the place of each series, -1 for one it was not fitted on."""
        place = {name: row for row, name in enumerate(self.ids)}
        return np.array([place.get(name, -1) for name in ids], dtype=np.int64)

    def align(self, panel: Panel, spec: ScalingSpec) -> Scaling:
        """Return the state for the series of a panel, fitting those never seen on their own rows.

        A new series is only ever seen up to its cutoff, so all its rows may be used.
        """
        rows = self.rows_of(panel.ids)
        if (rows >= 0).all():
            taken = {name: getattr(self, name)[rows] for name in ARRAYS}
            return replace(self, ids=panel.ids, **taken)
        known = "diff" if self.difference else "log" if self.log.all() else "none"
        transform = spec.transform if self.log.any() != self.log.all() else known
        spec = spec.model_copy(update={"transform": transform})
        fresh = fit(panel, spec, self.season_length)
        seen = rows >= 0
        for name in ARRAYS:
            getattr(fresh, name)[seen] = getattr(self, name)[rows[seen]]
        return replace(fresh, statics=self.statics)

    def levels(self, panel: Panel) -> Floats:
        """Return the levels of a panel that this state is aligned with, not to be written to `(row,)`.

        A value that has no logarithm counts as one far below the rows trained on.
        """
        _require_size(panel)
        if not self.log.any():
            return panel.y
        log, positive = np.repeat(self.log, panel.lengths), panel.y > 0
        levels = np.where(log & positive, panel.y, 1.0)
        np.log(levels, out=levels)
        np.copyto(levels, panel.y, where=~log)
        far_below = np.repeat(self.lowest, panel.lengths)
        np.copyto(levels, far_below, where=log & ~positive)
        return levels

    def notices(self, panel: Panel, asked: bool) -> list[str]:
        """Say which series of a panel, aligned with this state, do not suit the logarithm.

        Args:
            panel: All rows.
            asked: Whether the logarithm was asked for, for every series.
        """
        odd = _any_row(panel, panel.y <= 0)
        lines = []
        if asked and (plain := odd & ~self.log).any():
            lines.append(
                f"{_series(panel, plain)} have values of zero or less and are forecast without "
                "the logarithm."
            )
        if (late := odd & self.log).any():
            lines.append(
                f"{_series(panel, late)} are forecast as logarithms, which their values of zero or "
                "less do not have: they count as far below the rest. Consider --transform none."
            )
        return lines

    def seasonal_notices(self, panel: Panel, among: Flags) -> list[str]:
        """Say which series of a panel, aligned with this state, keep the season that was to go.

        Args:
            panel: All rows.
            among: Series that may be named `(series,)`.
        """
        length = self.season_length
        kept = (self.season == 0).all(axis=1) & among
        if length == 1 or not kept.any():
            return []
        return [
            f"Not deseasonalised: {_series(panel, kept)}. They have fewer than {FEWEST_SEASONS} seasons "
            f"of {length} steps to fit effects on, or none that stands out from noise."
        ]

    def inputs(self, panel: Panel) -> Floats:
        """Return target and covariates as a network sees them `(row, 1 + covariate)`, float32."""
        levels = self.levels(panel)
        if self.season_length > 1:
            levels = levels - self._seasons(panel)
        if self.difference:
            levels = _differences(levels, panel.offsets)
        target = levels - np.repeat(self.center, panel.lengths)
        target /= np.repeat(self.scale, panel.lengths)
        if (bad := _beyond(target, LARGEST_INPUT)).any():
            raise InvalidInputError(
                f"{_row(panel, bad)} is {FAR_OFF}.",
                "Repair the value, or train with it among the rows, or with --transform log.",
            )
        if not panel.covariate_names:
            return target.astype(np.float32)[:, None]
        series = np.repeat(np.arange(len(panel.ids)), panel.lengths)
        covariates = self.covariates(panel.covariates, series)
        return np.column_stack([target.astype(np.float32), covariates])

    def phases(self, panel: Panel) -> Ints:
        """Return where in the season the rows of a panel stand `(row,)`."""
        return calendars.phases(panel.ds, panel.frequency, self.season_length)

    def phases_ahead(self, panel: Panel, cutoffs: Ints, horizon: int) -> Ints:
        """Return where in the season the row at each cutoff and the steps after stand `(window, 1 + step)`."""
        if self.season_length == 1:
            return np.broadcast_to(np.int64(0), (len(cutoffs), 1 + horizon))
        return calendars.phases_ahead(
            panel.ds[cutoffs], panel.frequency, self.season_length, horizon
        )

    def _seasons(self, panel: Panel) -> Floats:
        """Return the seasonal effect of each row of a panel that this state is aligned with."""
        series = np.repeat(np.arange(len(panel.ids)), panel.lengths)
        return np.asarray(self.season[series, self.phases(panel)])

    def covariates(self, values: Floats, series: Ints) -> Floats:
        """Return the last covariates of some rows as a network sees them `(row, covariate)`, float32.

        Args:
            values: In the units of the data `(row, covariate)`; all covariates, or the last ones.
            series: Place of each row's series in this state `(row,)`.

        Raises:
            InvalidInputError: A value that no network can take.
        """
        last = slice(self.covariate_center.shape[1] - values.shape[1], None)
        center, scale = self.covariate_center[:, last], self.covariate_scale[:, last]
        scaled = (values - center[series]) / scale[series]
        return self._finite(scaled, values, series, "covariate")

    def static_features(self, panel: Panel) -> Floats | None:
        """Return what a network sees of the static columns `(series, feature)`; None without any.

        Raises:
            InvalidInputError: Words where numbers are needed, or a number that no network can take.
        """
        if not self.statics:
            return None
        each = [column.features(panel.statics[column.name]) for column in self.statics]
        found = np.hstack(each).astype(np.float64)
        return self._finite(found, found, np.arange(len(panel.ids)), "static feature")

    def _finite(self, scaled: Floats, values: Floats, series: Ints, what: str) -> Floats:
        if (bad := _beyond(scaled, LARGEST_INPUT)).any():
            row, column = np.argwhere(bad)[0]
            raise InvalidInputError(
                f"Series {self.ids[series[row]]!r} has a {what} of {values[row, column]:g}, "
                f"{FAR_OFF}.",
                "Repair the value, or train with it among the rows.",
            )
        return np.asarray(scaled, dtype=np.float32)

    def never_changed(self, levels: Floats, offsets: Ints, cutoffs: Ints, series: Ints) -> Flags:
        """Tell which windows see a series that has always been the same `(window,)`.

        Neither the rows trained on nor those of the panel up to the cutoff change.

        Args:
            levels: Of the panel that this state is aligned with `(row,)`.
            offsets: Rows `offsets[i]:offsets[i + 1]` belong to series i `(series + 1,)`.
            cutoffs: Row of the last observed value of each window `(window,)`.
            series: Place of each window's series `(window,)`.
        """
        changes = np.cumsum(_differences(levels, offsets) != 0, dtype=np.int32)
        still = changes[cutoffs] == changes[offsets[series]]
        # Only a series without a change in the rows trained on has its own size for a unit.
        size = own_size(levels[cutoffs])
        return still & (np.abs(self.error_unit[series] - size) <= ROUNDING * size)

    def outputs_to_levels(
        self, outputs: Floats, last_levels: Floats, series: Ints, phases: Ints
    ) -> Floats:
        """Map a network's outputs to levels.

        The quantiles of differences become those of levels as if the steps were independent: their
        distances from the point add up in squares.

        Args:
            outputs: The point, then the quantiles `(window, horizon, 1 + quantile)`.
            last_levels: Level at each window's cutoff `(window,)`.
            series: Place of each window's series in this state `(window,)`.
            phases: Of the rows at the cutoffs and the steps forecast `(window, 1 + horizon)`.

        Returns:
            `(window, horizon, 1 + quantile)`.
        """
        scale, center = self.scale[series, None, None], self.center[series, None, None]
        levels = outputs * scale  # float64, as scales are
        levels += center
        if self.difference:
            gaps = levels - levels[:, :, :1]
            point = last_levels[:, None, None] + np.cumsum(levels[:, :, :1], axis=1)
            levels = point + np.sign(gaps) * np.sqrt(np.cumsum(np.square(gaps), axis=1))
        if self.season_length > 1:
            season = self.season[series[:, None], phases]
            levels += season[:, 1:, None]
            if self.difference:  # the last level had its season too
                levels -= season[:, :1, None]
        return levels

    def levels_to_values(self, levels: Floats, series: Ints) -> Floats:
        """Undo the logarithm `(window, ...)`, where one is used."""
        log = self.log[series].reshape(-1, *[1] * (levels.ndim - 1))
        if not log.any():
            return levels
        return np.where(log, np.exp(np.where(log, np.minimum(levels, LARGEST_LOG), 0.0)), levels)


ARRAYS = (
    *("log", "center", "scale", "error_unit", "season"),
    *("covariate_center", "covariate_scale"),
)


def fit(panel: Panel, spec: ScalingSpec, season_length: int = 1) -> Scaling:
    """Fit transform, season and scaler on every row of `panel`: hand over train rows only.

    A series with values of zero or less, or without a change, is never forecast as a logarithm.

    Args:
        panel: Regular series.
        spec: What is fitted.
        season_length: Steps of the season that is taken away, if one is.

    Raises:
        InvalidInputError: A value that is too large to be squared.
    """
    _require_size(panel)
    log = logarithms(panel, spec.transform)
    state = Scaling(
        panel.ids,
        log,
        spec.transform == "diff",
        center=np.zeros(len(panel.ids)),
        scale=np.ones(len(panel.ids)),
        error_unit=np.ones(len(panel.ids)),
        season=np.zeros((len(panel.ids), season_length if spec.deseasonalise else 1)),
        covariate_center=np.zeros((len(panel.ids), len(panel.covariate_names))),
        covariate_scale=np.ones((len(panel.ids), len(panel.covariate_names))),
        statics=tuple(StaticScaling.fit(*column) for column in panel.statics.items()),
    )
    levels = state.levels(panel)
    state.error_unit[:] = _error_units(levels, panel)
    if state.season_length > 1:
        state.season[:] = _season(levels, panel, state.phases(panel), state.season_length)
        levels = levels - state._seasons(panel)
    if state.difference:
        levels = _differences(levels, panel.offsets)
        levels[panel.offsets[:-1][panel.lengths > 0]] = np.nan  # the first row has no difference
    columns = [levels, *panel.covariates.T]
    for series, rows in _chunks(panel):
        for place, column in enumerate(columns):
            center, scale = _fit_scaler(_padded(column, panel, series, rows), spec.scaler)
            if place == 0:
                state.center[series], state.scale[series] = center, scale
            else:
                state.covariate_center[series, place - 1] = center
                state.covariate_scale[series, place - 1] = scale
    if state.season_length > 1 and spec.scaler != "none":
        # Of a season alone rounding is left: no size for what may come.
        rounding = state.scale < ROUNDING * state.error_unit
        state.scale[rounding] = state.error_unit[rounding]
    return state


def shifted_rows(panel: Panel, season_length: int) -> Flags:
    """Tell which rows do not stand in the season one step after the row before them `(row,)`.

    They come after closing times, or near rows on weekends. There `Scaling.phases_ahead` is not the
    phase of the row that follows.

    Args:
        panel: Series without gaps other than those.
        season_length: Steps of the season; none is shifted where it is 1.
    """
    shifted = np.zeros(len(panel.y), dtype=bool)
    if season_length == 1:
        return shifted
    here, ahead = calendars.phases_ahead(panel.ds, panel.frequency, season_length, 1).T
    shifted[1:] = here[1:] != ahead[:-1]
    shifted[panel.offsets[:-1][panel.lengths > 0]] = False  # the first row follows none
    return shifted


def require_steps_that_come_round(panel: Panel, season_length: int) -> None:
    """Refuse to deseasonalise series in which rows are shifted in the season.

    Raises:
        InvalidInputError: Names the series and the first row that is.
    """
    shifted = shifted_rows(panel, season_length)
    if shifted.any():
        raise InvalidInputError(
            "--deseasonalise needs steps that come round, but closing times or rows on weekends shift "
            f"those of {_series(panel, _any_row(panel, shifted))}, first at "
            f"{panel.ds[int(shifted.argmax())]}.",
            "Leave it out; a version that has it is to be trained anew, without --warm-start.",
        )


def _season(levels: Floats, panel: Panel, phases: Ints, length: int) -> Floats:
    """Return the seasonal effects of each series by phase `(series, length)`."""
    found = np.zeros((len(panel.ids), length))
    for series, rows in _chunks(panel):
        some = series[panel.lengths[series] > 0]
        matrix, places = (_padded(column, panel, some, rows) for column in (levels, phases))
        unit = _units(matrix)
        found[some] = seasonal_effects(matrix / unit, places, length) * unit[:, None]
    return found


def _fit_scaler(matrix: Floats, scaler: str) -> tuple[Floats, Floats]:
    """Fit one scikit-learn scaler on `(row, series)`, NaN where a series has no row.

    A series that never changes is scaled by its own size, one of zeros or without rows by 1.
    """
    if scaler == "none":
        return np.zeros(matrix.shape[1]), np.ones(matrix.shape[1])
    unit = _units(matrix)
    center, scale = np.zeros(len(unit)), np.ones(len(unit))
    some = ~np.isnan(matrix).all(axis=0)
    if some.any():
        sized = matrix[:, some]
        sized /= unit[some]
        center[some], scale[some] = _fit_sized(sized, scaler)
    return center * unit, scale * unit


def _fit_sized(matrix: Floats, scaler: str) -> tuple[Floats, Floats]:
    """Fit on columns whose largest absolute value is 1, each with a row."""
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    if scaler == "minmax":
        fitted = MinMaxScaler().fit(matrix)
        return fitted.data_min_, 1 / fitted.scale_
    fitted = (StandardScaler() if scaler == "standard" else RobustScaler()).fit(matrix)
    center = fitted.mean_ if scaler == "standard" else fitted.center_
    return center, fitted.scale_


def _units(matrix: Floats) -> Floats:
    """Return the largest absolute value of each column of `(row, series)`, 1 for zero: `(series,)`."""
    return own_size(np.fmax.reduce(np.abs(matrix), axis=0, initial=0.0))


def logarithms(panel: Panel, transform: str) -> Flags:
    """Tell which series are forecast as logarithms, `transform` being `log`, `auto` or another."""
    if transform == "log":
        changes = mean_change(panel.y, panel.offsets, 1) > 0
        return np.asarray(changes & ~_any_row(panel, panel.y <= 0))
    chosen = np.zeros(len(panel.ids), dtype=bool)
    if transform == "auto":
        sizes = np.maximum(5, panel.lengths // 24)  # rows of a block, whatever the other series
        for series, _ in _chunks(panel):
            for size in np.unique(sizes[series]).tolist():
                alike = series[sizes[series] == size]
                matrix = _padded(panel.y, panel, alike, int(panel.lengths[alike].max()))
                chosen[alike] = _spread_grows(matrix / _units(matrix), size)
    return chosen


def _spread_grows(matrix: Floats, size: int) -> Flags:
    """Tell in which columns the spread grows with the level (Guerrero 1993).

    Rows are cut into blocks; the slope of log spread on log level estimates one minus the power of
    the Box-Cox transform that would level the spread: a slope near 1 asks for the logarithm.
    """
    positive = np.nanmin(np.where(np.isnan(matrix), np.inf, matrix), axis=0) > 0
    count = len(matrix) // size
    if count < FEWEST_BLOCKS:
        return np.zeros(matrix.shape[1], dtype=bool)
    blocks = matrix[: count * size].reshape(count, size, -1)  # (block, row, series)
    whole = np.isfinite(blocks).all(axis=1) & positive
    level = np.where(whole, blocks.mean(axis=1), 1.0)
    spread = np.where(whole, blocks.std(axis=1), 0.0)
    whole &= spread > 0
    x, y = (
        np.where(whole, np.log(level), 0.0),
        np.where(whole, np.log(np.where(whole, spread, 1)), 0.0),
    )
    number = np.maximum(1, whole.sum(axis=0))
    x_off = np.where(whole, x - x.sum(axis=0) / number, 0.0)
    y_off = np.where(whole, y - y.sum(axis=0) / number, 0.0)
    variance = (x_off**2).sum(axis=0)
    slope = (x_off * y_off).sum(axis=0) / np.where(variance > 0, variance, 1.0)
    return positive & (whole.sum(axis=0) >= FEWEST_BLOCKS) & (slope > LOG_SLOPE)


def _error_units(levels: Floats, panel: Panel) -> Floats:
    """Return the mean absolute change of each series `(series,)`; for a constant one, its size."""
    mean = mean_change(levels, panel.offsets, 1)
    first = np.where(panel.lengths > 0, np.append(levels, 0.0)[panel.offsets[:-1]], 0.0)
    return np.where(mean > 0, mean, own_size(first))


def _require_size(panel: Panel) -> None:
    if (bad := _beyond(panel.y, LARGEST_VALUE)).any():
        raise InvalidInputError(
            f"{_row(panel, bad)} is larger than can be forecast ({LARGEST_VALUE:g}).",
            "Repair the value, or store it in a larger unit.",
        )


def _beyond(values: Floats, limit: float) -> Flags:
    """Tell which values are larger than a limit, without their signs."""
    return np.asarray((values > limit) | (values < -limit))


def _any_row(panel: Panel, rows: Flags) -> Flags:
    """Tell which series have any of some rows `(series,)`."""
    series = np.repeat(np.arange(len(panel.ids)), panel.lengths)
    return np.bincount(series, rows, minlength=len(panel.ids)) > 0


def _series(panel: Panel, some: Flags) -> str:
    """Count some series and name the first ones."""
    names = [panel.ids[row] for row in np.flatnonzero(some).tolist()]
    return f"{len(names)} of {len(panel.ids)} series ({listed(names)})"


def _row(panel: Panel, bad: Flags) -> str:
    """Name the first row of some: series, value and time."""
    row = int(bad.argmax())
    series = panel.ids[int(np.searchsorted(panel.offsets, row, side="right")) - 1]
    return f"Series {series!r}, {panel.y[row]:g} at {panel.ds[row]},"


def _differences(levels: Floats, offsets: Ints) -> Floats:
    """Return each row less the row before it; 0 for the first row of a series."""
    result = np.zeros_like(levels)
    np.subtract(levels[1:], levels[:-1], out=result[1:])
    result[offsets[:-1][np.diff(offsets) > 0]] = 0.0
    return result


def _chunks(panel: Panel) -> Iterator[tuple[Ints, int]]:
    """Yield groups of series, the longest first, and the longest length in each."""
    order = np.argsort(panel.lengths, kind="stable")[::-1]
    begin = 0
    while begin < len(order):
        rows = int(panel.lengths[order[begin]])
        end = begin + max(1, CELLS_AT_ONCE // max(1, rows))
        yield order[begin:end], rows
        begin = end


def _padded(column: Floats, panel: Panel, series: Ints, rows: int) -> Floats:
    """Lay series side by side `(row, series)`, NaN below the shorter ones."""
    if len(series) == 1:
        return column[panel.offsets[series[0]] : panel.offsets[series[0] + 1], None]
    index = panel.offsets[series][None, :] + np.arange(rows)[:, None]
    inside = index < panel.offsets[series + 1][None, :]
    return np.where(inside, column[np.where(inside, index, 0)], np.nan)
