"""Real data in the package: small, to try things with and to test on."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.errors import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).with_name("samples")


@dataclass(frozen=True)
class Sample:
    """One bundled data set.

    Attributes:
        name: As `load_sample` and `forecast fetch --sample` know it.
        title: What it is.
        file: Its file in the package.
        series: How many series.
        rows: How many rows in all.
        frequency: pandas alias.
        licence: The terms of its source; the whole story is in `samples/README.md`.
    """

    name: str
    title: str
    file: str
    series: int
    rows: int
    frequency: str
    licence: str


SAMPLES = {
    sample.name: sample
    for sample in (
        Sample(
            "air-passengers",
            "Airline passengers in thousands, 1949-1960, monthly (Box & Jenkins)",
            "air-passengers.csv",
            series=1,
            rows=144,
            frequency="MS",
            licence="public facts",
        ),
        Sample(
            "stocks",
            "AAPL, AMZN, GOOG, META, NFLX, NVDA in USD, 2013-2023, business-daily",
            "stocks.parquet",
            series=6,
            rows=16194,
            frequency="B",
            licence="MIT",
        ),
    )
}


def list_samples() -> list[Sample]:
    """Return the bundled data sets; nothing is read."""
    return list(SAMPLES.values())


def load_sample(name: str) -> pd.DataFrame:
    """Read a bundled data set as a long frame.

    Raises:
        NotFoundError: There is none of that name; those that exist are named.
    """
    if name not in SAMPLES:
        near = get_close_matches(name, SAMPLES, n=1)
        raise NotFoundError(
            f"There is no sample {name!r}.",
            f"Did you mean {near[0]!r}?" if near else f"The samples are: {', '.join(SAMPLES)}.",
        )
    from forecaster.sources.files import read_file

    return read_file(FOLDER / SAMPLES[name].file)[0]
