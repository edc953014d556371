"""Networks compared fairly: the same rows, folds, seeds and budget, side by side with the baselines.

Each candidate is trained once a seed and judged as a backtest judges it. Nothing is chosen here:
early stopping and whatever else a candidate decides sees rows before its folds, and the scores are
only reported.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecaster import backtesting, judging, presets, series, statistical
from forecaster.baselines import BASELINES
from forecaster.config import CELLS, SECTION_OF, Config
from forecaster.contest import COSTS, SCORES, Contest, Run, scores
from forecaster.differences import Difference, Entry, differences, sentences
from forecaster.errors import InvalidInputError
from forecaster.series import Panel
from forecaster.statistical import OnWindow

if TYPE_CHECKING:
    from forecaster.backtesting import Rolled
    from forecaster.planning import OnRun

Candidates = Mapping[str, Mapping[str, Any]]
Figures = dict[str, dict[str, float]]  # by candidate

COMPARABLE = {"scaling", "network", "training"}  # sections in which candidates may differ ...
ALIKE = {  # ... but for what makes the comparison fair
    *("horizon", "val_size", "seed", "epochs", "time_budget"),
    *("device", "deterministic", "refit_all"),
}


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        configs: Resolved settings of each candidate that suits the data.
        seeds: Those that every candidate was trained with.
        runs: In the order trained, of candidates that did not fail.
        baselines: Scores by baseline.
        failed: Candidates that failed, and why.
        differences: Every pair of candidates, and each with the baseline that is best on these folds.
        folds: How many each was judged on.
        panel: The rows, with what there is to say of them.
        notes: What to say of baselines that are left out, or could not be fitted.
        interrupted: Whether it was stopped before all was trained.
    """

    configs: dict[str, Config]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    baselines: Figures
    failed: dict[str, str]
    differences: tuple[Difference, ...]
    folds: int
    panel: Panel
    notes: tuple[str, ...]
    interrupted: bool = False

    @property
    def verdict(self) -> list[str]:
        """What the differences mean, in sentences."""
        return sentences(self.differences)

    def means(self) -> Figures:
        """Return the mean of every figure over seeds, the candidate of the lowest MASE first."""
        found = self._over_seeds(np.mean)
        return dict(sorted(found.items(), key=lambda item: item[1]["mase"]))

    def spreads(self) -> Figures:
        """Return the standard deviation of every figure over seeds; NaN with one seed."""
        return self._over_seeds(_deviation)

    def _over_seeds(self, summary: Callable[[list[float]], Any]) -> Figures:
        runs: dict[str, list[Run]] = {}
        for run in self.runs:
            runs.setdefault(run.candidate, []).append(run)
        return {
            name: {key: float(summary([run.figures[key] for run in own])) for key in own[0].figures}
            for name, own in runs.items()
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [{"candidate": run.candidate, "seed": run.seed, **run.figures} for run in self.runs]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each candidate and seed, and one for each candidate that failed.

        Columns: `candidate, seed`, then `COSTS` and `SCORES`, then `failure`, empty when there is
        none.
        """
        rows = [{**row, "failure": ""} for row in self._rows()]
        rows += [{"candidate": name, "failure": why} for name, why in self.failed.items()]
        table = pd.DataFrame(rows, columns=["candidate", "seed", *COSTS, *SCORES, "failure"])
        whole = {"seed": "Int64", "parameters": "Int64", "lookback": "Int64"}
        return table.astype(whole)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "seeds": self.seeds,
            "folds": self.folds,
            "runs": self._rows(),
            "means": self.means(),
            "spreads": self.spreads(),
            "baselines": self.baselines,
            "failed": self.failed,
            "differences": [
                {**asdict(each), "is_noise": each.is_noise} for each in self.differences
            ],
            "verdict": self.verdict,
            "configs": {name: config.model_dump() for name, config in self.configs.items()},
            "interrupted": self.interrupted,
        }


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def compare(
    frame: pd.DataFrame,
    candidates: Candidates | None = None,
    *,
    seeds: int = 3,
    on_run: OnRun = lambda _: lambda _: None,
    **settings: Any,
) -> Comparison:
    """Train several networks with several seeds and judge them on the same folds.

    Args:
        frame: Columns `unique_id, ds, y` and any covariates.
        candidates: What each candidate sets, by its name; the three cells when None.
        seeds: Times that each is trained, from `seed` on.
        on_run: Told what is trained next, gives what is told of its epochs.
        **settings: As for `Forecaster`, the same for every candidate.

    Returns:
        Figures of every run (`.to_frame()`), means, spreads, and which differences are noise
        (`.verdict`).

    Raises:
        InvalidInputError: There are no seeds; a setting or value that there is not.
        ForecasterError: No candidate could be trained: the reason of the first.
    """
    if not hasattr(seeds, "__index__") or seeds < 1:
        raise InvalidInputError(
            f"At least 1 seed, a whole number of them, is needed, got {seeds!r}."
        )
    configs = configured(Config.of(**settings), candidates or asked())
    return compared(frame, configs, seeds, on_run)


def asked(
    cells: Sequence[str] = (), presets: Sequence[str] = (), texts: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Combine cells and presets into candidates, and add those that are written out.

    Without cells they are all three, unless there are only candidates that are written out;
    without presets it is that of the settings.

    Raises:
        InvalidInputError: A candidate is not written as settings, or there twice.

    >>> asked(["gru"], ["segment", "classic"])["gru classic"]
    {'cell': 'gru', 'preset': 'classic'}
    """
    cells = cells or (() if texts and not presets else CELLS)
    found: dict[str, dict[str, Any]] = {
        cell if len(presets) == 1 else f"{cell} {preset}": {"cell": cell, "preset": preset}
        for preset in presets
        for cell in cells
    }
    if not presets:
        found = {cell: {"cell": cell} for cell in cells}
    for text in texts:
        settings = candidate_of(text)
        if twin := next((name for name, each in found.items() if each == settings), None):
            raise InvalidInputError(
                f"The candidates {twin!r} and {text!r} are the same.", "Leave one of them out."
            )
        found[text] = settings
    return found


def candidate_of(text: str) -> dict[str, Any]:
    """Read what a candidate sets.

    Raises:
        InvalidInputError: It is not written as settings, or sets one twice.

    >>> candidate_of("cell=lstm layers=64,64")
    {'cell': 'lstm', 'layers': '64,64'}
    """
    try:
        words = shlex.split(text)
    except ValueError:  # a quotation without an end
        words = []
    if not words or not all("=" in word for word in words):
        raise InvalidInputError(
            f"A candidate is written as its settings, but is {text!r}.",
            "Write it as in --candidate 'cell=lstm layers=64,64'.",
        )
    pairs = [word.split("=", 1) for word in words]
    settings = dict(pairs)
    if len(settings) < len(pairs):
        raise InvalidInputError(
            f"The candidate {text!r} sets something twice.", "Say it once, or as two candidates."
        )
    return settings


def compared(
    frame: pd.DataFrame,
    configs: Mapping[str, Config],
    seeds: int,
    on_run: OnRun = lambda _: lambda _: None,
    on_window: OnWindow = statistical.silent,
) -> Comparison:
    """Do what `compare` does, of settings that are already checked.

    Stopped by KeyboardInterrupt, it returns what every candidate was trained for; before each was
    trained once, those that were.

    Args:
        frame: Columns `unique_id, ds, y` and any covariates.
        configs: Of each candidate, by name (`configured`).
        seeds: How many.
        on_run: Told what is trained next.
        on_window: Called after each window that Theta or ETS is fitted to.
    """
    data = next(iter(configs.values())).data  # the same for all
    contest = Contest(series.prepare(frame, data), configs)
    rolled = contest.train(seeds, on_run)
    return _outcome(contest, rolled, on_window)


def configured(config: Config, candidates: Candidates) -> dict[str, Config]:
    """Return the settings of each candidate, before any row is read.

    One that contradicts itself is left to fail beside the others.

    Args:
        config: Settings of all.
        candidates: What each sets, by name.

    Raises:
        InvalidInputError: A setting that there is not, or that cannot differ; all candidates
            contradict themselves: the reason of the first.
    """
    found = {name: _configured(config, name, each) for name, each in candidates.items()}
    refused = []
    for each in found.values():
        try:
            presets.check_asked(each)
        except InvalidInputError as error:
            refused.append(error)
    if len(refused) == len(found):
        raise refused[0]
    return found


def _configured(config: Config, name: str, settings: Mapping[str, Any]) -> Config:
    """Return the settings of a candidate; the network alone is judged.

    Raises:
        InvalidInputError: A setting or value that there is not, or that cannot differ.
    """
    if name in (*BASELINES, *statistical.STATISTICAL):
        raise InvalidInputError(
            f"A candidate cannot be called {name!r}: a baseline is.", "Give it another name."
        )
    for key in settings:
        if key in ALIKE or SECTION_OF.get(key, "network") not in COMPARABLE:
            raise InvalidInputError(
                f"Candidate {name!r} sets {key}, which has to be the same for all.",
                f"Give --{key.replace('_', '-')} beside the candidates.",
            )
    usual = {"preset": "segment"} if config.network.preset == "auto" else {}
    alone = {"fallback": "none", "require_skill": False, "refit_all": False, "level": ()}
    found = config.replace(**{**usual, **alone, **settings})
    if found.network.preset == "auto":
        raise InvalidInputError(
            f"Candidate {name!r} is the preset auto, which compares networks itself.",
            "Compare the other presets.",
        )
    return found


def _outcome(contest: Contest, rolled: Rolled, on_window: OnWindow) -> Comparison:
    """Put the scores of the baselines beside those of the candidates, and test every pair."""
    runs = contest.runs
    config = contest.configs[runs[0].candidate]
    folds = backtesting.beside_baselines(rolled, contest.panel, config, on_window)
    baselines = {name: scores(folds, folds.forecasts[name]) for name in folds.baselines}
    mase = {name: found["mase"] for name, found in baselines.items()}
    best = judging.best_of(mase)
    entries = {
        best: Entry(
            (mase[best],) * len(contest.seeds),
            judging.losses_over_time(folds, folds.forecasts[best]),
        )
    }
    for name in dict.fromkeys(run.candidate for run in runs):
        own = [run for run in runs if run.candidate == name]
        losses = np.mean([run.losses for run in own], axis=0)
        entries[name] = Entry(tuple(run.figures["mase"] for run in own), losses)
    return Comparison(
        configs=contest.configs,
        seeds=tuple(contest.seeds),
        runs=tuple(runs),
        baselines=baselines,
        failed={name: error.message for name, error in contest.failed.items()},
        differences=differences(entries, partial(judging.test_between, folds)),
        folds=int(folds.fold.max()) + 1,
        panel=contest.panel,
        notes=folds.notes,
        interrupted=contest.interrupted,
    )
