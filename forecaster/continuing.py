"""Warm start: what a training continues from, and which rows that has seen.

A version publishes a model that was trained again on all rows. To judge what comes of continuing it
on rows that those weights know would be no judgement, so that a version keeps the judged model's
weights and scalers too: the judged fit continues from these, the refit from the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecaster.arrays import Ints
from forecaster.config import SECTION_OF, Config
from forecaster.errors import InvalidInputError
from forecaster.model import Model
from forecaster.scaling import Scaling
from forecaster.series import Panel
from forecaster.splits import Split, rows_to_scale
from forecaster.words import as_flag

BUILT_FOR = {  # data settings of a network
    *("frequency", "calendar", "season_length"),
    *("covariates", "future", "static", "available_after", "holidays"),
}
KEPT = BUILT_FOR | {"horizon"}  # by what is trained after a version, unless it is said otherwise
OPEN = {
    "preset": "auto",
    "transform": "auto",
    "covariates": ("all",),
}  # values that leave it to the version
HINT = "Leave it out: a warm start has the version's network and scalers; or train anew without it."


@dataclass(frozen=True)
class Start:
    """What a fit begins from.

    Attributes:
        weights: Of every network of the ensemble, as an HDF5 file; nothing for random ones.
        scaling: State to keep; series that it does not know are fitted on their own train rows.
    """

    weights: bytes
    scaling: Scaling


@dataclass(frozen=True)
class Judged:
    """The judged model of a version, and how far into each series it has looked.

    Attributes:
        start: Its weights and scalers.
        graph: Its networks and their median as ONNX, by which a version is compared with another.
        fitted: Time of the last row that anything was fitted on, by series: microseconds UTC, or the
            integer that the series counts in.
        seen: Likewise, of the last row that trained or validated.
    """

    start: Start
    graph: bytes
    fitted: dict[str, int]
    seen: dict[str, int]

    @classmethod
    def of(cls, model: Model, panel: Panel, parts: Split, earlier: Judged | None = None) -> Judged:
        """Note what a judged model has seen, and what the one that it continued had."""
        scaled = rows_to_scale(parts, model.config.context_rows + model.horizon)
        fitted, seen = (
            dict(zip(panel.ids, _times(panel, stops - 1), strict=True))
            for stops in (scaled, np.maximum(scaled, parts.val_stop))
        )
        if earlier is not None:
            fitted, seen = _latest(earlier.fitted, fitted), _latest(earlier.seen, seen)
        return cls(Start(model.weights, model.scaling), model.graph, fitted, seen)


@dataclass(frozen=True)
class Earlier:
    """A version that training continues.

    Attributes:
        version: What it is called.
        model: The one it publishes.
        judged: The one it was judged by.
    """

    version: str
    model: Model
    judged: Judged

    @property
    def published(self) -> Start:
        """Weights and scalers of the published model."""
        return Start(self.model.weights, self.model.scaling)

    def settings(self, asked: Config) -> Config:
        """Return settings with the version's network and scalers, and its folds where none are asked.

        Raises:
            InvalidInputError: A setting that was asked for contradicts the version's.
        """
        own, flat = self.model.config.flat(), asked.flat()
        for key, value in asked.given().items():
            if _is_built_in(key) and value not in (None, own[key], OPEN.get(key)):
                raise InvalidInputError(
                    f"--warm-start: {key} {_said(value)} was asked for, but version "
                    f"{self.version!r} has {_said(own[key])}.",
                    HINT,
                )
        kept = {key: value for key, value in own.items() if _is_built_in(key)}
        held_out = ["val_size"]
        if asked.evaluation.test_size is None:
            held_out += ["folds", "step_size"]
        kept |= {key: own[key] for key in held_out if flat[key] is None}
        return asked.replace(**kept)

    def require_unseen(self, panel: Panel, parts: Split) -> None:
        """Refuse to judge on rows that the weights know.

        No validation row may have trained the judged model of the version, no test row may have
        trained or validated it.

        Raises:
            InvalidInputError: Names the first series whose rows would, and what to do.
        """
        for what, known, first in (
            ("validation", self.judged.fitted, parts.val_start),
            ("test", self.judged.seen, parts.test_start),
        ):
            times = _times(panel, np.minimum(first, parts.lengths - 1))
            held_out = first < parts.lengths
            for uid, time, any_row in zip(panel.ids, times, held_out, strict=True):
                if any_row and time <= known.get(uid, time - 1):
                    raise InvalidInputError(
                        f"--warm-start: {what} of series {uid!r} would begin at "
                        f"{_written(time, panel)}, but version {self.version!r} has learnt from rows "
                        f"up to {_written(known[uid], panel)}: the judgement would be of rows it knows.",
                        "Hold out fewer rows (--folds, --test-size, --val-size, --gap), fetch newer "
                        "ones, or train without --warm-start.",
                    )

    def to_dict(self, panel: Panel) -> dict[str, Any]:
        """Return what manifests and `--json` say of it."""
        known = [uid for uid in panel.ids if uid in self.judged.seen]
        return {
            "version": self.version,
            "new_series": len(panel.ids) - len(known),
            "fitted_until": _last(self.judged.fitted, known, panel),
            "seen_until": _last(self.judged.seen, known, panel),
        }


def _is_built_in(key: str) -> bool:
    """Tell whether a setting describes the weights or the scalers, not how they are trained."""
    return SECTION_OF[key] in {"network", "scaling"} or key in BUILT_FOR | {"ensemble"}


def _said(value: object) -> str:
    return "(none)" if value in (None, ()) else str(as_flag(value))


def _times(panel: Panel, rows: Ints) -> list[int]:
    """Return the time of one row of each series, counted from the series' start."""
    return times_of(panel, panel.offsets[:-1] + np.maximum(rows, 0))


def times_of(panel: Panel, rows: Ints) -> list[int]:
    """Return the times of rows of a panel as `Judged` counts them."""
    ds = panel.ds[rows]
    if isinstance(ds, pd.DatetimeIndex):
        ds = pd.Index(ds.as_unit("us").asi8)
    return [int(time) for time in ds]


def _latest(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {
        uid: max(times[uid] for times in (one, other) if uid in times) for uid in {**one, **other}
    }


def _last(times: dict[str, int], known: list[str], panel: Panel) -> str | None:
    return _written(max(times[uid] for uid in known), panel) if known else None


def _written(time: int, panel: Panel) -> str:
    if not isinstance(panel.ds, pd.DatetimeIndex):
        return str(time)
    moment = pd.Timestamp(time, unit="us")
    zone = panel.ds.tz
    return str(moment if zone is None else moment.tz_localize("UTC").tz_convert(zone))
