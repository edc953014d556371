"""The store: any id, whole or nothing, many at once, and damage that is noticed."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from forecaster import parts
from forecaster.errors import (
    DamagedError,
    ForecasterError,
    InvalidInputError,
    NotFoundError,
    TemporaryError,
)
from forecaster.listing import describe
from forecaster.store import Store

CSV = {"kind": "csv"}
ODD_IDS = [
    "BRK/B",
    "^GSPC",
    "EURUSD=X",
    "../../etc/x",
    "/etc/passwd",
    "CON",
    "x" * 300,
    "Zürich",
    "Zu\u0308rich",
    " ",
    "a\tb\nc",
    "\x00",
    "aapl",
    "AAPL",
    ".",
    "..",
    "NA",
    "nan",
    "日本",
    "😀",
]


def frame(uid: str = "a", rows: int = 5, value: float = 1.0, start: str = "2024-01-01"):
    ds = pd.date_range(start, periods=rows, freq="D", unit="us")
    y = value + np.arange(rows, dtype=float)
    return pd.DataFrame({"unique_id": pd.Series([uid] * rows, dtype="str"), "ds": ds, "y": y})


def several(*uids: str, rows: int = 5, value: float = 1.0):
    return pd.concat([frame(uid, rows, value) for uid in uids], ignore_index=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def files(store: Store) -> set[str]:
    found = {path.name for path in store.folder.rglob("*") if path.is_file()}
    return found - {".lock", "index.copy.json"}


def test_what_was_put_is_read(store: Store):
    wanted = several("b", "a").assign(volume=[1, 2, 3, 4, 5] * 2, note=["x", None] * 5)
    stored = store.put(wanted.sample(frac=1, random_state=1), CSV)
    expected = wanted.sort_values(["unique_id", "ds"], ignore_index=True)
    read = store.read()
    pd.testing.assert_frame_equal(read, expected, check_dtype=False)
    assert read["volume"].dtype == "int64"
    assert list(stored) == store.ids() == ["a", "b"]
    entry = store.entry("b")
    assert (entry.rows, entry.first, entry.last) == (5, "2024-01-01", "2024-01-05")
    assert (entry.frequency, entry.time, entry.covariates) == ("D", "naive", ["volume", "note"])
    assert entry.source == CSV
    pd.testing.assert_frame_equal(
        store.read(["b"]), expected[expected["unique_id"] == "b"].reset_index(drop=True)
    )


def test_any_text_is_an_id_and_none_leaves_the_folder(store: Store, tmp_path: Path):
    for number, uid in enumerate(ODD_IDS):
        store.put(frame(uid, value=number), CSV)
    assert store.ids() == sorted(ODD_IDS)
    for number, uid in enumerate(ODD_IDS):
        read = store.read([uid])
        assert set(read["unique_id"]) == {uid}
        assert read["y"].iloc[0] == number
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert {path.name for path in store.folder.iterdir()} == {
        "index.json",
        "index.copy.json",
        "parts",
        ".lock",
    }
    names = {path.name for path in store.parts.iterdir()}
    assert all(name.isascii() and len(name) < 60 for name in names)


@pytest.mark.parametrize("uid", ["", None, float("nan"), "\ud800"])
def test_an_id_that_is_none_is_refused(store: Store, uid):
    bad = several("a", "b").astype({"unique_id": object})
    bad.loc[3, "unique_id"] = uid
    with pytest.raises(InvalidInputError, match="unique_id"):
        store.put(bad, CSV)
    assert store.ids() == []


def test_rows_and_times_are_needed(store: Store):
    with pytest.raises(InvalidInputError, match="no rows"):
        store.put(frame().iloc[:0], CSV)
    with pytest.raises(InvalidInputError, match=r"missing: \['y'\]"):
        store.put(frame().drop(columns="y"), CSV)
    with pytest.raises(InvalidInputError, match="Row 2 has no timestamp"):
        store.put(frame().assign(ds=frame()["ds"].where(frame()["y"] != 3)), CSV)
    with pytest.raises(InvalidInputError, match="timestamps or integers"):
        store.put(frame().assign(ds="2024-01-01"), CSV)


def test_one_row_is_a_series(store: Store):
    store.put(frame(rows=1), CSV)
    assert len(store.read(["a"])) == 1
    assert store.entry("a").frequency is None


@pytest.mark.parametrize(
    ("ds", "first", "time"),
    [
        (np.arange(3, dtype=np.int32), 0, "integer"),
        (pd.date_range("2024-01-01", periods=3, freq="h"), "2024-01-01T00:00:00", "naive"),
        (
            pd.date_range("2024-07-01", periods=3, freq="h", tz="Europe/Berlin"),
            "2024-07-01T00:00:00+02:00",
            "Europe/Berlin",
        ),
        (pd.date_range("2024-07-01", periods=3, tz="UTC"), "2024-07-01T00:00:00+00:00", "UTC"),
        (
            pd.to_datetime(["2024-01-01T00:00+02:00"] * 3),
            "2024-01-01T00:00:00+02:00",
            "+02:00",
        ),
        (
            pd.DatetimeIndex(["2024-01-01T00:00:00.000000001"] * 3),
            "2024-01-01T00:00:00.000000001",
            "naive",
        ),
    ],
)
def test_times_come_back_as_they_were(store: Store, ds, first, time):
    put = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    store.put(put, CSV)
    read = store.read()["ds"]
    assert (pd.Index(read) == pd.Index(ds)).all()
    assert (store.entry("a").first, store.entry("a").time) == (first, time)
    if time not in ("integer", "naive"):
        assert read.iloc[0].utcoffset() == put["ds"].iloc[0].utcoffset()


def test_a_put_replaces_whole_series_and_leaves_the_others(store: Store):
    store.put(several("a", "b", "c"), CSV)
    store.put(frame("b", rows=2, value=9), {"kind": "yahoo"})
    assert store.read(["b"])["y"].tolist() == [9, 10]
    assert len(store.read()) == 12
    assert store.entry("a").source == CSV


def test_parts_that_nothing_names_are_deleted(store: Store):
    for value in range(5):
        store.put(frame(value=value), CSV)
    assert len(list(store.parts.iterdir())) == 1
    store.drop(["a"])
    assert files(store) == {"index.json"}


def test_a_part_with_more_dead_rows_than_live_ones_is_rewritten(store: Store):
    store.put(several(*"abcdef", rows=100), CSV)
    big = store.entry("a").part
    store.put(several("b", "c", rows=1), CSV)
    assert store.entry("a").part == big
    store.put(several("d", "e", rows=2), CSV)
    kept = store.entry("a").part
    assert kept != big
    assert store.entry("f").part == kept
    assert parts.stored_rows(store.parts / kept) == 200
    assert store.damaged() == {}
    assert store.read(["f"])["y"].tolist() == frame("f", 100)["y"].tolist()


def test_series_of_different_columns_are_read_together(store: Store):
    store.put(frame("a").assign(x=[1, 2, 3, 4, 5], flag=True, mixed=1.5), CSV)
    store.put(frame("b").assign(mixed="text"), CSV)
    read = store.read().set_index("unique_id")
    assert read.loc["a", "x"].tolist() == [1, 2, 3, 4, 5]
    assert read.loc["b", "x"].isna().all()
    assert read["flag"].dtype == "float64"
    assert read.loc["b", "mixed"].tolist() == ["text"] * 5


@pytest.mark.parametrize("one", [True, 0.5, None, "numbers"])
@pytest.mark.parametrize("other", [False, 2**60 + 1, 1.5])
def test_numbers_of_several_kinds_are_read_together(store: Store, one, other):
    one = range(5) if one == "numbers" else one
    store.put(frame("a").assign(x=one), CSV)
    store.put(frame("b").assign(x=other), CSV)
    read = store.read().set_index("unique_id")["x"]
    assert pd.api.types.is_numeric_dtype(read.dtype)
    assert read["b"].astype("float64").tolist() == [float(other)] * 5
    assert read["a"].isna().all() if one is None else read["a"].notna().all()


def test_a_column_without_values_is_no_text(store: Store):
    store.put(frame("a").assign(x=pd.array([None] * 5, dtype="str"), words="north"), CSV)
    store.put(frame("b").assign(x=1.5, words=None), CSV)
    assert store.read(["a"])["x"].dtype == "float64"
    read = store.read().set_index("unique_id")
    assert read.loc["b", "x"].tolist() == [1.5] * 5
    assert read.loc["a", "words"].tolist() == ["north"] * 5
    assert read.loc["b", "words"].isna().all()


def test_times_that_nanoseconds_cannot_hold_are_read_beside_nanoseconds(store: Store):
    fine = pd.date_range("2024-01-01T00:00:00.000000003", periods=5)
    store.put(frame("a").assign(ds=fine, x=1), CSV)
    store.put(frame("b").assign(ds=pd.date_range("1600-01-01", periods=5, unit="us")), CSV)
    assert store.read(["a"])["ds"].tolist() == fine.tolist()
    assert store.read()["ds"].min() == pd.Timestamp("1600-01-01")


def test_kinds_of_time_do_not_mix_in_one_read(store: Store):
    store.put(frame("dates"), CSV)
    store.put(frame("steps").assign(ds=range(5)), CSV)
    with pytest.raises(InvalidInputError, match=r"integer \(such as 'steps'\), naive"):
        store.read()
    assert len(store.read(["steps"])) == 5


def test_zones_come_together_in_utc_and_it_is_said(store: Store):
    for uid, zone in (("a", "Europe/Berlin"), ("b", "Asia/Tokyo")):
        aware = frame(uid)
        store.put(aware.assign(ds=aware["ds"].dt.tz_localize(zone)), CSV)
    read = store.read()
    assert str(read["ds"].dt.tz) == "UTC"
    assert read["ds"].iloc[0] == pd.Timestamp("2024-01-01", tz="Europe/Berlin")
    assert "Asia/Tokyo, Europe/Berlin were converted to UTC" in read.attrs["forecaster.notices"][0]
    assert store.read(["a"]).attrs["forecaster.notices"] == []


def test_an_unknown_id_names_its_neighbours(store: Store):
    with pytest.raises(NotFoundError, match="No series is stored"):
        store.read()
    store.put(several("AAPL", "MSFT"), CSV)
    with pytest.raises(NotFoundError, match="Did you mean 'AAPL'"):
        store.read(["aapl"])
    with pytest.raises(NotFoundError, match="Did you mean 'MSFT'"):
        store.entry("MSTF")
    with pytest.raises(NotFoundError, match="Stored there: 'AAPL', 'MSFT'; all of them: forecast"):
        store.drop(["AAPL", "zzz"])
    assert store.ids() == ["AAPL", "MSFT"]


def test_the_digest_follows_the_numbers(store: Store):
    def digest(table: pd.DataFrame) -> str:
        return store.put(table, CSV)["a"].hash

    same = digest(frame())
    assert digest(frame()) == same
    assert digest(several("a", "b")) == same
    assert digest(frame(value=1.0000001)) != same
    assert digest(frame(start="2024-01-02")) != same
    assert digest(frame().assign(x=1.0)) != same
    assert digest(frame().assign(x="a")) != digest(frame().assign(x="b"))


def test_defects_are_counted_when_stored(store: Store):
    odd = frame(rows=10, start="2024-01-02")
    odd.loc[[2, 3], "y"] = [np.nan, np.inf]
    odd = pd.concat([odd.drop(index=[5, 6]), odd.tail(1)])
    store.put(pd.concat([odd, frame("flat").assign(y=2.0), frame("good")]), CSV)
    found = {p["kind"]: (p["count"], p["first"]) for p in store.entry("a").problems}
    assert found == {
        "duplicates": (1, "2024-01-11"),
        "missing_timestamps": (2, "2024-01-06"),
        "infinite_values": (1, "2024-01-05"),
        "missing_values": (1, "2024-01-04"),
    }
    assert [p["kind"] for p in store.entry("flat").problems] == ["constant"]
    assert store.entry("good").problems == []


def test_rows_past_the_last_value_are_no_missing_values(store: Store):
    ahead = frame(rows=10).assign(promo=1.0)
    ahead.loc[[3, 7, 8, 9], "y"] = np.nan
    store.put(ahead, CSV)
    found = {p["kind"]: (p["count"], p["first"]) for p in store.entry("a").problems}
    assert found == {"missing_values": (1, "2024-01-04"), "ahead": (3, "2024-01-08")}
    described = describe(store, "a")
    assert described.values["last"] == ahead["y"][6]
    assert described.last_rows["promo"].tolist() == [1.0] * 5
    store.put(frame("none").assign(y=np.nan), CSV)
    assert [p["kind"] for p in store.entry("none").problems] == ["missing_values"]


@pytest.mark.parametrize("frequency", ["B", "W-SUN", "MS", "ME", "QS-JAN", "YE-DEC", "h", "15min"])
def test_gaps_are_counted_on_the_grid_of_the_series(store: Store, frequency):
    ds = pd.date_range("2020-01-01", periods=60, freq=frequency)
    whole = pd.DataFrame({"unique_id": "whole", "ds": ds, "y": np.arange(60.0)})
    holes = whole.drop(index=[20, 21, 40]).assign(unique_id="holes")
    store.put(pd.concat([whole, holes]), CSV)
    assert store.entry("whole").problems == []
    assert {store.entry(uid).frequency for uid in ("whole", "holes")} == {frequency}
    kind = "closures" if frequency == "B" else "missing_timestamps"
    (problem,) = store.entry("holes").problems
    assert (problem["kind"], problem["count"]) == (kind, 3)


def test_hours_at_which_a_market_is_closed_are_no_gaps_and_those_at_which_it_is_open_are(
    store: Store,
):
    """One that closes at night, beside one that never does."""
    hours = pd.date_range("2024-03-04", periods=24 * 28, freq="h", tz="America/New_York")
    market = hours[(hours.hour >= 9) & (hours.hour < 16) & (hours.day_of_week < 5)].delete([3, 50])
    always = hours.delete([100, 101, 400])
    for uid, ds in (("market", market), ("always", always)):
        long = pd.DataFrame({"unique_id": uid, "ds": ds, "y": np.arange(float(len(ds)))})
        store.put(long, CSV)
    both = store.read()
    both["ds"] = both["ds"].dt.tz_convert("America/New_York")
    store.put(both.assign(unique_id=both["unique_id"] + " too"), CSV)
    for suffix in ("", " too"):
        (problem,) = store.entry(f"market{suffix}").problems
        assert problem["kind"] == "closures"
        assert store.entry(f"market{suffix}").gaps == 0
        (problem,) = store.entry(f"always{suffix}").problems
        assert (problem["kind"], problem["count"]) == ("missing_timestamps", 3)
    said = describe(store, "market").problems[0].text
    assert said.endswith(
        "steps without a row, the first after 2024-03-04T11:00:00-05:00: closing times?"
    )


# -- crashes, full disks, locks ---------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_data(store: Store):
    store.put(several("a", "b"), CSV)
    before, names = store.read(), files(store)
    big = several("a", "c", rows=100_000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(ForecasterError, match="File too large") as caught:
            store.put(big, CSV)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.exit_code == 1
    assert str(store.folder) in str(caught.value)
    assert files(store) == names
    pd.testing.assert_frame_equal(store.read(), before)
    store.put(big, CSV)
    assert len(store.read(["c"])) == 100_000


def test_a_full_disk_at_the_index_leaves_the_old_data(store: Store, monkeypatch):
    store.put(frame(), CSV)
    names = files(store)

    def full(path: Path, _write: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("forecaster.store.replace_file", full)
    with pytest.raises(ForecasterError, match="No space left on device"):
        store.put(frame(value=5), CSV)
    monkeypatch.undo()
    assert files(store) == names
    assert store.read()["y"].iloc[0] == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ForecasterError, match=r"Cannot write to '.*file.*': Not a directory"):
        Store(tmp_path / "file" / "data").put(frame(), CSV)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(store: Store):
    store.put(frame(), CSV)
    store.parts.chmod(0o500)
    try:
        with pytest.raises(ForecasterError, match="Permission denied"):
            store.put(frame(value=5), CSV)
    finally:
        store.parts.chmod(0o700)
    assert store.read()["y"].iloc[0] == 1


CRASH = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import forecaster.store as module
from test_store import CSV, several
real = module.replace_file
def replace(path, write):
    if path.name == sys.argv[3]:
        if sys.argv[4] == "during":
            path.with_name(f".{path.name}.1.tmp").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, write)
module.replace_file = replace
module.Store(Path(sys.argv[1])).put(several("a", "new", value=50.0), CSV)
"""


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_kill_between_part_and_index_leaves_the_old_data(store: Store, moment):
    store.put(several("a", "b"), CSV)
    before, names = store.read(), files(store)
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(store.folder), here, "index.json", moment], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(files(store)) > len(names)  # the orphan part is there
    pd.testing.assert_frame_equal(store.read(), before)
    store.put(frame("c"), CSV)  # neither the orphan nor the dead writer's lock is in the way
    assert store.ids() == ["a", "b", "c"]
    assert len(files(store)) == 3
    assert store.damaged() == {}


def _put_some(job: tuple[Path, int]) -> None:
    folder, number = job
    store = Store(folder, lock_timeout=30)
    for turn in range(3):
        store.put(several(f"own{number}", "shared", rows=10, value=100.0 * number + turn), CSV)


def test_many_processes_write_at_once(store: Store):
    store.put(frame("shared", rows=10), CSV)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        reader = Store(store.folder)
        while not stop.is_set():
            try:
                read = reader.read(["shared"])["y"]
                assert len(read) == 10
                assert read.iloc[-1] - read.iloc[0] == 9  # whole, of one writer
            except BaseException as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    context = get_context("forkserver")  # eight children that need not import pandas again
    context.set_forkserver_preload(["forecaster.parts", "pytest", "filelock"])
    with ProcessPoolExecutor(8, mp_context=context) as pool:
        list(pool.map(_put_some, [(store.folder, number) for number in range(8)]))
    stop.set()
    reader.join()
    assert failures == []
    assert store.ids() == sorted([*(f"own{n}" for n in range(8)), "shared"])
    assert store.damaged() == {}
    assert {e.part for e in store.entries().values()} == {p.name for p in store.parts.iterdir()}


def test_a_lock_that_is_not_had_in_time_is_told(store: Store):
    store.put(frame(), CSV)
    with FileLock(store.folder / ".lock"):
        began = time.monotonic()
        with pytest.raises(TemporaryError, match=r"did not finish within 0\.2 s"):
            Store(store.folder, lock_timeout=0.2).put(frame(value=2), CSV)
        assert time.monotonic() - began < 5
        assert len(store.read()) == 5  # readers need no lock


def test_a_reader_follows_a_writer_that_replaced_the_part(store: Store, monkeypatch):
    store.put(frame(), CSV)
    real, turns = parts.load, []

    def load(path, members):
        if not turns:  # between this reader's index and its part, a writer commits
            turns.append(1)
            Store(store.folder).put(frame(value=7), CSV)
        return real(path, members)

    monkeypatch.setattr(parts, "load", load)
    assert store.read()["y"].iloc[0] == 7


# -- damage -----------------------------------------------------------------------------------


def _part(store: Store, uid: str) -> Path:
    return store.parts / store.entry(uid).part


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "flipped", "other"])
def test_damage_names_the_series_and_spares_the_others(store: Store, damage):
    store.put(frame("bad", rows=1000), CSV)
    store.put(frame("good"), CSV)
    path = _part(store, "bad")
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        middle = content.find(np.float64(300.0).tobytes())
        content[middle if middle > 0 else 600] ^= 0xFF
        path.write_bytes(content)
    elif damage == "other":
        path.write_bytes(_part(store, "good").read_bytes())
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    with pytest.raises(DamagedError, match=r"'bad' cannot be read .* Fetch it again"):
        store.read()
    assert list(store.damaged()) == ["bad"]
    assert len(store.read(["good"])) == 5
    store.put(frame("bad", rows=1000), CSV)
    assert store.damaged() == {}


def test_a_damaged_or_newer_index_is_told(store: Store):
    store.put(frame(), CSV)
    content = json.loads(store.index.read_text())
    store.index.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(InvalidInputError, match=r"newer format 99.*Upgrade") as caught:
        store.ids()
    assert caught.value.exit_code == 5
    for text in ("", "[]", "{", '{"format": 1, "series": {"a": {}}}'):
        store.index.write_text(text)
        with pytest.raises(DamagedError, match=r"index\.json.*retrain' mends it from its copy"):
            store.ids()
        with pytest.raises(DamagedError):  # and never overwritten
            store.put(frame(), CSV)
        assert store.index.read_text() == text


@pytest.mark.parametrize(
    "change",
    [
        {"part": 3},
        {"part": "../../secret.parquet"},
        {"start": -1},
        {"start": 10**30},
        {"rows": "x"},
        {"rows": 0},
        {"rows": True},
        {"first": None},
        {"time": None},
        {"frequency": 7},
        {"hash": []},
        {"covariates": "volume"},
        {"covariates": [1]},
        {"source": None},
        {"fetched_at": 5},
        {"problems": [1]},
        {"problems": [{"kind": "unheard of", "count": 1, "first": None}]},
        {"problems": [{"kind": [], "count": 1, "first": None}]},
        {"more": 1},
    ],
    ids=str,
)
def test_an_entry_of_other_types_is_damage(store: Store, change):
    store.put(frame(), CSV)
    content = json.loads(store.index.read_text())
    content["series"]["a"] |= change
    store.index.write_text(json.dumps(content))
    with pytest.raises(DamagedError, match=r"index\.json', is damaged: .*fetch the series again"):
        store.entries()


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "3",
        '{"format": null, "series": {}}',
        '{"format": "2", "series": {}}',
        '{"format": 1, "series": []}',
        '{"format": 1, "series": null}',
        '{"format": 1, "series": {"a": null}}',
        '{"format": 1, "series": {"a": []}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_an_index_of_another_shape_is_damage(store: Store, text):
    store.put(frame(), CSV)
    store.index.write_text(text)
    with pytest.raises(DamagedError, match=r"index\.json', is damaged: .*fetch the series again"):
        store.entries()


def test_every_defect_of_the_index_has_words():
    from forecaster.index import DEFECTS
    from forecaster.listing import WORDS

    assert WORDS.keys() >= DEFECTS


# -- speed ------------------------------------------------------------------------------------


def test_a_damaged_index_is_mended_from_its_copy_and_only_then(store: Store):
    store.put(several("a", "b"), CSV)
    before, whole = store.read(), store.index.read_bytes()
    assert store.mend() == ""
    store.index.write_bytes(b"{")
    assert "'index.copy.json' was put in its place" in store.mend()
    assert store.index.read_bytes() == whole
    pd.testing.assert_frame_equal(store.read(), before)
    store.index.unlink()
    assert (store.mend(), store.entries()) == ("", {})  # deleted on purpose, as messages advise
    store.index.write_bytes(b"{")
    for damage in (lambda: store.copy.write_bytes(b"[]"), store.copy.unlink):
        damage()
        with pytest.raises(DamagedError, match=r"index\.json', is damaged"):
            store.mend()


def test_listing_imports_no_tables(store: Store):
    store.put(frame(), CSV)
    code = (
        "import sys; from pathlib import Path; from forecaster.store import Store;"
        f"assert Store(Path({str(store.folder)!r})).entries()['a'].rows == 5;"
        "print(sorted({'pandas', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ten_times_the_series_cost_at_most_ten_times_the_time(tmp_path: Path):
    def seconds(series: int) -> float:
        rows = 100
        ids = np.repeat([f"s{n}" for n in range(series)], rows)
        ds = np.tile(pd.date_range("2024-01-01", periods=rows, unit="us"), series)
        table = pd.DataFrame({"unique_id": ids, "ds": ds, "y": np.arange(float(len(ids)))})
        best = float("inf")
        for attempt in range(3):
            store = Store(tmp_path / f"{series}-{attempt}")
            began = time.process_time()
            store.put(table, CSV)
            store.read()
            best = min(best, time.process_time() - began)
        return best

    assert seconds(5000) < 15 * seconds(500)
