"""What the groups of settings are made of: the kinds of values, and how they are read."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from forecaster.durations import seconds


def listed(value: object) -> object:
    """Turn `"64,64"` into `("64", "64")`, as flags and environment variables write lists.

    One number alone, as `layers = 64` in a file, is a list of one.
    """
    if isinstance(value, (int, float)):
        return (value,)
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def as_text(value: object) -> object:
    """Turn 5 into `"5"`, as files and Python may give the step of integers."""
    return str(value) if isinstance(value, int) else value


def as_table(value: object) -> object:
    """Turn the JSON that flags and environment variables write tables as into one."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"a table as JSON is needed ({error})") from error


Duration = Annotated[
    float, BeforeValidator(seconds), Field(gt=0, json_schema_extra={"format": "duration"})
]
Units = Annotated[tuple[PositiveInt, ...], BeforeValidator(listed), Field(min_length=1)]
Steps = Annotated[tuple[PositiveInt, ...], BeforeValidator(listed)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(listed), Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Quantiles = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class Spec(BaseModel):
    """A group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_only_where_asked(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `epochs = true`, which pydantic would read as 1, and texts that no file can hold."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("a text without NUL is needed")
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation not in (
            bool,
            bool | None,
        ):
            raise ValueError("true or false is not a value of this setting")
        return value
