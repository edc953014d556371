"""A study of settings as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import begun, table
from forecaster.cli.tables import backtest_text, training_text
from forecaster.words import as_flag, counted

if TYPE_CHECKING:
    from forecaster.planning import Progress
    from forecaster.tuning.job import TuneResult
    from forecaster.tuning.tuned import Trial, Tuned

SHOWN_TRIALS = 5


def steps(advance: Callable[..., None]) -> Callable[[int, int, Progress], None]:
    """Return a callback that shows each epoch of each fold of each trial, or that a trial begins."""
    told = set()

    def show(trial: int, fold: int, progress: Progress) -> None:
        if trial not in told:
            told.add(trial)
            begun(f"Trial {trial}")
        advance(1, f"Trial {trial}, fold {fold + 1}, epoch {progress.epoch}: {progress.loss:.4f}")

    return show


def tune_text(result: TuneResult) -> str:
    """Report a study: how it ended, its best trials, what they are worth, what was done."""
    tuned = result.tuned
    lines = [_counts_text(tuned)]
    if start := {key: value for key, value in tuned.start.items() if key not in tuned.space}:
        lines.append(f"Every trial starts from what auto chose: {_settings(start)}.")
    if tuned.best is not None:
        lines += ["", f"MASE on {counted(tuned.folds, 'inner fold')} before the test rows:"]
        lines += [_table(tuned), "", _importances_text(tuned), tuned.verdict]
        if tuned.best is not tuned.default:
            lines.append(tuned.caution)
    else:
        lines.append(tuned.verdict)
    lines += _done_text(result)
    if result.trained is not None:
        lines += ["", training_text(result.trained), "", backtest_text(result.trained)]
    return "\n".join(lines)


def _counts_text(tuned: Tuned) -> str:
    states = {state: tuned.count(state) for state in ("complete", "pruned", "failed", "running")}
    said = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    end = " Ended by Ctrl-C." if tuned.interrupted else " The time was up." * tuned.out_of_time
    place = f" in {tuned.storage}" if tuned.storage else ""
    return f"Study {tuned.study!r}{place}: {counted(len(tuned.trials), 'trial')} ({said}).{end}"


def _table(tuned: Tuned) -> str:
    """Put the best trials and the default into a table, then say why others failed."""
    best = tuned.ranked[:SHOWN_TRIALS]
    default = tuned.default
    rows = [*best, *([default] if default is not None and default not in best else [])]
    names = list(dict.fromkeys(name for trial in rows for name in trial.settings))
    text = table([_row(trial, names) for trial in rows], ["trial", "MASE", *names])
    failed = [trial for trial in tuned.trials if trial.state == "failed"]
    lines = [f"Trial {trial.number} failed: {trial.reason}" for trial in failed[:SHOWN_TRIALS]]
    if len(failed) > SHOWN_TRIALS:
        lines.append(f"... and {len(failed) - SHOWN_TRIALS} more: --output has all of them.")
    return "\n".join([text, *lines])


def _row(trial: Trial, names: list[str]) -> list[Any]:
    number = f"{trial.number} (default)" if trial.default else str(trial.number)
    return [number, f"{trial.score:.4g}", *(_shown(trial.settings.get(name)) for name in names)]


def _importances_text(tuned: Tuned) -> str:
    if tuned.importances is None:
        return "What mattered cannot be told: that takes 10 completed trials that differ."
    named = sorted(tuned.importances.items(), key=lambda item: -item[1])
    return f"What mattered (fANOVA): {', '.join(f'{name} {share:.0%}' for name, share in named)}."


def _done_text(result: TuneResult) -> list[str]:
    lines = [f"Trials: {result.output}"] if result.output else []
    lines += [f"Plot: {result.plot}"] if result.plot else []
    if result.written:
        lines.append(f"Written into {result.written}: {_settings(result.settings)}.")
    if result.failure:
        lines.append(f"Error: {result.failure}")
    return lines


def _settings(settings: dict[str, Any]) -> str:
    given = {name: value for name, value in settings.items() if value is not None}
    return ", ".join(f"{name} {_shown(value)}" for name, value in given.items())


def _shown(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else as_flag(value)
