"""Settings that were left open, chosen from the shape of the data.

Only lengths, the frequency and times are looked at, never values, so nothing can leak from the rows
that are held out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forecaster.calendars import default_horizon, default_season_length
from forecaster.config import Config, NetworkSpec, TrainSpec
from forecaster.contradictions import check, check_gates, check_test
from forecaster.joint import require_same_steps
from forecaster.metrics import LEAST_TIMES
from forecaster.scaling import require_steps_that_come_round
from forecaster.series import Panel
from forecaster.splits import folds_to_rows

HORIZONS = 5  # that series have rows for, at least: one tested, one validated, the rest trained on
FOLDS = 3  # more where the horizon is so short that so few could not be judged
UPDATES = 2000  # of the weights, as far as the epochs allow
EPOCHS = (10, 100)
MOST_WINDOWS = 256  # in a batch
EPOCH_WINDOWS = UPDATES // EPOCHS[0] * MOST_WINDOWS  # an epoch of more is cut into several
SHORT_SHARE = 0.25  # of all rows may lie in series shorter than the one that windows are fitted to
MANY_SERIES = 30  # one window of each validates well enough: no more rows need be held out
STEPS = 40  # of recurrence that a horizon of few segments may ask for
LOOKBACK_ROWS = 720  # a month of hours: what the published long-horizon networks see
LONGER_SEASON = {24: (168,), 48: (336,), 96: (672,)}  # of a day within a week
ATTENTION = {"attention": "states", "hybrid": "self"}  # by preset
MOST_HEADS = 4
ATTENDED = 4  # recurrent steps that attention has at least
TEXTBOOK = {"classic", "seq2seq"}  # presets that take a step at a time, and fewer of them
TEACHER_FORCING = 0.5
SEASONS_SEEN = {12: 3, 4: 3, 52: 2}  # short seasons need several, long ones cost too many steps


def check_asked(config: Config) -> None:
    """Refuse settings that contradict each other whatever the data: no row need be read for that.

    Raises:
        InvalidInputError: Says which, and what to change.
    """
    check_gates(config.network.gate_bias, config.network.each["cell"])
    _check_open(config)


def _check_open(config: Config) -> None:
    """Refuse what contradicts itself whatever the settings left open become."""
    check(config.replace(**_by_preset(config.network)))
    check_test(config.evaluation, config.network.horizon)


def resolve(config: Config, panel: Panel) -> Config:
    """Fill every setting that is None.

    Raises:
        InvalidInputError: Settings that contradict each other or the data.
    """
    _check_open(config)
    if config.network.joint:
        require_same_steps(panel)
    rows = usual_length(panel)
    season = config.data.season_length or default_season_length(panel.frequency)
    usual_horizon = default_horizon(panel.frequency)
    horizon = config.network.horizon or max(1, min(usual_horizon, rows // HORIZONS))
    evaluation = _evaluation(config, rows, horizon)
    left = max(0, rows - int(evaluation["test_size"] or 0) - 2 * config.evaluation.gap)
    least = horizon if len(panel.ids) >= MANY_SERIES else 2 * horizon
    usual = min(max(least, left // 7), left // 3)
    val_size = max(horizon, config.training.val_size or usual)  # a shorter tail holds no window
    kept = panel.lengths[panel.lengths >= season + horizon]  # shorter ones are skipped
    least_rows = int(kept.min(initial=rows)) - (rows - left) - val_size
    network = _network(config, left - val_size, least_rows, horizon, season)
    resolved = config.replace(
        season_length=season,
        horizon=horizon,
        val_size=val_size,
        frequency=panel.frequency,
        calendar=panel.calendar,
        covariates=panel.past_names,
        deseasonalise=bool(config.scaling.deseasonalise),
        **evaluation,
        **network,
    )
    of_each = np.maximum(0, panel.lengths - val_size - network["min_context"] - horizon)
    windows = int(of_each[0] if config.network.joint else of_each.sum())
    resolved = resolved.replace(**_training(config, windows, network["decoder"]))
    check(resolved)
    if resolved.scaling.deseasonalise:
        require_steps_that_come_round(panel, season)
    return resolved


def usual_length(panel: Panel) -> int:
    """Return the length that the series of three quarters of all rows reach.

    A few short series among long ones do not shrink the windows of all: they are skipped.
    """
    lengths = np.sort(panel.lengths)
    share = np.cumsum(lengths) / max(1, lengths.sum())
    return int(lengths[np.searchsorted(share, SHORT_SHARE)])


def _evaluation(config: Config, rows: int, horizon: int) -> dict[str, int]:
    """Choose folds, the rows they need and the step between them."""
    spec = config.evaluation
    step = spec.step_size or (1 if spec.test_size else horizon)
    if spec.test_size:
        check_test(spec, horizon)
        folds = (spec.test_size - horizon) // step + 1
        return {"folds": folds, "test_size": spec.test_size, "step_size": step}
    most = max(FOLDS, -(-LEAST_TIMES // horizon))
    folds = spec.folds or int(np.clip((rows // 4 - horizon) // step + 1, 1, most))
    return {"folds": folds, "test_size": folds_to_rows(folds, horizon, step), "step_size": step}


def _network(
    config: Config, train_rows: int, least_rows: int, horizon: int, season: int
) -> dict[str, Any]:
    """Choose the parts of the network by preset.

    Args:
        config: As asked.
        train_rows: Rows before the validation tail that most series have.
        least_rows: Those that the shortest series has.
        horizon: Future steps forecast.
        season: Steps in a season.
    """
    spec, preset = config.network, _by_preset(config.network)
    classic, textbook = spec.preset == "classic", spec.preset in TEXTBOOK
    seen = season * SEASONS_SEEN.get(season, 30 if season >= 24 else 12)
    wanted = 60 if textbook else min(LOOKBACK_ROWS, max(seen, 3 * horizon))
    segment, decoder = _segment(
        spec,
        horizon,
        season,
        spec.lookback or min(wanted, train_rows - horizon),
        preset["attention"],
    )
    whole = segment * math.lcm(*spec.dilations)  # a layer's dilation divides its steps
    lookback = spec.lookback or _whole(min(wanted, (train_rows - horizon) // 2), whole)
    min_context = lookback
    if least_rows < lookback + horizon and not (textbook or spec.lookback):
        lookback = _whole(min(wanted, train_rows - horizon), whole)
        min_context = min(lookback, max(season, segment))
    masked = spec.padding == "mask"
    most = min(lookback // 2, spec.min_context or min_context) if masked else lookback // 2
    lag = next((lag for lag in (*LONGER_SEASON.get(season, ()), season) if lag <= most), 1)
    start = "season" if masked else "linear"  # a linear map reads the whole context
    defaults = {
        "segment": segment,
        "lookback": lookback,
        "min_context": min_context,
        "skip": "none" if classic or lag == 1 else start,
        "skip_lag": lag,
        "decoder": decoder,
    }
    return preset | _filled(spec, defaults)


def _by_preset(spec: NetworkSpec) -> dict[str, Any]:
    """Choose the parts of the network that depend on the preset alone, whatever the data."""
    classic = spec.preset == "classic"
    attention = spec.attention or ATTENTION.get(spec.preset, "none")
    units = spec.layers or default_layers(spec)
    defaults = {
        "layers": units,
        "attention": attention,
        "heads": None if attention == "none" else math.gcd(units[-1], MOST_HEADS),
        "normalise": "none" if classic else "last",
        "series_vectors": False,
        "quantiles": () if classic else (0.1, 0.9),
        "decoder": _decoder(spec),
        "dropout": (0.2,) if classic else (0.1,),
        "gate_bias": "constant",
    }
    return _filled(spec, defaults)


def _decoder(spec: NetworkSpec) -> str | None:
    """Choose the decoder where neither the rows nor the season decide; else None."""
    if spec.preset in TEXTBOOK:
        return "recurrent" if spec.preset == "seq2seq" else "direct"
    return "parallel" if spec.segment else None


def _filled(spec: NetworkSpec | TrainSpec, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for, or the default."""
    return {
        key: value if getattr(spec, key) is None else getattr(spec, key)
        for key, value in defaults.items()
    }


def default_layers(spec: NetworkSpec) -> tuple[int, ...]:
    """Return the units of each recurrent layer by preset, as many as other settings are for."""
    count = max(len(values) for values in spec.each.values())
    return (50,) * max(2, count) if spec.preset == "classic" else (128,) * count


def _training(config: Config, windows: int, decoder: str) -> dict[str, Any]:
    """Choose how the network is trained by preset, number of windows and decoder."""
    spec, textbook = config.training, config.network.preset == "classic"
    batch = spec.batch_size or int(
        np.clip(2 ** (np.log2(max(1, windows / 40)) // 1), 16, MOST_WINDOWS)
    )
    steps = -(-min(max(1, windows), EPOCH_WINDOWS) // batch)
    defaults = {
        "batch_size": batch,
        "epochs": 100 if textbook else int(np.clip(UPDATES // steps, *EPOCHS)),
        "learning_rate": 1e-3,
        "clip_norm": None if spec.clip_value else 1.0,
        "schedule": "plateau" if textbook else "cosine",
        "shrink": not textbook,
        "ensemble": 3 if config.network.preset == "auto" else 1,
        "teacher_forcing": TEACHER_FORCING if decoder == "recurrent" else None,
    }
    return _filled(spec, defaults)


def _whole(rows: int, segment: int) -> int:
    """Return the most rows that are whole segments, at least one."""
    return max(segment, rows // segment * segment)


def _segment(
    spec: NetworkSpec, horizon: int, season: int, rows: int, attention: str
) -> tuple[int, str]:
    """Choose the segment, at most a season, and how segments of the horizon are decoded.

    The longest that divides the horizon is decoded in parallel. A horizon such as 1 or 13 only has
    short ones, which make hundreds of recurrent steps of a long lookback: then a part of the season
    is folded instead, and one layer forecasts the whole horizon.

    Args:
        spec: As asked.
        horizon: Future steps forecast.
        season: Steps in a season.
        rows: Past steps seen, about.
        attention: Needs a few steps to attend to.
    """
    if decoder := _decoder(spec):
        return spec.segment or 1, decoder
    most = season if season > 1 else horizon
    if attention != "none":
        most = max(1, min(most, rows // ATTENDED))
    fits = [n for n in range(1, most + 1) if (spec.lookback or 0) % n == 0]
    divides = max(n for n in fits if horizon % n == 0)
    if spec.decoder in {"parallel", "recurrent"} or rows <= STEPS * divides:
        return divides, "parallel"
    few = [n for n in fits if season % n == 0 and rows <= STEPS * n]
    folded = min(few, default=max(fits))
    return (folded, "direct") if folded > divides else (divides, "parallel")
