"""A simulated year: a night's work each session, of which many go wrong, on real daily prices."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import time_machine
from retrain_made import MOMENTS

from forecaster import fetching
from forecaster.cli import app
from forecaster.registry import Registry
from forecaster.runs import Records
from forecaster.sources.layout import Columns
from forecaster.sources.samples import load_sample
from forecaster.store import Store

NAME, SERIES, HORIZON = "stocks", ("AAPL", "AMZN"), 5
BEFORE = 300  # sessions that are known when the year begins
KEEP, KEEP_RUNS = 2, 10
SETTINGS = f"""
[data]
season_length = 1
[network]
preset = "segment"
cell = "rnn"
lookback = 10
horizon = {HORIZON}
segment = 5
layers = [4]
[training]
epochs = 1
batch_size = 1024
val_size = 10
shrink = false
refit_all = false
[evaluation]
folds = 1
[retrain]
keep = {KEEP}
keep_runs = {KEEP_RUNS}
keep_forecasts = "{{nights}}d"
[gates]
max_data_age = 5
max_revised = 0.01
max_jump = 30
[log]
log_size = 20000
log_files = 2
"""
WELL = {0, 6}
CODES = {  # how a night may end on which something goes wrong
    "killed": {-9, *WELL},  # a step that is left out is not told
    "feed missing": {4},
    "feed garbage": {5},
    "feed half written": {0, 1, 4, 5, 6, 7},
    "feed revised": {6},
    "disk full": {0, 1, 6, 7},
    "clock back": {5},  # prices of days to come
    "missed": set(),
    "twice": {75, *WELL},
}
DONE = {"twice"}  # on which the table comes nevertheless


@dataclass
class Year:
    """The workspace, the processes that work in it, and what has been seen so far."""

    folder: Path
    worker: subprocess.Popen[str]
    chance: random.Random
    rows: pd.DataFrame
    nights: Counter[str] = field(default_factory=Counter)
    content: bytes = b""
    shown: set[tuple[str, str]] = field(default_factory=set)
    cutoffs: dict[str, str] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    @property
    def feed(self) -> Path:
        return self.folder / "feed.csv"

    @property
    def registry(self) -> Registry:
        return Registry(self.folder / "models")

    def write(self, today: pd.Timestamp) -> None:
        """Publish the prices of the sessions up to one."""
        self.rows[self.rows["ds"] <= today].to_csv(self.feed, index=False)

    def spoil(self, fault: str) -> None:
        if fault == "feed missing":
            self.feed.unlink()
        elif fault == "feed garbage":
            self.feed.write_bytes(self.chance.randbytes(3000))
        elif fault == "feed half written":
            content = self.feed.read_bytes()
            self.feed.write_bytes(content[: self.chance.randrange(len(content))])
        elif fault == "feed revised":
            frame = pd.read_csv(self.feed)
            frame.loc[frame["unique_id"] == self.chance.choice(SERIES), "y"] *= 2
            frame.to_csv(self.feed, index=False)

    def night(self, today: pd.Timestamp, fault: str) -> None:
        """Let the cycle run, or what a fault makes of it."""
        when = datetime.combine(today, datetime.min.time(), UTC) + timedelta(hours=22)
        asked: dict[str, Any] = {"when": when.isoformat(), "kill": None, "limit": None}
        self.spoil(fault)
        if fault == "killed":
            asked["kill"] = self.chance.choice(MOMENTS)
        elif fault == "disk full":
            asked["limit"] = self.chance.choice((0, 200, 2_000, 5_000, 20_000))
        elif fault == "clock back":
            asked["when"] = (when - timedelta(days=self.chance.randint(1, 400))).isoformat()
        times = {"missed": 0, "twice": 2}.get(fault, 1)
        codes = self.run([asked] * times)
        assert set(codes) <= CODES.get(fault, WELL), (today, fault, codes)
        assert fault != "twice" or WELL & set(codes)
        self.nights[f"{fault or 'well'}: {', '.join(map(str, sorted(codes)))}"] += 1
        for left in self.folder.rglob(".*.tmp"):  # it was left that night
            os.utime(left, (when.timestamp(), when.timestamp()))
        self.look(today, fault, when)

    def run(self, nights: list[dict[str, Any]]) -> list[int]:
        assert self.worker.stdin and self.worker.stdout
        self.worker.stdin.write(json.dumps(nights) + "\n")
        self.worker.stdin.flush()
        return list(json.loads(self.worker.stdout.readline()))

    def look(self, today: pd.Timestamp, fault: str, when: datetime) -> None:
        """Whatever the night was like: a whole model in service, a whole table, nothing lost."""
        champion = self.registry.load(NAME)[1]
        path = self.folder / "forecasts" / f"{NAME}.csv"
        table = pd.read_csv(path)
        assert table.groupby("unique_id").size().to_dict() == dict.fromkeys(SERIES, HORIZON)
        (version,) = table["model_version"].unique()
        cutoffs = table.groupby("unique_id")["cutoff"].unique().map("".join)
        assert all(cutoffs[uid] >= self.cutoffs.get(uid, "") for uid in SERIES)  # never back
        self.cutoffs = cutoffs.to_dict()
        content, before = path.read_bytes(), self.content
        self.content = content
        if content != before:
            os.utime(path, (when.timestamp(), when.timestamp()))
            if fault != "disk full":  # then it is not kept
                self.shown |= {(version, cutoff) for cutoff in cutoffs}
        self.sizes.append(sum(each.stat().st_size for each in self.folder.rglob("*")))
        if fault and fault not in DONE:
            return
        assert set(cutoffs) == {str(today.date())}, (today, fault)
        assert version == champion
        if not fault:
            assert not list(self.folder.rglob(".*.tmp"))
            with time_machine.travel(when + timedelta(hours=1)):
                words = ["status", "--max-age", "2h", "--workspace", str(self.folder)]
                assert app.run(words) == 0
            assert len(self.registry.versions(NAME)) <= KEEP + 2  # the champion, the one before
            assert len(list(Records(self.folder / "models" / NAME).folder.iterdir())) <= KEEP_RUNS


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    folder = tmp_path / "workspace"
    folder.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    frame = load_sample("stocks")
    rows = frame.loc[frame["unique_id"].isin(SERIES), ["unique_id", "ds", "y"]]
    words = [sys.executable, str(Path(__file__).with_name("nights.py")), str(folder), NAME]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(temporary), "OPENBLAS_NUM_THREADS": "1"},
    ) as worker:  # fmt: skip
        assert worker.stdin and worker.stdout
        assert json.loads(worker.stdout.readline()) == []  # threads, with which no fork is safe
        yield Year(folder, worker, random.Random(4), rows)
        worker.stdin.close()
    assert worker.returncode == 0
    assert not list(temporary.iterdir())


def archived(folder: Path) -> pd.DataFrame:
    """Return every forecast that is kept, each as it was published first."""
    tables = (folder / "data" / "forecasts" / NAME).glob("*.parquet")
    forecasts = pd.concat(map(pd.read_parquet, tables)).sort_values("created", kind="stable")
    return forecasts.drop_duplicates(["version", "unique_id", "cutoff", "ds"])


@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and looks at /proc")
@pytest.mark.parametrize(
    ("nights", "faulty"), [(12, 0.6), pytest.param(250, 0.3, marks=pytest.mark.slow(share=0))]
)
@pytest.mark.timeout(3600)
def test_a_year_of_nights(year: Year, nights: int, faulty: float, capsys):
    (year.folder / "forecast.toml").write_text(SETTINGS.format(nights=nights))
    days = year.rows["ds"].unique()[-nights:]
    year.rows = year.rows[year.rows["ds"] >= year.rows["ds"].unique()[-nights - BEFORE]]
    deck: list[str] = []
    for number, today in enumerate(days):
        year.write(today)
        if number == 0:
            store = Store(year.folder / "data")
            fetching.fetch_file(store, year.feed, Columns())
        fault = ""
        if 0 < number < nights - 1 and year.chance.random() < faulty:
            if not deck:
                deck = year.chance.sample(list(CODES), len(CODES))
            fault = deck.pop()
        year.night(today, fault)
    assert year.sizes[-1] < 1.5 * year.sizes[nights // 2]
    kept = archived(year.folder)
    oldest = days[-1] - pd.Timedelta(days=nights)
    assert kept["created"].min() >= oldest.tz_localize("UTC")
    known = set(zip(kept["version"], kept["cutoff"].astype(str).str[:10], strict=True))
    recent = {each for each in year.shown if each[1] > str(oldest.date())}
    assert recent <= known
    capsys.readouterr()
    assert app.run(["--json", "score", "--workspace", str(year.folder)]) == 0
    scored = json.loads(capsys.readouterr().out)
    (live,) = scored["models"]
    truth = kept.merge(year.rows, on=["unique_id", "ds"])
    assert live["score"]["points"] == len(truth) > 0
    assert scored["pending"] == len(kept) - len(truth)
    assert live["score"]["mae"] == pytest.approx((truth["y"] - truth["point"]).abs().mean())
    assert len(live["versions"]) == truth["version"].nunique()
    assert app.run(["score", "--workspace", str(year.folder)]) == 0
    ended = [f"{count:3} {how}" for how, count in sorted(year.nights.items())]
    sys.stdout.write("\n".join(["Nights and their exit codes:", *ended]))
    sys.stdout.write(f"\nBytes after every 25th night: {year.sizes[::25]}\n")
