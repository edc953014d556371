"""Inner folds: where the trials of a study are scored, all before the rows that judge a model.

The rows before the test are cut once more, from the end backwards, into blocks. For each block a
network is trained on the rows before it, with a validation tail of its own, and forecasts from
cutoffs inside the block (nested cross-validation; Varma & Simon 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster import backtesting, judging, splits
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.model import Fit
from forecaster.presets import usual_length
from forecaster.series import Panel

FOLDS = 3
SHARE = 4  # at most one row in so many is scored, more only where the folds need it
MOST_CUTOFFS = 64  # of a series in a fold
MOST_WINDOWS = 4096  # of all series in a fold


@dataclass(frozen=True)
class FoldScore:
    """What a network scored on one inner fold.

    Attributes:
        mase: Mean absolute scaled error of all windows.
        losses: The same over time (`judging.losses_over_time`).
    """

    mase: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class InnerFolds:
    """The folds that every trial of a study is scored on.

    Attributes:
        panel: The rows before the test, all that a study ever sees.
        config: The default, with these folds in place of the test.
        count: How many folds.
        block: Rows of each.
        stride: Rows from one cutoff to the next.
    """

    panel: Panel
    config: Config
    count: int
    block: int
    stride: int

    @classmethod
    def of(cls, panel: Panel, config: Config, wanted: int | None = None) -> InnerFolds:
        """Lay folds before the test rows of a panel.

        Args:
            panel: Regular series, all rows.
            config: The default configuration, resolved for them.
            wanted: How many folds; as many as fit, at most three, when None.

        Raises:
            InvalidInputError: There are too few rows.
        """
        seen = panel.head(splits.of_config(panel, config).val_stop)
        horizon, rows = int(config.network.horizon or 1), usual_length(seen)
        trained = config.context_rows + horizon
        held_out = int(config.training.val_size or 0) + 2 * config.evaluation.gap
        room = rows - trained - held_out
        least = horizon * (wanted or 1)
        if room < least:
            raise InvalidInputError(
                f"Tuning needs {trained + held_out + least} rows before the test (min_context "
                f"{config.context_rows} + horizon {horizon} + {held_out} of validation and gaps + "
                f"{least} of {wanted or 1} inner folds), but most series have {rows}.",
                "Fetch more history, or lower --lookback, --val-size, --folds or --inner-folds.",
            )
        used = max(least, min(room - horizon, max(FOLDS * horizon, rows // SHARE)))
        count = wanted or min(FOLDS, used // horizon)
        block = used // count
        inside = block - horizon + 1
        most = max(1, min(MOST_CUTOFFS, MOST_WINDOWS // len(panel.ids)))
        inner = config.replace(test_size=count * block, step_size=block, folds=count)
        stride = -(-inside // most)
        return cls(seen, inner, count, block, block if stride >= inside else stride)

    @property
    def first(self) -> splits.Split:
        """What trains and validates in the first fold, which has the fewest rows."""
        return self.parts(0)

    @property
    def train_rows(self) -> int:
        """Rows that most series train on in the first fold."""
        stops = self.first.train_stop[splits.are_tested(self.panel, self.config)]
        return int(np.median(stops)) if len(stops) else 0

    @property
    def windows(self) -> int:
        """Training windows of the default in the first fold."""
        horizon = int(self.config.network.horizon or 1)
        context = self.config.context_rows
        return len(splits.train_cutoffs(self.panel, self.first, context, horizon))

    @property
    def horizon_of_losses(self) -> tuple[int, int]:
        """The horizon and the step that the losses are correlated by, for a test of them."""
        horizon = int(self.config.network.horizon or 1)
        return horizon, self.stride if self.stride < horizon else 1

    def parts(self, fold: int) -> splits.Split:
        """Return what trains, validates and is scored in a fold."""
        return splits.of_config(self.panel, self.config, fold)

    def cutoffs(self, fold: int) -> Ints:
        """List the windows that a fold is scored on `(window,)`: the same for every trial."""
        horizon = int(self.config.network.horizon or 1)
        inside = (self.block - horizon) // self.stride + 1
        return splits.test_cutoffs(
            self.panel, self.parts(fold), self.config.context_rows, horizon, self.stride, inside
        )

    def score(self, config: Config, fit: Fit, fold: int) -> FoldScore:
        """Train by a configuration on the rows before a fold and score it there.

        Raises:
            ForecasterError: It cannot be trained, or nothing can be scored.
        """
        parts, cutoffs = self.parts(fold), self.cutoffs(fold)
        model = fit(self.panel, config, parts)
        numbered = config.replace(step_size=self.stride, adaptive_intervals=False)  # none is judged
        found = backtesting.forecast_windows(model, self.panel, numbered, parts, 0, cutoffs)
        forecast = found.forecasts[found.name]
        score = found.mase(forecast)
        if not np.isfinite(score):
            raise ForecasterError("No train rows change, so that MASE has no denominator.")
        losses = judging.losses_over_time(found, forecast)
        return FoldScore(score, tuple(float(f"{loss:.6g}") for loss in losses))
