"""Champion against challenger, on the same most recent windows, which neither has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from forecaster import accuracy, artifacts, splits
from forecaster.arrays import Flags, Ints
from forecaster.config import Config
from forecaster.continuing import BUILT_FOR, Judged, times_of
from forecaster.errors import ForecasterError
from forecaster.model import Model
from forecaster.series import Panel


@dataclass(frozen=True)
class Duel:
    """What came of champion against challenger.

    Attributes:
        champion: Its MASE, None when there is nothing to compare.
        challenger: Likewise.
        windows: How many both were judged on.
        reason: Why they cannot be compared; empty when they can.
    """

    champion: float | None = None
    challenger: float | None = None
    windows: int = 0
    reason: str = ""

    def is_better(self, margin: float) -> bool:
        """Tell whether the challenger's error is below the champion's by a share of it."""
        if self.champion is None or self.challenger is None:
            return False
        return self.challenger < self.champion * (1 - margin)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for records and `--json`."""
        return asdict(self)


def compare(champion: Path, challenger: Path, panel_of: Callable[[Config], Panel]) -> Duel:
    """Judge two versions by their judged networks on the challenger's test folds.

    The published networks were trained on those rows; the judged ones were not. Of the champion's
    rows those count that even its judged network has not seen.

    Args:
        champion: Folder of the version in service.
        challenger: Folder of the other.
        panel_of: Gives the series as a version of some settings is trained on them.
    """
    try:
        old, known = judged_model(champion)
        new, seen = judged_model(challenger)
        if reason := _differ(old.config, new.config):
            return Duel(reason=reason)
        panel = panel_of(new.config)
        parts = splits.of_config(panel, new.config)
        spec = new.config.evaluation
        context = max(old.config.context_rows, new.config.context_rows)
        cutoffs = splits.test_cutoffs(
            panel, parts, context, new.horizon, int(spec.step_size or 1), int(spec.folds or 1)
        )
        cutoffs = cutoffs[_unseen(panel, cutoffs, known) & _unseen(panel, cutoffs, seen)]
        if not len(cutoffs):
            return Duel(reason="the champion has learnt from every row that is tested")
        scales = accuracy.scales_of(panel.head(parts.val_stop), new.config)
        old_score, new_score = (
            accuracy.errors(model, panel, cutoffs, scales).mase for model in (old, new)
        )
    except ForecasterError as error:
        return Duel(reason=f"one of them cannot be used: {error.message.rstrip('.')}")
    if not np.isfinite(old_score):
        return Duel(reason="the series never change before the rows that are tested")
    return Duel(old_score, new_score, len(cutoffs))


def judged_model(folder: Path) -> tuple[Model, Judged]:
    """Load the model that a version was judged by, and what it has seen.

    Raises:
        DamagedError: The version is not what was written.
        ForecasterError: It does not hold that model.
    """
    judged = artifacts.load_judged(folder)
    if judged is None:
        raise ForecasterError(
            f"Version {folder.name} does not hold the model that was judged, as older ones do not.",
            "Train it again: forecast train.",
        )
    published, start = artifacts.load(folder), judged.start
    model = replace(published, weights=start.weights, scaling=start.scaling, graph=judged.graph)
    return model, judged


def _differ(champion: Config, challenger: Config) -> str:
    """Say what two versions differ in that forbids comparing them; empty when nothing does."""
    old, new = champion.flat(), challenger.flat()
    for key in ("horizon", *sorted(BUILT_FOR - {"available_after"})):
        if old[key] != new[key]:
            return f"the champion has {key} {old[key]}, the challenger {new[key]}"
    return ""


def _unseen(panel: Panel, cutoffs: Ints, judged: Judged) -> Flags:
    """Tell which windows forecast only rows that a judged model has not seen `(window,)`.

    A series that it does not know would be scaled by its latest rows: it does not count.
    """
    series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
    times = times_of(panel, cutoffs)
    latest = [judged.seen.get(panel.ids[number]) for number in series.tolist()]
    return np.array(
        [seen is not None and time >= seen for time, seen in zip(times, latest, strict=True)],
        dtype=np.bool_,
    )
