"""What a study searches: settings, each with its choices or its range.

`depth` and `units` stand for `layers`: so many recurrent layers of so many units each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from forecaster.config import SECTION_OF, Config
from forecaster.errors import InvalidInputError
from forecaster.presets import LOOKBACK_ROWS

STACK = ("depth", "units")
USUAL = ("cell", *STACK, "lookback", "segment", "dropout", "learning_rate", "batch_size", "loss")
SECTIONS = {"scaling", "network", "training"}
# what is scored, how often, or on what: trials that differ in these cannot be compared
FIXED = {
    "preset", "horizon", "min_context", "layers", "quantiles", "ensemble", "val_size", "refit_all",
    "seed", "deterministic", "time_budget", "device",
}  # fmt: skip
SEARCHABLE = (
    *STACK,
    *(key for key, name in SECTION_OF.items() if name in SECTIONS and key not in FIXED),
)
SEASONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 30)
LEAST_LOOKBACK = 5  # steps, where there is no season
MOST_STEPS = 120  # of recurrence: more take minutes a trial and vanish anyway
BATCHES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ",".join(str(value) for value in self.values)

    def suggest(self, trial: Any, name: str) -> Any:
        """Let the sampler choose a value for a trial of Optuna."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range:
    """Any number between two, ends included; by orders of magnitude where it spans one or more."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"

    def suggest(self, trial: Any, name: str) -> Any:
        """Let the sampler choose a value for a trial of Optuna."""
        log = self.low > 0 and self.high >= 10 * self.low
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, self.high, log=log)
        value = float(f"{trial.suggest_float(name, self.low, self.high, log=log):.3g}")
        return min(max(value, self.low), self.high)  # as it is written into a file


Space = Mapping[str, Choices | Range]


def asked_for(words: Sequence[str]) -> dict[str, Choices | Range | None]:
    """Read what `--search` said: by setting its choices or its range, None for the usual ones.

    Args:
        words: Each `NAME`, `NAME=VALUE,VALUE...` or `NAME=LOW..HIGH`.

    Raises:
        InvalidInputError: A setting that cannot be searched, or a value that it cannot have.

    >>> {name: str(found) for name, found in asked_for(["cell=rnn,gru", "dropout=0..0.3"]).items()}
    {'cell': 'rnn,gru', 'dropout': '0..0.3'}
    """
    found: dict[str, Choices | Range | None] = {}
    for word in words:
        name, equals, values = (part.strip() for part in word.partition("="))
        name = name.replace("-", "_")
        _require_searchable(name)
        if name in found:
            raise InvalidInputError(f"--search names {name!r} twice.", "Name it once.")
        if not equals and name not in USUAL:
            raise InvalidInputError(
                f"--search {name} needs values: there are no usual ones.",
                f"Write --search {name}=VALUE,VALUE or, for numbers, {name}=LOW..HIGH.",
            )
        found[name] = _values(name, values) if equals else None
    return found


def _require_searchable(name: str) -> None:
    if name in SEARCHABLE:
        return
    if name == "layers":
        hint = "Search its parts: depth (how many layers) and units (of each)."
    elif name not in SECTION_OF and (near := get_close_matches(name, SEARCHABLE, n=1)):
        hint = f"Did you mean {near[0]!r}?"
    else:
        hint = f"These can be: {', '.join(SEARCHABLE)}."
    raise InvalidInputError(f"--search: {name!r} cannot be searched.", hint)


def _values(name: str, text: str) -> Choices | Range:
    low, dots, high = text.partition("..")
    if not dots:
        values = tuple(dict.fromkeys(_value(name, part.strip()) for part in text.split(",")))
        return Choices(values)
    ends = _value(name, low.strip()), _value(name, high.strip())
    if not isinstance(ends[0], (int, float)) or isinstance(ends[0], bool) or ends[0] >= ends[1]:
        raise InvalidInputError(
            f"--search {name}={text}: a range runs from a number up to a larger one.",
            f"Write {name}=LOW..HIGH, or its choices as {name}=VALUE,VALUE.",
        )
    return Range(*ends)


def _value(name: str, text: str) -> Any:
    """Return a value as the setting has it.

    Raises:
        InvalidInputError: It may not have it.
    """
    if name in STACK:
        return (Config.of(layers=text or "none").network.layers or ())[0]
    return alone(Config.of(**{name: text}).flat()[name])


def alone(value: Any) -> Any:
    """Return the one value of a setting that may have one for each layer.

    >>> alone((0.1,)), alone((0.1, 0.2)), alone("gru")
    (0.1, (0.1, 0.2), 'gru')
    """
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def space_of(
    asked: Mapping[str, Choices | Range | None],
    fixed: Collection[str],
    base: Config,
    train_rows: int,
    windows: int,
) -> dict[str, Choices | Range]:
    """Return what is searched: what was asked for, or else the usual settings that are not fixed.

    Args:
        asked: From `asked_for`; empty for the usual ones.
        fixed: Settings that a flag or the environment fixes.
        base: The default: settings resolved for the data.
        train_rows: Rows that are trained on in the first inner fold.
        windows: Training windows of the default there.

    Raises:
        InvalidInputError: A setting is both fixed and searched, or nothing is left to search.
    """
    held = {*fixed, *(STACK if "layers" in fixed else ())}
    if both := sorted(held & asked.keys()):
        raise InvalidInputError(
            f"{both[0]!r} is both fixed (by a flag or the environment) and searched.",
            f"Leave out --search {both[0]}, or what fixes it.",
        )
    usual = _usual(fixed, base, train_rows, windows)
    names = [name for name in (asked or USUAL) if name not in held]
    found = {name: asked.get(name) or usual[name] for name in names}
    if not found:
        raise InvalidInputError(
            "Every setting that is usually searched is fixed.", "Name others with --search."
        )
    return found


def _usual(
    fixed: Collection[str], base: Config, train_rows: int, windows: int
) -> dict[str, Choices | Range]:
    network, default = base.network, base.flat()
    lookback, horizon = int(network.lookback or 1), int(network.horizon or 1)
    season = int(base.data.season_length or 1)
    unit = season if season > 1 else max(horizon, LEAST_LOOKBACK)
    most = max(lookback, min(train_rows - horizon, LOOKBACK_ROWS))
    lookbacks = {lookback, *(unit * times for times in SEASONS if unit * times <= most)}
    divided = [horizon if network.decoder == "parallel" else season]
    if "lookback" in fixed:
        lookbacks = {lookback}
        divided.append(lookback)
    segments = {
        steps
        for steps in range(1, max(divided) + 1)
        if not any(whole % steps for whole in divided) and max(lookbacks) <= MOST_STEPS * steps
    }
    batches = {size for size in BATCHES if size <= max(windows, BATCHES[0])}
    return {
        "cell": Choices(("rnn", "lstm", "gru")),
        "depth": Range(1, 3),
        "units": Range(16, 256),
        "lookback": Choices(tuple(sorted(lookbacks))),
        "segment": Choices(tuple(sorted(segments | {default["segment"]}))),
        "dropout": Range(0.0, 0.5),
        "learning_rate": Range(1e-4, 1e-2),
        "batch_size": Choices(tuple(sorted(batches | {default["batch_size"]}))),
        "loss": Choices(("mae", "mse", "huber")),
    }


def settings_of(params: Mapping[str, Any], asked: Config, base: Config) -> dict[str, Any]:
    """Return the settings that the values of a trial stand for.

    A searched lookback is cut to whole segments, and asks no more rows of a series than the default
    does: trials are scored on the same windows.

    Args:
        params: Values by name in the space.
        asked: The settings that every trial shares, as asked.
        base: The same resolved: the default.
    """
    settings = {name: value for name, value in params.items() if name not in STACK}
    if params.keys() & set(STACK):
        layers = base.network.layers or (1,)
        depth, units = params.get("depth", len(layers)), params.get("units", layers[0])
        settings["layers"] = (units,) * depth
    if "segment" in settings:
        settings.setdefault("decoder", base.network.decoder)
    if "lookback" in settings:
        segment = settings.get("segment") or asked.network.segment or 1
        lookback = max(segment, settings["lookback"] // segment * segment)
        settings |= {"lookback": lookback, "min_context": min(base.context_rows, lookback)}
    return settings


def params_of(config: Config, space: Space) -> dict[str, Any]:
    """Return the values that a configuration has in a space, those that lie outside left out.

    >>> params_of(Config.of(layers=(8, 8), cell="gru"), {"depth": Range(1, 3), "units": Range(9, 16)})
    {'depth': 2}
    """
    values = {name: alone(value) for name, value in config.flat().items()}
    layers = config.network.layers or ()
    if len(set(layers)) == 1:
        values |= {"depth": len(layers), "units": layers[0]}
    return {name: values[name] for name in space if values.get(name) in space[name]}
