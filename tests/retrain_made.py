"""Workspaces for the tests of retraining: two short series of a file, and a small quick network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from series_made import frame_of

from forecaster import fetching
from forecaster.registry import Registry
from forecaster.retrained import Retrained
from forecaster.retraining import retrain
from forecaster.runs import Step
from forecaster.sources.layout import Columns
from forecaster.store import Store
from forecaster.workspace import Workspace

SETTINGS = """
[data]
season_length = 8
[network]
preset = "segment"
lookback = 16
horizon = 4
segment = 4
layers = [8]
[training]
epochs = 2
batch_size = 32
val_size = 16
[evaluation]
folds = 2
"""
ROWS = 120
MORE = 8
STEPS = ("lock", "fetch", "check", "train", "compare", "promote", "predict", "export", "prune")
MOMENTS = [[name, outcome] for name in STEPS for outcome in ("running", "done")]


class Halted(BaseException):
    """Stands for a process that ends at a step."""


def feed(folder: Path, rows: int = ROWS, **changes: float) -> None:
    """Write the file that the series come from; `changes` replaces the last values of some."""
    frame = frame_of("a", "b", rows=rows)
    for uid, value in changes.items():
        frame.loc[frame.index[frame["unique_id"] == uid][-1], "y"] = value
    frame.rename(columns={"y": "units"}).to_csv(folder / "feed.csv", index=False)


def run(folder: Path, *ids: str, **flags: Any) -> Retrained:
    return retrain(Workspace(folder), ids, "air", flags)


def registry(folder: Path) -> Registry:
    return Registry(folder / "models")


def table(folder: Path) -> Path:
    return folder / "forecasts" / "air.csv"


def begun(folder: Path) -> Retrained:
    """Make a workspace and run its first cycle."""
    (folder / "forecast.toml").write_text(SETTINGS)
    feed(folder)
    fetching.fetch_file(Store(folder / "data"), folder / "feed.csv", Columns(target="units"))
    return run(folder)


def halt(folder: Path) -> None:
    """Let newer rows come and a cycle end between training and comparing."""
    feed(folder, ROWS + MORE)

    def stop(step: Step) -> None:
        if (step.name, step.outcome) == ("compare", "running"):
            raise Halted

    try:
        retrain(Workspace(folder), [], "air", {}, on_step=stop)
    except Halted:
        return
    raise AssertionError("The cycle did not come to the comparison.")


def copied(before: Path, folder: Path, known_as: Path | None = None) -> Path:
    """Copy a workspace; the entries of its store name the copied file, as its runs know it."""
    shutil.copytree(before, folder)
    for index in (folder / "data").glob("index*.json"):
        index.write_text(index.read_text().replace(str(before), str(known_as or folder)))
    return folder


def newest() -> str:
    """The cutoff of a forecast from the newer rows."""
    return str(frame_of(rows=ROWS + MORE)["ds"].max().date())
