"""What makes a challenger: the recipe it is trained by, and what it has to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster import api, artifacts, gates
from forecaster.config import Config
from forecaster.continuing import KEPT
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    QualityGateError,
)
from forecaster.manifest import is_backfill, read_manifest, trained_on
from forecaster.recipes import RECIPE
from forecaster.registry import Registry
from forecaster.rivals import Duel
from forecaster.unattended import GatesSpec

if TYPE_CHECKING:
    import pandas as pd

    from forecaster.planning import OnEpoch
    from forecaster.statistical import OnWindow

TIME_AXIS = {"frequency", "calendar", "season_length"}


def as_built(asked: Config, origins: Mapping[str, str], versions: Iterable[Path]) -> Config:
    """Return settings in which what nobody set is as in the champion, as far as it is built for it.

    Only forecasts of the same horizon, steps and columns can be compared. The settings of the time
    axis go together.

    Args:
        asked: The settings.
        origins: Where each comes from.
        versions: Folders of the champion and of those that stand in when its settings are damaged.
    """
    for folder in versions:
        with suppress(ForecasterError):
            own = artifacts.load_settings(folder).flat()
            break
    else:
        return asked
    left = {key for key in KEPT if origins[key] == "default"}
    if not left >= TIME_AXIS:
        left -= TIME_AXIS
    return Config.of(**asked.given() | {key: own[key] for key in left})


def trained_already(
    registry: Registry, name: str, wanted: str, champion: str | None
) -> tuple[str | None, str]:
    """Return a whole version of a recipe that is yet to be judged, and what to say.

    No version but something to say: one of this recipe is in service, or was and was taken out.
    """
    was = set()
    with suppress(DamagedError):
        was = {promotion.version for promotion in registry.history(name)}
    for version in reversed(registry.versions(name)):
        folder = registry.version_folder(name, version)
        try:
            if read_manifest(folder).get(RECIPE) != wanted:
                continue
            artifacts.load(folder)
        except ForecasterError:  # damaged: train it again
            continue
        if version == champion:
            return None, f"Nothing new: version {version} was trained on these rows."
        if version in was and champion is not None:
            return None, f"Nothing new: version {version}, of these rows, was taken out of service."
        return version, f"Version {version} was trained on these rows before."
    return None, ""


def train(
    config: Config,
    frame: pd.DataFrame,
    start: Path | None,
    on_epoch: OnEpoch,
    on_window: OnWindow,
) -> tuple[api.Forecaster, list[str]]:
    """Train a challenger and say what the reader should know of it.

    One that cannot continue a version (other settings, a damaged file, rows that its judged weights
    know) is trained from random weights instead: nobody is there to ask.

    Args:
        config: Settings.
        frame: The rows.
        start: Folder of the version to continue; None for random weights.
        on_epoch: Called after each epoch.
        on_window: Called after each window that Theta or ETS is fitted to.
    """
    forecaster, said = api.Forecaster.of(config), []
    fit = partial(forecaster.fit, frame, on_epoch, on_window=on_window)
    try:
        fit(warm_start=start)
    except InvalidInputError as error:
        if start is None:
            raise
        fit()
        said = [f"Trained from random weights, not from version {start.name}: {error.message}"]
    return forecaster, [*forecaster.evaluated.panel.notices, *said]


def verdict_of(registry: Registry, name: str, version: str) -> str:
    """Return the verdict on a version, as it was judged."""
    return str(read_manifest(registry.version_folder(name, version))["judgement"]["verdict"])


def require_gates(
    spec: GatesSpec, registry: Registry, name: str, champion: str | None, challenger: str
) -> None:
    """Refuse a challenger that the model gates say no to, or that knows less recent rows.

    Raises:
        QualityGateError: Says which gate, or what the champion knows.
    """
    new = registry.version_folder(name, challenger)
    manifest = read_manifest(new)
    gates.require_model(spec, manifest["judgement"])
    if champion is None:
        return
    backfill, last = False, manifest["data"]["last"]
    with suppress(DamagedError):  # of the champion: it knows nothing then
        old = registry.version_folder(name, champion)
        backfill = is_backfill(last, trained_on(new), old)
    if backfill:
        raise QualityGateError(
            f"The challenger ends at {last}, the champion {champion} knows later rows of its series.",
            f"If that is wanted: forecast models promote {challenger} --name {name}.",
        )


def verdict(found: Duel, margin: float) -> str:
    """Return what speaks for a challenger.

    Raises:
        QualityGateError: It is not better than the champion by the margin.
    """
    if found.champion is None:
        return f"Not compared with the champion, because {found.reason}: the gates alone decided."
    figures = (
        f"MASE {found.challenger:.4g} of the challenger against {found.champion:.4g} of the "
        f"champion on {found.windows} windows that neither has seen"
    )
    if found.is_better(margin):
        return f"Better: {figures}."
    asked = f"; --margin {margin:g} asks for {100 * margin:g}% less" if margin else ""
    raise QualityGateError(
        f"The challenger is not better: {figures}{asked}.", "The champion stays in service."
    )
