"""Training a version again from what it says of itself, and comparing what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecaster import api, artifacts
from forecaster.calendars import moment
from forecaster.errors import ForecasterError, QualityGateError
from forecaster.manifest import read_manifest
from forecaster.predicting import predict
from forecaster.words import listed

if TYPE_CHECKING:
    from forecaster.model import Model
    from forecaster.planning import OnEpoch
    from forecaster.registry import Registry
    from forecaster.series import Panel
    from forecaster.store import Store

TOLERANCE = 0.01  # of a series' standard deviation: threads alone move sums in their last digits


@dataclass(frozen=True)
class Reproduction:
    """What came of training a version again.

    Attributes:
        name: The model.
        version: What was trained again.
        reproduced: Whether the forecasts are the same within the tolerance.
        difference: The largest between two forecasts, in standard deviations of its series.
        tolerance: In the same unit.
        same_data: Whether the rows are those it was trained on.
        hashes: Of the rows then and now.
        libraries: Versions then and now, of those that differ.
        notes: What may explain a difference, a line each.
    """

    name: str
    version: str
    reproduced: bool
    difference: float
    tolerance: float
    same_data: bool
    hashes: tuple[str, str]
    libraries: dict[str, tuple[str | None, str | None]]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 6 when other forecasts came out."""
        return 0 if self.reproduced else QualityGateError.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self)


def reproduce(
    registry: Registry, store: Store, name: str, said: str, on_epoch: OnEpoch
) -> Reproduction:
    """Train a version again on the stored rows that it was trained on, and compare forecasts.

    Rows that have arrived since are left out. Nothing is stored.

    Raises:
        NotFoundError: There is no such version, the version it was continued from was deleted, or
            a series of it is not stored any more.
        DamagedError: The version is not what was written.
        ForecasterError: Its manifest does not say what it was trained on.
    """
    version = registry.resolve(name, said)
    folder = registry.version_folder(name, version)
    model, manifest = artifacts.load(folder), read_manifest(folder)
    if made := manifest.get("compressed"):
        raise ForecasterError(
            f"Version {version!r} was not trained anew but made from {made['from']!r}.",
            f"Reproduce that one, or make it again: forecast compress --version {made['from']} "
            f"--name {name} {made['option']}.",
        )
    try:
        then, last = str(manifest["data"]["hash"]), str(manifest["data"]["last"])
    except (KeyError, TypeError) as error:
        raise ForecasterError(
            f"The manifest of '{folder}' does not say what it was trained on.",
            "Only versions that 'forecast train' made can be reproduced.",
        ) from error
    ahead = bool(model.config.data.future)
    frame = until(store.read(list(model.scaling.ids)), last, ahead)
    settings = model.config.replace(folds=None, require_skill=False)  # test_size says how many
    start = manifest.get("warm_start")
    earlier = None if start is None else registry.find(name, str(start["version"]))
    again = api.Forecaster.of(settings).fit(frame, on_epoch, warm_start=earlier)
    now = again.about["data"]["hash"]
    difference = _difference(model, again.model, again.evaluated.panel)
    libraries = _differing(manifest["versions"], artifacts.library_versions())
    return Reproduction(
        name,
        version,
        reproduced=difference <= TOLERANCE,
        difference=difference,
        tolerance=TOLERANCE,
        same_data=then == now,
        hashes=(then, now),
        libraries=libraries,
        notes=tuple(
            _notes(model, again.model, libraries, same_data=then == now, equal=difference == 0)
        ),
    )


def until(frame: pd.DataFrame, last: str, ahead: bool = False) -> pd.DataFrame:
    """Return the rows up to a time as manifests write it.

    Args:
        frame: A long frame.
        last: The time.
        ahead: Keep the later rows without their values, for the columns known ahead.

    >>> frame = pd.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]})
    >>> until(frame, "2")["ds"].tolist(), until(frame, "2", ahead=True)["y"].tolist()
    ([1, 2], [1.0, 2.0, nan])
    """
    ds = frame["ds"]
    known = ds <= moment(last, pd.Index(ds))
    return frame.assign(y=frame["y"].where(known)) if ahead else frame[known]


def _difference(first: Model, second: Model, panel: Panel) -> float:
    """Return the largest difference of two models' forecasts in units of their series' spread."""
    column = first.config.network.cell
    one, other = (predict(model, panel).frame for model in (first, second))
    spread = {
        uid: float(np.std(panel.y[start:stop])) or 1.0
        for uid, start, stop in zip(panel.ids, panel.offsets, panel.offsets[1:], strict=False)
    }
    units = one["unique_id"].map(spread).to_numpy(dtype=np.float64)
    return float(np.max(np.abs(one[column].to_numpy() - other[column].to_numpy()) / units))


def _differing(
    then: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    names = dict.fromkeys([*then, *now])
    return {
        name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)
    }


def _notes(
    model: Model,
    again: Model,
    libraries: Mapping[str, object],
    *,
    same_data: bool,
    equal: bool,
) -> list[str]:
    notes = []
    if not same_data:
        notes.append(
            "The data has changed: the stored rows are not those the version was trained on."
        )
    if libraries:
        notes.append(f"Other versions of {listed(sorted(libraries))} are installed now.")
    if model.trained.device != again.trained.device:
        notes.append(f"It was trained on {model.trained.device}, now on {again.trained.device}.")
    if any(member.stopped_by == "time budget" for member in model.trained.members):
        notes.append("Its training was ended by a time budget, which no two runs spend alike.")
    if not model.config.training.deterministic and not equal:
        notes.append("It was not trained with --deterministic: the last digits may differ.")
    return notes
