"""Preset `auto`: a handful of networks compared on validation windows, and the best one named.

Candidates differ only in settings that were left open. Each is trained on the train rows for a few
epochs and scored on the validation windows. Rows held out for the test are cut off before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecaster import accuracy, backend, scaling, splits
from forecaster.arrays import Ints
from forecaster.config import Config
from forecaster.contradictions import check
from forecaster.errors import ForecasterError, InvalidInputError
from forecaster.model import Fit
from forecaster.seasonality import FEWEST_SEASONS
from forecaster.series import Panel
from forecaster.windows import spread

LEAST_EPOCHS = 2
TRYING_SHARE = 0.4  # of the time budget
CLEARLY = 0.005  # a later candidate must be better than the best before it by this share
SERIES_SHARE = 0.1  # of the series must be changed by a setting, or it is not tried
SCORED_WINDOWS = 4096
FASTER = 3e-3  # three times the usual rate

SEASONAL: dict[str, dict[str, Any]] = {
    "linear map of the context": {"skip": "linear", "normalise": "last"},
    "linear map scaled by spread": {
        "skip": "linear",
        "normalise": "spread",
        "learning_rate": FASTER,  # a map that starts as the last season has far to go
    },
    "last season": {"skip": "season", "normalise": "season"},
    "last value": {"skip": "none", "normalise": "last"},
}
SEASONLESS: dict[str, dict[str, Any]] = {
    "last value": {"layers": (128,), "dropout": 0.1},
    "last value, small network": {"layers": (32,), "dropout": 0.3},
}


@dataclass(frozen=True)
class Candidate:
    """A network that was tried.

    Attributes:
        name: Where its forecast starts from.
        settings: What it sets.
        score: Mean absolute error on the validation windows, scaled as MASE is; None if it failed.
        seconds: What trying it took.
        reason: Why it has no score; empty when it has one.
    """

    name: str
    settings: dict[str, Any]
    score: float | None
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Selection:
    """The candidates in the order tried, the one chosen, and the settings with it filled in."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    config: Config
    budget_left: float = 1 - TRYING_SHARE  # of the time budget

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for manifests and `--json`."""
        return {
            "candidates": [asdict(each) for each in self.candidates],
            "chosen": self.chosen.name,
        }


def candidates(asked: Config, resolved: Config) -> dict[str, dict[str, Any]]:
    """Return what is worth trying: the settings of each candidate that the user left open."""
    open_settings = {key for key, value in asked.flat().items() if value is None}
    lag, count = int(resolved.network.skip_lag or 1), len(resolved.network.layers or ())
    tried: dict[str, dict[str, Any]] = {}
    for name, settings in (SEASONAL if lag > 1 else SEASONLESS).items():
        free = {key: value for key, value in settings.items() if key in open_settings}
        if "layers" in free:
            free["layers"] *= count
        if "normalise" not in free:
            free.pop("learning_rate", None)  # it goes with the normalisation
        if free not in tried.values() and _can_be_built(resolved.replace(**free)):
            tried[name] = free
    return tried


def _can_be_built(config: Config) -> bool:
    try:
        check(config)
    except InvalidInputError:
        return False
    return True


def select(
    panel: Panel, asked: Config, resolved: Config, fit_of: Callable[[str], Fit]
) -> Selection | None:
    """Try the candidates and choose one; None when at most one is open to choice.

    Args:
        panel: Regular series; of the rows from the first fold on only the times are looked at.
        asked: Settings as the user gave them.
        resolved: The same with every setting filled in.
        fit_of: Returns `training.fit`, or the same with progress shown, for a candidate.
    """
    if asked.network.preset != "auto":
        return None
    options = candidates(asked, resolved)
    parts = splits.of_config(panel, resolved)
    seen = panel.head(parts.val_stop)
    more = _refinements(panel, parts.train_stop, asked, resolved)
    if len(options) + len(more) < 2:
        return None
    if not any(options.values()) and more.keys() == {"logarithms"}:
        return None  # the settings of a version, which was chosen without them
    budget = resolved.training.time_budget
    epochs = int(resolved.training.epochs or 1)
    quick = resolved.replace(
        ensemble=1,
        epochs=min(epochs, max(LEAST_EPOCHS, epochs // 3)),
        refit_all=False,
        fallback="none",  # the networks are compared, not the baselines that may stand in
        time_budget=None if budget is None else budget * TRYING_SHARE / (len(options) + len(more)),
    )

    tried: list[Candidate] = []

    def try_out(name: str, settings: dict[str, Any]) -> None:
        begin = time.monotonic()
        stage = f"Candidate {len(tried) + 1} of at most {len(options) + len(more)}"
        score, reason = _score(seen, quick.replace(**settings), parts, fit_of(stage))
        seconds = round(time.monotonic() - begin, 2)
        tried.append(Candidate(name, settings, score, seconds, reason))

    for name, settings in options.items():
        try_out(name, settings)
    chosen = _best(tried)
    for what, settings in more.items():
        if not settings.items() <= chosen.settings.items():
            try_out(f"{chosen.name}, {what}", {**chosen.settings, **settings})
            chosen = _best([chosen, tried[-1]])
    return Selection(tuple(tried), chosen, resolved.replace(**chosen.settings))


def _refinements(
    panel: Panel, train_stop: Ints, asked: Config, resolved: Config
) -> dict[str, dict[str, Any]]:
    """Return what is tried one after the other with the best of the candidates so far."""
    found: dict[str, dict[str, Any]] = {}
    if _may_use_logarithms(panel.head(train_stop), resolved):
        found["logarithms"] = {"transform": "log"}
    if asked.scaling.deseasonalise is None and _may_deseasonalise(panel, train_stop, resolved):
        found["deseasonalised"] = {"deseasonalise": True}
    if asked.training.learning_rate is None:
        found[f"learning rate {FASTER}"] = {"learning_rate": FASTER}
    return found


def _may_deseasonalise(panel: Panel, train_stop: Ints, config: Config) -> bool:
    """Tell whether enough series have the rows that seasonal effects take, and all steps come round."""
    season = int(config.data.season_length or 1)
    enough = season > 1 and np.mean(train_stop >= FEWEST_SEASONS * season) > SERIES_SHARE
    if not enough or not _can_be_built(config.replace(deseasonalise=True)):
        return False
    return not scaling.shifted_rows(panel, season).any()


def _may_use_logarithms(train: Panel, config: Config) -> bool:
    """Tell whether logarithms for all would differ from what each series was given."""
    if config.scaling.transform != "auto":
        return False
    given, possible = (scaling.logarithms(train, transform) for transform in ("auto", "log"))
    return bool(np.mean(given != possible) > SERIES_SHARE)


def _score(panel: Panel, config: Config, parts: splits.Split, fit: Fit) -> tuple[float | None, str]:
    """Train a candidate and score it on validation windows, spread evenly; or say why not."""
    try:
        model = fit(panel, config, parts)
    except ForecasterError as error:  # it diverged: the others may not
        return None, error.message
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        return None, "Out of memory."
    windows = splits.val_cutoffs(panel, parts, config.context_rows, model.horizon)
    if not len(windows):
        return None, "No window lies in the validation rows."
    some = spread(windows, SCORED_WINDOWS)
    scales = accuracy.scales_of(panel.head(parts.train_stop), config)
    score = accuracy.errors(model, panel, some, scales).mase
    if not np.isfinite(score):
        return None, "No train rows change, so that MASE has no denominator."
    return score, ""


def _best(tried: list[Candidate]) -> Candidate:
    """Return the best candidate, an earlier one unless a later is clearly better."""
    best = tried[0]
    for each in tried[1:]:
        if each.score is not None and (
            best.score is None or each.score < best.score * (1 - CLEARLY)
        ):
            best = each
    return best
