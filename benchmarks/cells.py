"""Cells and presets compared on ETTh1: accuracy, cost, and which differences are noise.

    python benchmarks/cells.py --data FOLDER --json cells.json

A short protocol: rows 1 to 8,640 train, the next 2,880 validate, and of the 2,880 held out 96 hours
are forecast once a day (117 cutoffs of 7 channels, where the long protocol has 2,785). Values count
in standard deviations of the train rows, so that errors are on the scale of the published ones.
Lookbacks are those of the presets. FOLDER holds `ETTh1.csv`; see `benchmarks/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster import compare
from forecaster.cli.output import plain
from forecaster.comparing import Comparison, asked
from ours import tell
from problems import etth

if TYPE_CHECKING:
    from forecaster.planning import Progress

STEP = 24  # hours from one cutoff to the next
SCORES = {"mse": "MSE", "mae": "MAE", "mase": "MASE", "direction": "direction"}


def main() -> None:
    """Compare, print Markdown, and write every figure as JSON."""
    told = _arguments()
    problem = etth(1, told.data)
    assert problem.scale is not None
    frame = problem.frame()
    frame["y"] /= frame["unique_id"].map(dict(zip(problem.series, problem.scale, strict=True)))
    found = compare(
        frame,
        asked(told.cells, told.presets),
        seeds=told.seeds,
        on_run=_tell,
        horizon=problem.horizon,
        test_size=problem.test_size,
        step_size=STEP,
        val_size=problem.settings["val_size"],
        transform=problem.settings["transform"],
        **dict(item.split("=", 1) for item in told.set),
    )
    print(as_markdown(found))
    told.json.write_text(json.dumps(plain(found.to_dict()), indent=2), encoding="utf-8")
    print(f"Every figure: {told.json}", file=sys.stderr)


def as_markdown(found: Comparison) -> str:
    """Return the table, then what the differences mean."""
    spreads = found.spreads()
    lines = [
        f"| model | parameters | lookback | training s | epochs | window us | {' | '.join(SCORES.values())} |",
        "|---|" + "---|" * (5 + len(SCORES)),
    ]
    for name, row in found.means().items():
        cells = [f"{row['parameters']:,.0f}", f"{row['lookback']:.0f}"]
        cells += [f"{row['training_seconds']:.0f}", f"{row['epochs']:.1f}"]
        cells.append(f"{1e6 * row['inference_seconds']:.0f}")
        cells += [f"{row[score]:.4f} ±{spreads[name][score]:.4f}" for score in SCORES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, scores in found.baselines.items():
        cells = [""] * 5 + [f"{scores[score]:.4f}" for score in SCORES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    failed = [f"- {name} failed: {why}" for name, why in found.failed.items()]
    return "\n".join([*lines, "", *failed, *(f"- {line}" for line in found.verdict)])


def _tell(run: str) -> Callable[[Progress], None]:
    print(run, file=sys.stderr, flush=True)
    return tell


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ETTh1.csv")
    parser.add_argument("--cells", type=_listed, default=["rnn", "lstm", "gru"])
    parser.add_argument("--presets", type=_listed, default=["segment", "classic"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="a setting, such as epochs=3")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/cells.json"))
    return parser.parse_args()


def _listed(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
