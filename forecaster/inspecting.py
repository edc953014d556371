"""The jobs that look into a version: which values it did not expect, and what it looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecaster import anomalies, explaining, series
from forecaster.bounds import outside_notice
from forecaster.exporting import export
from forecaster.jobs import (
    Result,
    require_known,
    require_output,
    rows_for,
    settings_today,
    skips,
)
from forecaster.metrics import LEAST_TIMES
from forecaster.registry import Registry
from forecaster.reports.inspected import plot_anomalies, plot_importance
from forecaster.reports.plots import require_plot
from forecaster.rivals import judged_model
from forecaster.rows import named
from forecaster.store import Store
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.anomalies import Anomalies, Detector
    from forecaster.config import DataSpec
    from forecaster.model import Model
    from forecaster.series import Panel
    from forecaster.sources.layout import Columns
    from forecaster.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ExplainResult(Result):
    """What a network looks at, written or to be printed.

    Attributes:
        frame: `Explanation.parts`.
        mae: Error with nothing shuffled, in the units of the data.
        mase: Likewise, in units of MASE.
        windows: How many were forecast.
        repeats: Times that each part was shuffled.
    """

    frame: pd.DataFrame
    name: str
    version: str
    mae: float
    mase: float
    windows: int
    repeats: int
    plot: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        document = {key: value for key, value in vars(self).items() if key != "frame"}
        return document | {"parts": self.frame.to_dict("records")}


@dataclass(frozen=True, kw_only=True)
class AnomalyResult(Result):
    """Anomalies, written or to be printed.

    Attributes:
        frame: The anomalies; with `everything` all rows judged, and those without a value.
        anomalies: How many there are.
        judged: Rows judged.
        missing: Rows without a value of their own, which were not.
        false_alarms: Share of normal rows that are flagged: `asked`, `held`, and the number of rows
            `calibrated` on.
        by_chance: Anomalies among normal rows, of those the model has not seen: mean, and the bounds
            of 95 cases in 100.
    """

    frame: pd.DataFrame
    name: str
    version: str
    anomalies: int
    judged: int
    missing: int
    false_alarms: dict[str, float]
    by_chance: tuple[float, int, int]
    plot: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`; the rows only when no file holds them."""
        document = {key: value for key, value in vars(self).items() if key != "frame"}
        if self.output is None:
            document["rows"] = self.frame.to_dict("records")
        return document


def find_anomalies(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    flags: Mapping[str, Any],
    *,
    version: str,
    file: str | None,
    columns: Columns,
    rate: float,
    since: str | None,
    everything: bool,
    output: Path | None,
    plot: Path | None,
) -> AnomalyResult:
    """Judge rows by a version's one-step forecasts; write them and a plot when asked."""
    require_output(workspace, output, file)
    require_plot(plot)
    registry = Registry(workspace.models)
    version = registry.resolve(name, version)
    model, judged = judged_model(registry.version_folder(name, version))
    config = settings_today(model, workspace, flags)
    together = model.config.network.joint
    if together:
        require_known(model, ids, name)
    read = () if together else ids  # one is forecast from the rows of all
    frame, notices, gone = rows_for(workspace, model, read, name, version, file, columns)
    panel = _with_context(series.prepare(frame, config.data), model, config.data.too_short)
    reference = _reference(workspace, model, panel, config.data) if read or file else panel
    detector = anomalies.calibrated(model, judged, reference, rate, since, config.bounds)
    found = anomalies.detect(detector, panel, ids if together else ())
    skipped = gone | panel.skipped
    table = _table(found, version, everything=everything)
    if output:
        export(table, output)
    if plot:
        plot_anomalies(found.rows, model.config.network.cell, plot)
    outside = outside_notice(config.bounds, panel.ids, panel.y, panel.offsets)
    said = (*notices, *panel.notices, *outside, *_notices(detector, found, panel), *skips(skipped))
    return AnomalyResult(
        frame=table,
        name=name,
        version=version,
        anomalies=len(found.found),
        judged=len(found.rows),
        missing=len(found.missing),
        false_alarms={
            "asked": rate,
            "held": detector.rate,
            "calibrated": detector.calibrated,
        },
        by_chance=found.by_chance,
        plot=plot,
        notices=said,
        skipped=skipped,
        output=output,
    )


def explain(
    workspace: Workspace,
    ids: Sequence[str],
    name: str,
    *,
    version: str,
    file: str | None,
    columns: Columns,
    block: int | None,
    repeats: int,
    seed: int,
    output: Path | None,
    plot: Path | None,
) -> ExplainResult:
    """Shuffle the parts of a version's input; write their importance and a plot when asked."""
    require_output(workspace, output, file)
    require_plot(plot)
    registry = Registry(workspace.models)
    version = registry.resolve(name, version)
    model, judged = judged_model(registry.version_folder(name, version))
    frame, notices, gone = rows_for(workspace, model, ids, name, version, file, columns)
    config = model.config
    panel = _with_context(series.prepare(frame, config.data), model, config.data.too_short)
    found = explaining.explain(model, judged, panel, block=block, repeats=repeats, seed=seed)
    if output:
        export(found.parts, output)
    if plot:
        plot_importance(found.parts, plot)
    if found.left_out:
        same = ", ".join(found.left_out)
        notices += (f"Not shuffled: {same}, which is the same in all windows of the only series.",)
    if not any(member.shrinkage for member in model.trained.members):
        notices += (
            "Nothing that the network learnt was kept, because validation did not confirm it: what is "
            "explained is only what its forecast starts from (the last value, or season).",
        )
    if found.windows < LEAST_TIMES:
        notices += (
            f"{counted(found.windows, 'window')} are too few to tell importance from luck: "
            f"{LEAST_TIMES} are needed.",
        )
    if new := sorted(set(panel.ids) - set(model.scaling.ids)):
        notices += (f"The model has never seen {named(new)}: scaled by their own rows.",)
    skipped = gone | panel.skipped
    return ExplainResult(
        frame=found.parts,
        name=name,
        version=version,
        mae=found.mae,
        mase=found.mase,
        windows=found.windows,
        repeats=repeats,
        plot=plot,
        notices=(*notices, *panel.notices, *skips(skipped)),
        skipped=skipped,
        output=output,
    )


def _with_context(panel: Panel, model: Model, too_short: str) -> Panel:
    """Leave out, or refuse, series without a row that can be judged."""
    needed = model.config.context_rows + 1
    return series.without_short(panel, needed, "min_context + 1", too_short)


def _reference(workspace: Workspace, model: Model, panel: Panel, spec: DataSpec) -> Panel:
    """Return the stored series that the model knows, to calibrate on; the panel when none is."""
    store = Store(workspace.data)
    stored = set(store.ids())
    known = [uid for uid in model.scaling.ids if uid in stored]
    if not known:
        return panel
    return _with_context(series.prepare(store.read(known), spec), model, spec.too_short)


def _table(found: Anomalies, version: str, *, everything: bool) -> pd.DataFrame:
    """Return the anomalies, or all rows, those without a value among them."""
    if not everything:
        return found.found.assign(model_version=version)
    missing = found.missing.assign(anomaly=False, direction="", severity="missing", seen="")
    both = pd.concat([found.rows, missing]) if len(missing) else found.rows
    table = both.sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)
    return table.assign(model_version=version)


def _remedy(detector: Detector, panel: Panel) -> str:
    """Say how the share asked for can be met, as far as the rows allow it, or which one can."""
    config = detector.model.config
    wanted = -(-detector.needed // len(detector.model.scaling.ids))
    left = int(panel.lengths.max()) - wanted - int(config.evaluation.test_size or 0)
    ways = []
    if left >= config.context_rows + detector.model.horizon:
        ways.append(f"train with --val-size {wanted}")
    if detector.enough_since is not None:
        ways.append(f"judge --since '{detector.enough_since}'")
    ways.append(f"give --false-alarms {math.ceil(1e4 * detector.rate) / 1e4:g}")
    said = ", or ".join(ways)
    return f"{said[:1].upper()}{said[1:]}."


def _notices(detector: Detector, found: Anomalies, panel: Panel) -> list[str]:
    """Say what the rate of false alarms is worth, and which rows are not judged like the others."""
    notices = []
    if detector.rate > detector.asked:
        notices.append(
            f"A share of false alarms of {detector.asked:g} needs {detector.needed:,} calibration "
            f"rows, but there are {detector.calibrated:,}: what is above the largest error seen is an "
            f"anomaly, which flags {detector.rate:.2g} of normal rows. {_remedy(detector, panel)}"
        )
    if len(found.missing):
        names = named(dict.fromkeys(found.missing["unique_id"]))
        notices.append(
            f"Not judged: {counted(len(found.missing), 'row')} without a value of {names}, the first "
            f"at {found.missing['ds'].iloc[0]}."
        )
    if older := int((found.rows["seen"] != "").sum()):
        notices.append(
            f"{counted(older, 'row')} trained or validated the network, which makes them look more "
            "normal than they are: the share of false alarms does not hold there (column seen)."
        )
    if detector.model.config.evaluation.fallback != "none":
        notices.append("Baselines that forecast series in place of the network judge none of them.")
    new = sorted(set(panel.ids) - set(detector.model.scaling.ids))
    if new:
        notices.append(
            f"The model has never seen {named(new)}: scaled by their own rows, anomalies among "
            "them, so that the share of false alarms is not promised there."
        )
    return notices
