"""Where training ends, what validates, and which cutoffs are tested: always forward in time.

Each series is cut at its own end:

    train | gap | validation | gap | test

A window belongs to train when its whole target lies in train; to validation when its whole target
lies in validation; to test likewise. Contexts may reach back into earlier parts, targets never.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecaster.arrays import Flags, Ints
from forecaster.config import Config
from forecaster.errors import InvalidInputError
from forecaster.series import Panel
from forecaster.windows import cutoffs_between


@dataclass(frozen=True)
class Split:
    """Row counts, each from the start of its series `(series,)`.

    Attributes:
        train_stop: Train rows end before this.
        val_start: First row of validation.
        val_stop: Validation rows end before this.
        test_start: First row that a test window forecasts.
        lengths: All rows.
    """

    train_stop: Ints
    val_start: Ints
    val_stop: Ints
    test_start: Ints
    lengths: Ints


def split(panel: Panel, *, val_size: Ints | int, test_size: Ints | int, gap: int) -> Split:
    """Cut every series of a panel; a part that does not fit is empty."""
    test_start = np.maximum(0, panel.lengths - test_size)
    val_stop = np.maximum(0, test_start - np.where(test_size, gap, 0))
    val_start = np.maximum(0, val_stop - val_size)
    train_stop = np.maximum(0, val_start - np.where(val_size, gap, 0))
    return Split(train_stop, val_start, val_stop, test_start, panel.lengths)


def of_config(panel: Panel, config: Config, folds_before: int = 0) -> Split:
    """Cut a panel as a resolved configuration says.

    A series too short for a training window and the rows held out is neither validated nor tested.
    Of its rows those before the others' validation train: what happens to several series at once
    must not be known from the short ones.

    Args:
        panel: Regular series.
        config: Resolved settings.
        folds_before: Folds that count as known: the test part begins after so many steps.
    """
    whole = are_tested(panel, config)
    spec = config.evaluation
    known = folds_before * int(spec.step_size or 1)
    parts = split(
        panel,
        val_size=np.where(whole, int(config.training.val_size or 0), 0),
        test_size=np.where(whole, int(spec.test_size or 0) - known, 0),
        gap=spec.gap,
    )
    if whole.all() or not whole.any():
        return parts
    begins = panel.ds[panel.offsets[:-1][whole] + parts.train_stop[whole]].min()
    early = np.add.reduceat((panel.ds < begins).astype(np.int64), panel.offsets[:-1])
    stop = np.where(whole, parts.val_stop, early)
    return replace(parts, train_stop=np.where(whole, parts.train_stop, early), val_stop=stop)


def are_tested(panel: Panel, config: Config) -> Flags:
    """Tell which series have rows for a training window and all that is held out `(series,)`."""
    window = config.context_rows + int(config.network.horizon or 0)
    return np.asarray(panel.lengths >= window + rows_held_out(config))


def rows_held_out(config: Config) -> int:
    """Return the rows at the end of a series that nothing is trained on."""
    spec = config.evaluation
    return int(config.training.val_size or 0) + int(spec.test_size or 0) + 2 * spec.gap


def rows_to_scale(parts: Split, window: int) -> Ints:
    """Return the rows of each series that its scalers are fitted on `(series,)`.

    They are the train rows; all rows of a series that has no training window and is not held out
    for anything: nothing but its own forecast depends on them.
    """
    unused = (parts.train_stop < window) & (parts.val_start >= parts.lengths)
    return np.where(unused, parts.lengths, parts.train_stop)


def train_cutoffs(panel: Panel, parts: Split, context: int, horizon: int) -> Ints:
    """List the windows whose target lies in train `(window,)`."""
    first = np.full(len(panel.ids), context - 1)
    return cutoffs_between(panel.offsets[:-1], first, parts.train_stop - horizon)


def val_cutoffs(panel: Panel, parts: Split, context: int, horizon: int) -> Ints:
    """List the windows whose target lies in validation `(window,)`."""
    first = np.maximum(context, parts.val_start) - 1
    return cutoffs_between(panel.offsets[:-1], first, parts.val_stop - horizon)


def cutoffs_since(panel: Panel, start: Ints, context: int, horizon: int) -> Ints:
    """List every window whose target lies at or after a row of its series `(window,)`."""
    first = np.maximum(context, start) - 1
    return cutoffs_between(panel.offsets[:-1], first, panel.lengths - horizon)


def test_cutoffs(
    panel: Panel, parts: Split, context: int, horizon: int, step: int, folds: int
) -> Ints:
    """List up to `folds` cutoffs a series, `step` rows apart, whose target lies in test."""
    first = parts.test_start - 1
    whole = first >= context - 1  # a series too short for its first fold has none
    stop = np.minimum(parts.lengths - horizon, first + folds * step)
    return cutoffs_between(panel.offsets[:-1], first, np.where(whole, stop, first), step)


def folds_to_rows(folds: int, horizon: int, step: int) -> int:
    """Return the test rows that so many folds need.

    >>> folds_to_rows(folds=3, horizon=12, step=12)
    36
    """
    return horizon + (folds - 1) * step


def require_windows(panel: Panel, parts: Split, context: int, horizon: int) -> None:
    """Raise unless at least one training window fits.

    Raises:
        InvalidInputError: Says how many rows are needed and how many the longest series has.
    """
    if (parts.train_stop >= context + horizon).any():
        return
    longest = int(panel.lengths.argmax())
    held_out = int((parts.lengths - parts.train_stop)[longest])
    raise InvalidInputError(
        f"Series {panel.ids[longest]!r} needs at least {context + horizon + held_out} rows "
        f"(min_context {context} + horizon {horizon} + {held_out} held out for validation and test) "
        f"but has {int(panel.lengths[longest])}.",
        "Fetch more history, or lower --min-context, --horizon, --folds or --val-size.",
    )
