"""What a run is told: frozen, validated specs.

Every field has one name, the same as a flag (`--batch-size`), an environment variable
(`FORECAST_BATCH_SIZE`), a key of `forecast.toml` (`batch_size`, in its section) and an argument of
`Forecaster`. A field whose default is None is chosen from the data by `presets.resolve`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from forecaster.errors import InvalidInputError

DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(value: object) -> object:
    """Turn a duration such as `90`, `"10m"` or `"1h30m"` into seconds.

    >>> seconds("1h30m")
    5400.0
    """
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value.strip())
    if not parts or "".join(number + unit for number, unit in parts) != value.strip():
        raise ValueError(f"a duration such as 90s, 10m, 1h30m or 2d is needed, got {value!r}")
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)


def listed(value: object) -> object:
    """Turn `"64,64"` into `("64", "64")`, as flags and environment variables write lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Cell = Literal["rnn", "lstm", "gru"]
Units = Annotated[tuple[PositiveInt, ...], BeforeValidator(listed), Field(min_length=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class Spec(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSpec(Spec):
    """How rows become a regular panel: one named policy for every defect."""

    frequency: str | None = Field(None, description="pandas alias such as h, D, B, MS; guessed")
    calendar: str | None = Field(None, description="exchange whose sessions the series follows")
    season_length: PositiveInt | None = Field(None, description="steps in a season; by frequency")
    covariates: Names = Field((), description="columns used as past features; `all` for every one")
    missing_timestamps: Literal["fill", "error", "skip-series"] = "fill"
    missing_values: Literal["fill", "drop", "error", "skip-series"] = "fill"
    infinite_values: Literal["error", "fill", "drop", "skip-series"] = "error"
    duplicates: Literal["error", "drop", "skip-series"] = "error"
    unsorted: Literal["sort", "error"] = "sort"
    mixed_zones: Literal["utc", "error"] = "utc"
    constant: Literal["keep", "error", "skip-series"] = "keep"
    too_short: Literal["skip-series", "error"] = "skip-series"


class ScalingSpec(Spec):
    """How values are made comparable before the network sees them; fitted on train rows only."""

    transform: Literal["auto", "none", "log", "diff"] = "auto"
    scaler: Literal["standard", "minmax", "robust", "none"] = "standard"


class NetworkSpec(Spec):
    """The recurrent network: normalise, embed, encode, decode."""

    preset: Literal["segment", "classic"] = Field("segment", description="starting point")
    cell: Cell = Field("gru", description="recurrent cell")
    layers: Units | None = Field(None, description="units of each recurrent layer")
    lookback: PositiveInt | None = Field(None, description="past steps seen")
    horizon: PositiveInt | None = Field(None, description="future steps forecast")
    segment: PositiveInt | None = Field(None, description="steps folded into one recurrent step")
    normalise: Literal["last", "revin", "none"] | None = Field(
        None, description="per window: subtract the last value, reversible mean/std, or nothing"
    )
    decoder: Literal["direct", "parallel"] | None = Field(None, description="from state to steps")
    dropout: Rate | None = Field(None, description="share of inputs dropped between layers")
    recurrent_dropout: Rate = Field(0.0, description="share of recurrent state dropped")
    calendar_features: bool = Field(False, description="hour, weekday, month ... as known ahead")


class TrainSpec(Spec):
    """One fit."""

    loss: Literal["mae", "mse", "huber"] = "mae"
    epochs: PositiveInt = Field(100, description="at most; early stopping ends sooner")
    batch_size: PositiveInt | None = None
    learning_rate: float = Field(1e-3, gt=0)
    patience: PositiveInt = Field(8, description="epochs without improvement before stopping")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    val_size: PositiveInt | None = Field(None, description="rows of the validation tail")
    seed: int = Field(1, ge=0)
    deterministic: bool = Field(False, description="the same weights on every run, a bit slower")
    time_budget: Duration | None = Field(None, description="stop training after this long")
    device: Literal["auto", "cpu", "gpu"] = "auto"


class EvaluationSpec(Spec):
    """The folds a model is judged on."""

    folds: PositiveInt | None = Field(None, description="cutoffs to forecast from")
    test_size: PositiveInt | None = Field(None, description="rows held out; instead of folds")
    step_size: PositiveInt | None = Field(None, description="rows between cutoffs")
    gap: int = Field(0, ge=0, description="rows left out between train, validation and test")
    refit: Literal["each", "never"] = Field("never", description="train anew for each fold")


class PredictionSpec(Spec):
    """What is exported."""

    level: Annotated[tuple[float, ...], BeforeValidator(listed)] = Field(
        (80.0, 95.0), description="interval levels in percent"
    )
    max_age: Duration | None = Field(None, description="refuse data older than this")

    @model_validator(mode="after")
    def _percentages(self) -> Self:
        if bad := [level for level in self.level if not 0 < level < 100]:
            raise ValueError(f"level needs percentages between 0 and 100, got {bad}")
        return self


class Config(Spec):
    """Everything a run is told, one section a concern."""

    data: DataSpec = DataSpec()
    scaling: ScalingSpec = ScalingSpec()
    network: NetworkSpec = NetworkSpec()
    training: TrainSpec = TrainSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    prediction: PredictionSpec = PredictionSpec()

    @classmethod
    def of(cls, **settings: Any) -> Config:
        """Build a config from flat settings, each put into the section that knows it.

        Raises:
            InvalidInputError: A key that no section has, or a value that is not allowed.

        >>> Config.of(horizon=12, cell="lstm").network.horizon
        12
        """
        sections: dict[str, dict[str, Any]] = {}
        for key, value in settings.items():
            if key not in SECTION_OF:
                raise InvalidInputError(
                    f"There is no setting {key!r}.", f"The settings are: {', '.join(SECTION_OF)}."
                )
            sections.setdefault(SECTION_OF[key], {})[key] = value
        return validated(sections)

    def replace(self, **settings: Any) -> Config:
        """Return a copy with some settings changed."""
        return Config.of(**{**self.flat(), **settings})

    def flat(self) -> dict[str, Any]:
        """Return every setting by its name."""
        return {
            key: value for section in self.model_dump().values() for key, value in section.items()
        }


SECTIONS: dict[str, type[Spec]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Config.model_fields.items()
}
SECTION_OF = {key: name for name, spec in SECTIONS.items() for key in spec.model_fields}


def validated(sections: dict[str, Any]) -> Config:
    """Check sections of settings and freeze them.

    Raises:
        InvalidInputError: Names the key, the value found and the values allowed.
    """
    try:
        return Config.model_validate(sections)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            found = "" if item["type"] == "extra_forbidden" else f", found {item['input']!r}"
            problems.append(f"{key}: {_reason(item)}{found}")
        raise InvalidInputError(f"Configuration is not valid: {'; '.join(problems)}.") from error


def _reason(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        section = SECTIONS.get(str(item["loc"][0]))
        known = ", ".join(section.model_fields if section and len(item["loc"]) > 1 else SECTIONS)
        return f"unknown key (known here: {known})"
    return str(item["msg"]).removeprefix("Value error, ")
