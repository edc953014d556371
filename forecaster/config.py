"""What a run is told: frozen, validated specs.

Every field has one name, the same as a flag (`--batch-size`), an environment variable
(`FORECAST_BATCH_SIZE`), a key of `forecast.toml` (`batch_size`, in its section) and an argument of
`Forecaster`. A field whose default is None is chosen from the data by `presets.resolve`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from forecaster.errors import InvalidInputError
from forecaster.specs import (
    Duration,
    Names,
    Quantiles,
    Rate,
    Rates,
    Share,
    Spec,
    Steps,
    Units,
    as_table,
    as_text,
    listed,
)
from forecaster.unattended import SECRET, GatesSpec, LogSpec, NotifySpec, RetrainSpec

CELLS = ("rnn", "lstm", "gru")
SEEDS = 2**32  # NumPy's


class DataSpec(Spec):
    """How rows become a regular panel: one named policy for every defect."""

    frequency: Annotated[str | None, BeforeValidator(as_text)] = Field(
        None,
        description="Pandas alias such as h, D, B, MS, or the step of integers; "
        "else guessed from the rows.",
    )
    calendar: str | None = Field(
        None, description="Exchange whose sessions are the time steps, such as XNYS."
    )
    season_length: PositiveInt | None = Field(
        None, description="Steps in a season; else by frequency."
    )
    covariates: Names = Field((), description="Columns used as past features; `all` for every one.")
    future: Names = Field(
        (),
        description="Columns known ahead: rows after the last value, y left empty, hold those of "
        "the horizon.",
    )
    static: Names = Field(
        (), description="Columns of numbers or words that are constant within each series."
    )
    available_after: Annotated[dict[str, Duration], BeforeValidator(as_table)] = Field(
        {},
        description="How long after its date each late covariate is published, as a table such as "
        'gdp = "45d"; JSON in a flag.',
    )
    holidays: str | None = Field(
        None,
        description="Country or part of one, such as US or DE-BY, whose holidays are a feature "
        "known ahead.",
    )
    missing_timestamps: Literal["fill", "error", "skip-series"] = Field(
        "fill", description="What to do about steps that are not there."
    )
    missing_values: Literal["fill", "drop", "error", "skip-series"] = Field(
        "fill", description="What to do about empty values; filled from the row before."
    )
    infinite_values: Literal["error", "fill", "drop", "skip-series"] = Field(
        "error", description="What to do about infinite values."
    )
    duplicates: Literal["error", "drop", "skip-series"] = Field(
        "error", description="What to do about rows of the same time; drop keeps the last."
    )
    unsorted: Literal["sort", "error"] = Field(
        "sort", description="What to do about rows out of order."
    )
    mixed_zones: Literal["utc", "error"] = Field(
        "utc", description="What to do about several time zones in one table."
    )
    constant: Literal["keep", "error", "skip-series"] = Field(
        "keep", description="What to do about series that never change."
    )
    too_short: Literal["skip-series", "error"] = Field(
        "skip-series", description="What to do about series with too few rows."
    )

    @field_validator("covariates", "future", "static")
    @classmethod
    def _one_role_each(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        roles: dict[str, tuple[str, ...]] = {
            "the keys unique_id, ds and y": ("unique_id", "ds", "y")
        }
        roles |= {key: info.data[key] for key in ("covariates", "future") if key in info.data}
        for role, others in roles.items():
            if both := sorted(set(names) & set(others)):
                raise ValueError(f"a column has one role; {', '.join(both)} is among {role} too")
        return tuple(dict.fromkeys(names))

    @field_validator("available_after")
    @classmethod
    def _late_covariates(cls, late: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        past = info.data.get("covariates", ("all",))
        if past != ("all",) and (other := sorted(set(late) - set(past))):
            raise ValueError(
                f"only covariates ({', '.join(past) or 'there are none'}) can be late, and "
                f"{', '.join(other)} is none"
            )
        return late


class ScalingSpec(Spec):
    """How values are made comparable before the network sees them; fitted on train rows only."""

    transform: Literal["auto", "none", "log", "diff"] = Field(
        "auto", description="First step: logarithm, differences, or what suits the values."
    )
    scaler: Literal["standard", "minmax", "robust", "none"] = Field(
        "standard", description="Second step: z-score, 0 to 1, or median and quartiles."
    )
    deseasonalise: bool | None = Field(
        None,
        description="Before scaling, subtract each series' seasonal effects, as far as they stand out "
        "from noise; else the preset auto tries it, and others do not.",
    )


class Recurrent(NamedTuple):
    """One recurrent layer: its units, what it is made of, and what is dropped of its output."""

    units: int
    cell: str
    dilation: int
    dropout: float


class NetworkSpec(Spec):
    """The recurrent network: normalise, embed, encode, decode."""

    preset: Literal["auto", "segment", "classic", "attention", "hybrid", "seq2seq"] = Field(
        "auto",
        description="Starting point: segments, the textbook's stacked cells or its "
        "encoder-decoder, or segments with attention to the states or a Transformer block; auto "
        "compares a few networks of segments on validation windows.",
    )
    cell: str = Field(
        "gru",
        description="Recurrent cell: rnn, lstm or gru; or one for each layer from the first, such "
        "as rnn-lstm.",
    )
    layers: Units | None = Field(None, description="Units of each recurrent layer; else by preset.")
    lookback: PositiveInt | None = Field(
        None, description="Past steps seen; else by season and rows."
    )
    min_context: PositiveInt | None = Field(
        None,
        description="Past steps that a series must have; it is thought to have repeated its first "
        "season before. Else lookback, less when series are shorter.",
    )
    padding: Literal["repeat", "mask"] = Field(
        "repeat",
        description="What stands before the start of a series: its first season, or nothing, which "
        "the cells are not run on.",
    )
    horizon: PositiveInt | None = Field(
        None, description="Future steps forecast; else by frequency and rows."
    )
    segment: PositiveInt | None = Field(
        None, description="Steps folded into one recurrent step; else by season."
    )
    normalise: Literal["last", "season", "spread", "revin", "none"] | None = Field(
        None,
        description="Per window: subtract the last value or the last season's mean; or that, "
        "divided by the mean change over a season; reversible mean/std; nothing. Else by preset.",
    )
    skip: Literal["none", "season", "linear"] | None = Field(
        None,
        description="What the cells' forecast is added to: nothing, the last season, or a linear "
        "map of the context that starts as the last season; else by preset.",
    )
    skip_lag: PositiveInt | None = Field(
        None, description="Steps in the season of skip and normalise; else season_length."
    )
    series_vectors: bool | None = Field(
        None, description="Learn a vector for each series; else by preset."
    )
    joint: bool = Field(
        False,
        description="All series enter every context together and are forecast together.",
    )
    quantiles: Quantiles | None = Field(
        None, description="Forecast besides the point, as the shape of intervals; else by preset."
    )
    direction: bool = Field(
        False, description="Forecast besides the chance that each step is above the one before."
    )
    decoder: Literal["direct", "parallel", "recurrent"] | None = Field(
        None,
        description="From state to steps: one layer, a step per segment, or segment after segment, "
        "each from the one before; else by preset.",
    )
    dropout: Rates | None = Field(
        None,
        description="Share of outputs dropped after every recurrent layer, or after each from the "
        "first; else by preset.",
    )
    recurrent_dropout: Rate = Field(
        0.0, description="Share of recurrent state dropped; above 0 no cuDNN."
    )
    gate_bias: Literal["constant", "chrono"] | None = Field(
        None,
        description="How the gates of LSTM and GRU start: with Keras' constants, or open, so that "
        "states last from one step to all of the context; else constant, chrono in a memory task.",
    )
    bidirectional: bool = Field(
        False, description="Have every recurrent layer read the context both ways."
    )
    residual: bool = Field(
        False, description="Add what goes into each recurrent layer to what comes out."
    )
    dilations: Steps = Field(
        (),
        description="Recurrent steps from one state to the next, for every layer or for each from "
        "the first; else 1.",
    )
    attention: Literal["none", "states", "self"] | None = Field(
        None,
        description="What attends to the states of the top layer: nothing, the last one, or each "
        "of them, in a Transformer block; else by preset.",
    )
    heads: PositiveInt | None = Field(
        None, description="Heads of the attention; else at most 4 that divide its units."
    )
    l1: float = Field(
        0.0, ge=0, description="Penalty on the size of the recurrent layers' kernels."
    )
    l2: float = Field(
        0.0, ge=0, description="Penalty on the square of the recurrent layers' kernels."
    )
    calendar_features: bool = Field(
        False, description="Hour, weekday, month ... as features known ahead."
    )

    @field_validator("cell")
    @classmethod
    def _known_cells(cls, cell: str) -> str:
        if not set(cell.split("-")) <= set(CELLS):
            raise ValueError(
                "'rnn', 'lstm' or 'gru' is needed, or one of them for each layer, such as rnn-lstm"
            )
        return cell

    @property
    def each(self) -> dict[str, tuple[Any, ...]]:
        """Settings that hold one value for every layer, or one for each from the first."""
        return {
            "cell": tuple(self.cell.split("-")),
            "dilations": self.dilations or (1,),
            "dropout": self.dropout or (0.0,),
        }

    @property
    def stack(self) -> tuple[Recurrent, ...]:
        """The recurrent layers from the first, once `layers` is known."""
        units = self.layers or ()
        each = (
            values * len(units) if len(values) == 1 else values for values in self.each.values()
        )
        return tuple(Recurrent(*layer) for layer in zip(units, *each, strict=True))

    @field_validator("quantiles")
    @classmethod
    def _beside_the_point(cls, quantiles: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if quantiles and (0.5 in quantiles or len(set(quantiles)) < len(quantiles)):
            raise ValueError("different quantiles are needed; 0.5 is the point's and always there")
        return quantiles


class TrainSpec(Spec):
    """One fit."""

    loss: Literal["mae", "mse", "huber", "mase", "smape"] = Field(
        "mae", description="What training makes small; quantiles are trained by the pinball loss."
    )
    ensemble: PositiveInt | None = Field(
        None,
        description="Networks from different seeds; their median is the forecast; else by preset.",
    )
    shrink: bool | None = Field(
        None,
        description="Pull the forecast towards its starting point (last value or season) as far "
        "as validation asks; else by preset.",
    )
    teacher_forcing: Share | None = Field(
        None,
        description="Share of the steps at which a recurrent decoder sees the truth in training, "
        "not its own last output; else by preset.",
    )
    epochs: PositiveInt | None = Field(
        None, description="At most; early stopping ends sooner. Else by preset and windows."
    )
    batch_size: PositiveInt | None = Field(
        None, description="Windows in one step of training; else by number of windows."
    )
    learning_rate: float | None = Field(
        None, gt=0, description="Step size of the optimiser; else by preset."
    )
    schedule: Literal["cosine", "plateau"] | None = Field(
        None,
        description="How the learning rate falls: along a cosine over the epochs or the time "
        "budget, or halved whenever validation stands still; else by preset.",
    )
    patience: PositiveInt = Field(8, description="Epochs without improvement before stopping.")
    clip_norm: float | None = Field(
        None, gt=0, description="Largest norm of the gradient; else 1, or any with clip_value."
    )
    clip_value: float | None = Field(
        None, gt=0, description="Largest size of each number of the gradient; else any."
    )
    val_size: PositiveInt | None = Field(
        None, description="Rows of the validation tail; else by horizon and rows."
    )
    refit_all: bool = Field(
        True, description="Publish a model trained again on all rows once it is judged."
    )
    seed: int = Field(1, ge=0, le=SEEDS - 1, description="Start of every random number.")
    deterministic: bool = Field(False, description="The same weights on every run, a bit slower.")
    time_budget: Duration | None = Field(
        None,
        description="For the epochs of training, such as 90s, 10m, 1h30m; compiling, judging and "
        "writing come on top.",
    )
    device: Literal["auto", "cpu", "gpu"] = Field("auto", description="Where training runs.")

    def seed_after(self, number: int) -> int:
        """Return the seed so many after the first; 0 comes after the largest."""
        return (self.seed + number) % SEEDS


class EvaluationSpec(Spec):
    """The folds a model is judged on."""

    folds: PositiveInt | None = Field(None, description="Cutoffs to forecast from; else by rows.")
    test_size: PositiveInt | None = Field(None, description="Rows held out; instead of folds.")
    step_size: PositiveInt | None = Field(
        None, description="Rows between cutoffs; else the horizon, or 1 with --test-size."
    )
    gap: int = Field(0, ge=0, description="Rows left out between train, validation and test.")
    refit: Literal["each", "never"] = Field(
        "never",
        description="In backtest and compare, train anew for each fold, or once before the first.",
    )
    require_skill: bool = Field(
        False,
        description="Fail with code 6, publishing nothing, unless MASE is below the best baseline's "
        "and Diebold-Mariano p below 0.05.",
    )
    fallback: Literal["none", "baseline"] = Field(
        "none",
        description="Forecast a series by the best of naive, seasonal naive, drift, Theta and ETS "
        "where the network does not beat it on validation.",
    )


class SeriesBounds(Spec):
    """The bounds of one series; what is left open is as for all."""

    min: float | None = None
    max: float | None = None
    whole: bool | None = None


class BoundsSpec(Spec):
    """What forecasts and intervals keep within, in the units of the data."""

    min: float | None = Field(None, description="Smallest value that is forecast; else any.")
    max: float | None = Field(None, description="Largest value that is forecast; else any.")
    whole: bool = Field(
        False, description="Forecast whole numbers: points to the nearest, intervals outward."
    )
    per_series: Annotated[dict[str, SeriesBounds], BeforeValidator(as_table)] = Field(
        {},
        description="Bounds of single series, by name, as a table of min, max and whole; JSON in "
        "a flag.",
    )

    @field_validator("max", "whole")
    @classmethod
    def _some_room(cls, value: float | bool | None, info: ValidationInfo) -> float | bool | None:
        known = {**info.data, str(info.field_name): value}
        _require_room(known.get("min"), known.get("max"), bool(known.get("whole")))
        return value

    @field_validator("per_series")
    @classmethod
    def _some_room_each(
        cls, value: dict[str, SeriesBounds], info: ValidationInfo
    ) -> dict[str, SeriesBounds]:
        if {"min", "max", "whole"} <= info.data.keys():  # else they are wrong themselves
            known = cls.model_construct(**info.data, per_series=value)
            for uid in value:
                own = known.of(uid)
                _require_room(own.min, own.max, bool(own.whole), f" of series {uid!r}")
        return value

    def of(self, uid: str) -> SeriesBounds:
        """Return the bounds in force for a series."""
        own = self.per_series.get(uid, SeriesBounds()).model_dump(exclude_none=True)
        everyone = {"min": self.min, "max": self.max, "whole": self.whole}
        return SeriesBounds.model_construct(**{**everyone, **own})


def _require_room(low: float | None, high: float | None, whole: bool, whose: str = "") -> None:
    if low is None or high is None:
        return
    if low >= high:
        raise ValueError(
            f"the max{whose} has to be above the min, but is {high:g} with min {low:g}"
        )
    if whole and math.ceil(low) > math.floor(high):
        raise ValueError(f"no whole number{whose} lies from min {low:g} to max {high:g}")


class PredictionSpec(Spec):
    """What is exported."""

    level: Annotated[tuple[float, ...], BeforeValidator(listed)] = Field(
        (80.0, 95.0), description="Interval levels in percent."
    )
    adaptive_intervals: bool = Field(
        True,
        description="Widen or narrow the intervals of a series by its errors since training.",
    )
    max_age: Duration | None = Field(None, description="Refuse data older than this, such as 3d.")

    @field_validator("level")
    @classmethod
    def _percentages(cls, level: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 1 <= percent < 100 for percent in level) or len(set(level)) < len(level):
            raise ValueError(
                "different percentages from 1 to below 100 are needed, such as 80, not 0.8"
            )
        if any(float(f"{percent:g}") != percent for percent in level):
            raise ValueError("percentages of at most 6 digits are needed: they name the columns")
        return level


class Config(Spec):
    """Everything a run is told, one section a concern.

    What says how a model is run, not what it is, is never stored with one: it may hold secrets.
    """

    data: DataSpec = DataSpec()
    scaling: ScalingSpec = ScalingSpec()
    network: NetworkSpec = NetworkSpec()
    training: TrainSpec = TrainSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    bounds: BoundsSpec = BoundsSpec()
    prediction: PredictionSpec = PredictionSpec()
    retrain: RetrainSpec = Field(RetrainSpec(), exclude=True)
    gates: GatesSpec = Field(GatesSpec(), exclude=True)
    notify: NotifySpec = Field(NotifySpec(), exclude=True)
    log: LogSpec = Field(LogSpec(), exclude=True)

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
                near = get_close_matches(key, SECTION_OF, n=1)
                hint = (
                    f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(SECTION_OF)}."
                )
                raise InvalidInputError(f"There is no setting {key!r}.", hint)
            sections.setdefault(SECTION_OF[key], {})[key] = value
        return validated(sections)

    def replace(self, **settings: Any) -> Config:
        """Return a copy with some settings changed."""
        return Config.of(**{**self.flat(), **settings})

    @property
    def context_rows(self) -> int:
        """Rows that a series needs before it can be forecast."""
        return int(self.network.min_context or self.network.lookback or 0)

    @property
    def knows_ahead(self) -> bool:
        """Whether a forecast reads something of the steps that it forecasts."""
        return bool(self.data.future or self.network.calendar_features or self.data.holidays)

    @property
    def context_season(self) -> int:
        """First rows of a series that are repeated where a context reaches back past them."""
        season = int(self.data.season_length or 1)
        return season if season <= self.context_rows else 1

    def flat(self) -> dict[str, Any]:
        """Return every setting by its name."""
        return {
            key: value for section in self.sections().values() for key, value in section.items()
        }

    def given(self) -> dict[str, Any]:
        """Return those that were given a value, None included, by name."""
        return {
            key: value
            for name in SECTIONS
            for key, value in getattr(self, name).model_dump(exclude_unset=True).items()
        }

    def sections(self) -> dict[str, dict[str, Any]]:
        """Return every setting by section and name, those that are not stored included."""
        return {name: getattr(self, name).model_dump() for name in SECTIONS}


def policies(option: str) -> tuple[str, ...]:
    """Return what a setting of the data may be.

    >>> policies("duplicates")
    ('error', 'drop', 'skip-series')
    """
    return get_args(DataSpec.model_fields[option].annotation)


SECTIONS: dict[str, type[Spec]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Config.model_fields.items()
}
SECTION_OF = {key: name for name, spec in SECTIONS.items() for key in spec.model_fields}


def validated(sections: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Config:
    """Check sections of settings and freeze them.

    Args:
        sections: Settings by section.
        origins: Where a setting (`training.epochs`) was read, to name it in an error; the empty
            key stands for every other one.

    Raises:
        InvalidInputError: Names the key, the value found, its origin and the values allowed.
    """
    try:
        return Config.model_validate(sections)
    except ValidationError as error:
        problems = [_problem(item, origins or {}) for item in error.errors()]
        found = "; ".join(problems)
        raise InvalidInputError(f"Configuration is not valid: {found}.") from error


def _problem(item: Any, origins: Mapping[str, str]) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path[:2])
    origin = origins.get(key, origins.get("", ""))
    where = f" ({origin})" if origin else ""
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{where}; {_known(path)}"
    reason = str(item["msg"]).removeprefix("Value error, ")
    key = ".".join(part for part in item["loc"] if isinstance(part, str))
    found = "" if path[-1] in SECRET else f", found {item['input']!r}"
    return f"{key}: {reason}{found}{where}"


def _known(path: list[str]) -> str:
    """Say which keys there are where an unknown one stood."""
    *sections, key = path
    if key in SECTION_OF:
        return f"it belongs under [{SECTION_OF[key]}]"
    known = list(SECTIONS[sections[0]].model_fields if sections else SECTIONS)
    if near := get_close_matches(key, known, n=1):
        return f"the nearest is {near[0]!r}"
    return f"known here: {', '.join(known)}"
