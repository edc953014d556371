"""What `scoring` finds: how published forecasts did, of each model as a whole and by its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from forecaster.chances import ChanceScores


@dataclass(frozen=True)
class Score:
    """The errors of some forecasts.

    Attributes:
        points: Values that were forecast and have arrived.
        forecasts: So many, each of one series from one cutoff by one version.
        cutoffs: Points in time that they were made from.
        mae: Mean absolute error.
        bias: Mean of forecast less truth.
        smape: From 0 to 200.
        mase: Mean absolute scaled error, as when the model was judged; None where no series has a scale.
        baselines: The same of what baselines said from the same rows, by name.
        best_baseline: The one with the lowest; None without any.
        skill: One less the ratio of the model's MASE to that baseline's.
        coverage: Share of the values inside their intervals, by level.
    """

    points: int
    forecasts: int
    cutoffs: int
    mae: float
    bias: float
    smape: float
    mase: float | None
    baselines: dict[str, float]
    best_baseline: str | None
    skill: float | None
    coverage: dict[str, float]

    def to_row(self) -> dict[str, Any]:
        """Return one value a column: `naive_mase` and `coverage_80` for what stands by name here."""
        row = asdict(self)
        del row["baselines"], row["coverage"]
        row |= {f"{name}_mase": value for name, value in self.baselines.items()}
        return row | {f"coverage_{level}": share for level, share in self.coverage.items()}


@dataclass(frozen=True)
class Part:
    """The score of one part of a model's forecasts: a version, a step, or a time."""

    label: str
    score: Score


@dataclass(frozen=True)
class Live:
    """How one model's forecasts did.

    Attributes:
        name: The model.
        score: Of all its forecasts.
        verdict: On it beside the best baseline, one sentence; empty where there is none.
        p_value: Of the Diebold-Mariano test between the two; None where nothing can be told.
        times: Points in time that it is told by.
        latest: The verdict on the latest version alone; empty where there is one only.
        versions: By version, oldest first.
        series: By series.
        steps: By step ahead.
        thirds: By early, middle and late steps of the longest forecast, as far as they have arrived;
            empty where it has less than three.
        trend: By time of the cutoffs, oldest first.
        chances: Of a step up, as far as they have arrived; None without any.
    """

    name: str
    score: Score
    verdict: str
    p_value: float | None
    times: int
    latest: str
    versions: tuple[Part, ...]
    series: tuple[Part, ...]
    steps: tuple[Part, ...]
    thirds: tuple[Part, ...]
    trend: tuple[Part, ...]
    chances: ChanceScores | None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `Scored.to_frame`."""
        parts = {
            "all": (Part("", self.score),),
            "version": self.versions,
            "series": self.series,
            "step": self.steps,
            "cutoffs": self.trend,
        }
        for by, some in parts.items():
            for part in some:
                yield {"name": self.name, "by": by, "part": part.label} | part.score.to_row()


@dataclass(frozen=True)
class Scored:
    """Live scores, and the forecasts that have none.

    Attributes:
        models: One for each model with values that have arrived.
        pending: Values forecast that have not arrived.
        repeated: Values that were published again and count once.
        strange: Values of series that are not stored, or that came from a file.
        unscaled: Values that have arrived and have no MASE: of series that had never changed, or kept by a
            version that kept no baselines.
        notices: What the reader should know, a line each.
    """

    models: tuple[Live, ...]
    pending: int
    repeated: int
    strange: int
    unscaled: int
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each part of each model's forecasts; none where no value has arrived.

        Columns: `name`, `by` (`all`, `version`, `series`, `step` or `cutoffs`), `part`, the figures of
        `Score`, the MASE of each baseline, such as `naive_mase`, and `coverage_80` and so on.
        """
        rows = [row for live in self.models for row in live.rows()]
        return pd.DataFrame(rows, columns=None if rows else ["name", "by", "part"])
