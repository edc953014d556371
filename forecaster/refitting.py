"""What is published: a network trained again on all rows, with intervals that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from forecaster import presets, splits
from forecaster.continuing import Earlier
from forecaster.model import Model
from forecaster.series import Panel
from forecaster.windows import spread

if TYPE_CHECKING:
    from forecaster.planning import OnEpoch

REHEARSED_WINDOWS = 300  # if they were independent, these would cover 95% to 1.3 points
COMPARED_WINDOWS = 4096  # by whose widths intervals are carried over to the published network


def refitted(
    panel: Panel, judged: Model, earlier: Earlier | None, share: float, on_epoch: OnEpoch
) -> Model:
    """Train again on all rows; calibrate on what the judged model, or a rehearsal, has not seen.

    Args:
        panel: All rows.
        judged: Trained on the train rows.
        earlier: What is continued, if anything is.
        share: Of the time budget that is left.
        on_epoch: Called after each epoch.

    Returns:
        The network of all rows, calibrated.
    """
    from forecaster import training  # slow: it imports Keras
    from forecaster.planning import staged

    again = partial(training.refit, judged=judged, share=share)
    published = again(
        panel,
        start=None if earlier is None else earlier.published,
        on_epoch=partial(staged, on_epoch, "On all rows"),
    )
    rehearse = partial(
        again,
        start=None if earlier is None else earlier.judged.start,
        on_epoch=partial(staged, on_epoch, "Rehearsal"),
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
