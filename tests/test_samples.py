"""The bundled data: real, whole, small, and cheap to list."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from forecaster.errors import NotFoundError
from forecaster.guessing import infer_frequency
from forecaster.sources.samples import FOLDER, SAMPLES, list_samples, load_sample


@pytest.mark.parametrize("sample", list_samples(), ids=lambda sample: sample.name)
def test_a_sample_is_what_it_says(sample):
    frame = load_sample(sample.name)
    assert list(frame.columns[:3]) == ["unique_id", "ds", "y"]
    assert (len(frame), frame["unique_id"].nunique()) == (sample.rows, sample.series)
    assert not frame.isna().to_numpy().any()
    assert not frame.duplicated(["unique_id", "ds"]).any()
    for _, series in frame.groupby("unique_id"):
        assert infer_frequency(pd.Index(series["ds"])) == sample.frequency
        assert series["ds"].is_monotonic_increasing


def test_air_passengers_is_the_published_series():
    y = load_sample("air-passengers")["y"]
    assert (y.sum(), y.iloc[0], y.iloc[-1], y.max(), y.idxmax()) == (40_363, 112, 432, 622, 138)
    assert y.groupby(y.index // 12).sum().tolist() == [
        1520, 1676, 2042, 2364, 2700, 2867, 3408, 3939, 4421, 4572, 5140, 5714,
    ]  # fmt: skip


def test_the_stocks_are_those_of_the_readme():
    stocks = load_sample("stocks")
    assert stocks["unique_id"].unique().tolist() == ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]
    assert (stocks["y"] <= stocks["close"] * 1.0001).all()  # dividends only lower the past


def test_the_files_are_small_and_described():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.is_file()}
    assert sum(files.values()) < 1_500_000
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for sample in SAMPLES.values():
        assert f"`{sample.file}`" in readme
    assert set(files) == {sample.file for sample in SAMPLES.values()} | {"README.md"}


def test_an_unknown_sample_names_the_known_ones():
    with pytest.raises(NotFoundError, match="Did you mean 'air-passengers'"):
        load_sample("air-passenger")
    with pytest.raises(NotFoundError, match="air-passengers, stocks"):
        load_sample("xyz")


def test_listing_imports_no_tables():
    code = (
        "import sys; from forecaster.sources.samples import list_samples; list_samples();"
        "print(sorted({'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
