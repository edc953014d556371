"""What a study searches and on what, and whether two studies are the same one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from forecaster import preparing, presets
from forecaster.config import Config
from forecaster.scaling import shifted_rows
from forecaster.selecting import select
from forecaster.series import Panel
from forecaster.tuning import spaces
from forecaster.tuning.inner import InnerFolds
from forecaster.tuning.spaces import Choices, Range
from forecaster.words import as_flag

if TYPE_CHECKING:
    import pandas as pd

STORED = ("data", "scaling", "network", "training", "evaluation", "bounds")
# what says how a model is run or judged: no trial's score depends on it
ELSEWHERE = {"device", "require_skill", "fallback", "refit", "refit_all"}


@dataclass(frozen=True)
class Search:
    """What is searched, and on what, whichever process does it.

    Attributes:
        panel: Regular series, all rows.
        asked: Settings that every trial starts from.
        folds: Where trials are scored.
        space: What is searched.
        base: The default: `asked`, resolved.
    """

    panel: Panel
    asked: Config
    folds: InnerFolds
    space: dict[str, Choices | Range]
    base: Config

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of the default in the space, those that lie outside left out."""
        return spaces.params_of(self.base, self.space)

    @property
    def keys(self) -> list[str]:
        """The settings that a trial decides."""
        names = ["layers" if name in spaces.STACK else name for name in self.space]
        names += ["decoder"] if "segment" in names else []
        names += ["min_context"] if "lookback" in names else []
        return list(dict.fromkeys(names))

    def config(self, params: Mapping[str, Any]) -> Config:
        """Return the configuration that values stand for, as `train` would resolve it."""
        settings = spaces.settings_of(params, self.asked, self.base)
        return presets.resolve(self.asked.replace(**settings), self.panel)

    def asked_by(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that values stand for, whether or not they suit each other."""
        settings = spaces.settings_of(params, self.asked, self.base)
        return {key: settings[key] for key in self.keys if key in settings}

    def settings(self, config: Config) -> dict[str, Any]:
        """Return what a trial's configuration decides, for records and `forecast.toml`."""
        values = config.flat()
        found = {key: values[key] for key in self.keys}
        found |= {key: spaces.alone(found[key]) for key in self.space.keys() & found.keys()}
        if found.get("min_context") == values["lookback"]:
            del found["min_context"]  # it follows from lookback
        return found

    def identity(self) -> dict[str, Any]:
        """Return what makes a study this one, as JSON has it."""
        seen = self.folds.panel
        stored = {
            key: value
            for name, section in self.asked.model_dump(mode="json").items()
            if name in STORED
            for key, value in section.items()
        }
        return {
            "settings": stored,
            "data": {
                "series": len(seen.ids),
                "first": str(seen.ds.min()),
                "last": str(seen.ds.max()),
                "hash": seen.digest(),
            },
            "space": {name: str(values) for name, values in self.space.items()},
            "inner_folds": self.folds.count,
        }

    def starting(self, start: Mapping[str, Any]) -> Search:
        """Return the same with what `auto` chose in what every trial starts from."""
        asked = self.asked.replace(**start)
        return replace(self, asked=asked, base=presets.resolve(asked, self.panel))

    def chosen_start(self) -> dict[str, Any]:
        """Return what `auto` chooses for a study, on validation rows before the first inner fold."""
        from forecaster import training

        asked = self.asked
        if shifted_rows(self.panel, int(self.base.data.season_length or 1)).any():
            asked = asked.replace(deseasonalise=False)  # in rows that `select` does not have, too
        found = select(self.folds.panel, asked, self.folds.config, lambda _: training.fit)
        return {} if found is None else plain(found.chosen.settings)


def search_of(
    frame: pd.DataFrame,
    asked: Config,
    *,
    fixed: Collection[str],
    ranges: Mapping[str, Choices | Range | None],
    inner_folds: int | None,
) -> Search:
    """Return what is searched for some series.

    Args:
        frame: The series, all rows.
        asked: Settings that every trial starts from.
        fixed: Those that a flag or the environment gives, which are not searched.
        ranges: What is searched (`spaces.asked_for`); the usual settings when empty.
        inner_folds: How many folds trials are scored on; as many as fit when None.

    Raises:
        InvalidInputError: Settings, ranges and rows that do not go together.
    """
    panel, resolved = preparing.prepared(frame, asked)
    folds = InnerFolds.of(panel, resolved, inner_folds)
    space = spaces.space_of(ranges, fixed, resolved, folds.train_rows, folds.windows)
    return Search(panel, asked, folds, space, resolved)


def differences(
    about: Mapping[str, Any], there: Search, asked: Config, fixed: Collection[str]
) -> list[str]:
    """Say in what a study differs from what is asked for today.

    What the study decides may stand in `forecast.toml` with another value than then: it is where it
    would start, had it not begun.
    """
    free = {*there.keys, "min_context", "decoder", *about["start"]} - set(fixed)
    then, today = (Search.identity(replace(there, asked=c)) for c in (there.asked, asked))
    found = [
        f"{key} is {_said(then['settings'][key])} there and {_said(value)} here"
        for key, value in today["settings"].items()
        if key not in free | ELSEWHERE and value != then["settings"][key]
    ]
    found += [
        f"{what} {key!r}: {_said(about[what].get(key))} there and {_said(today[what].get(key))} here"
        for what in ("data", "space")
        for key in dict.fromkeys([*about[what], *today[what]])
        if about[what].get(key) != today[what].get(key)
    ]
    if about["inner_folds"] != today["inner_folds"]:
        counts = about["inner_folds"], today["inner_folds"]
        found.append(f"it has {counts[0]} inner folds, and {counts[1]} are asked for here")
    return found


def _said(value: Any) -> str:
    return "not set" if value is None else str(as_flag(value))


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON has them."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
    }
