"""Faults of real runs: whatever ends or hinders a cycle, the last good model and table stay.

After each fault the champion loads, the table is whole, and the next cycle does the work unaided.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forked_forecast import Forecasts
from retrain_made import MOMENTS, MORE, ROWS, SETTINGS, copied, feed, newest, registry, table
from series_made import seasonal
from yahoo_server import Listing, Yahoo

from forecaster.archive import Archive
from forecaster.locking import writing
from forecaster.manifest import FILES, MANIFEST, read_manifest
from forecaster.runs import Records, Run
from forecaster.status import Limits, examine
from forecaster.store import Store
from forecaster.workspace import Workspace

pytestmark = pytest.mark.xdist_group("retrain")

KILLED = -signal.SIGKILL
FEW = [["fetch", "done"], ["promote", "running"], ["export", "running"]]
TRAINING = [["train", "done"], ["promote", "done"]]
KEEP = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"  # what a hook is told
PLACES = 12  # inside of steps: changes of the disk, from the first to the last


def few(all_of_them: Sequence[Any], by_default: Sequence[Any]) -> list[Any]:
    """Mark as slow what is not run by default: each is a process, or several."""
    slow = pytest.mark.slow
    return [
        one
        if one in by_default
        else pytest.param(*(one if isinstance(one, tuple) else [one]), marks=slow)
        for one in all_of_them
    ]


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forecasts]:
    started = Forecasts(tmp_path_factory.mktemp("forecasts"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def prepared(halted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose next cycle promotes a challenger that waits, and needs no Keras for it."""
    folder = copied(halted, tmp_path_factory.mktemp("prepared") / "workspace")
    unjudged(folder, registry(folder).champion("air"))
    return folder


def unjudged(folder: Path, version: str) -> None:
    """Let a version be as it was before judged weights were kept: the gates alone decide then."""
    path = registry(folder).version_folder("air", version) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["files"]["judged.onnx"]
    path.write_text(json.dumps(manifest))


@pytest.fixture
def ready(prepared: Path, tmp_path: Path) -> Path:
    """The same, which a test may change."""
    return copied(prepared, tmp_path / "workspace")


def cycle(folder: Path, *words: object) -> list[object]:
    return ["retrain", "--name", "air", "--workspace", folder, *words]


def last(folder: Path) -> Run:
    run = Records(folder / "models" / "air").last()
    assert run is not None
    return run


def kept(folder: Path, before: bytes | None = None) -> bytes:
    """Return the table: all is whole, and the table is the one before, or a whole new one."""
    registry(folder).load("air")
    written = pd.read_csv(table(folder))
    assert len(written) == 8
    assert written["model_version"].nunique() == written["cutoff"].nunique() == 1
    assert Store(folder / "data").damaged() == {}
    content = table(folder).read_bytes()
    assert before in (None, content)
    return content


def goes_on(
    forecasts: Forecasts, folder: Path, *words: object, known_as: Path | None = None, **order: Any
) -> bytes:
    """Run the next cycle, which succeeds unaided and leaves nothing behind; return its table."""
    for left in (folder / "data" / "forecasts").rglob(".*.tmp"):
        os.utime(left, (0, 0))  # readers publish without a lock: only what is old is cleared
    assert forecasts.run(*cycle(known_as or folder, *words), **order) == 0, forecasts.said
    content = kept(folder)
    version = registry(folder).champion("air")
    assert set(pd.read_csv(table(folder))["model_version"]) == {version}
    assert set(pd.read_csv(table(folder))["cutoff"]) == {newest()}
    assert list(folder.rglob(".*.tmp")) == []
    assert list(folder.rglob(".lock-holder")) == []
    assert forecasts.left == []
    for held in (folder / "data", folder / "models" / "air"):
        with writing(held, timeout=0):
            pass
    assert problems(folder) == []
    return content


def problems(folder: Path) -> list[str]:
    """Return what a monitor is told."""
    workspace = Workspace(folder)
    (health,) = examine(
        registry(folder),
        Store(workspace.data),
        Archive(workspace.forecasts),
        limits=Limits(),
        csv=table(folder),
    )
    return health.problems


# --- kill -9


@pytest.mark.parametrize("moment", few(MOMENTS, FEW), ids="-".join)
def test_a_killed_cycle_is_made_good_by_the_next(forecasts, ready, moment):
    before = kept(ready)
    assert forecasts.run(*cycle(ready), kill=moment) == KILLED
    killed = kept(ready)
    if moment != MOMENTS[0]:  # nobody knows yet that it has begun
        assert (last(ready).outcome, last(ready).steps[-1].name) == ("killed", moment[0])
        assert last(ready).steps[-1].outcome == moment[1]
    assert killed in (before, goes_on(forecasts, ready))
    assert registry(ready).champion("air") == registry(ready).versions("air")[1]


@pytest.fixture(scope="module")
def changes(forecasts: Forecasts, prepared: Path, tmp_path_factory) -> list[str]:
    """The changes of the disk in a cycle that is not killed."""
    folder = tmp_path_factory.mktemp("changes")
    copied(prepared, folder / "workspace")
    order = {"changes": str(folder / "changes"), "within": str(folder)}
    assert forecasts.run(*cycle(folder / "workspace"), **order) == 0
    found = (folder / "changes").read_text().splitlines()
    assert len(found) >= PLACES
    for part in ("index.json", "champion", "air.csv", ".parquet", "runs/"):
        assert any(part in change for change in found)
    return found


@pytest.mark.parametrize("place", few(range(PLACES), [4, 8]))
def test_a_cycle_is_killed_inside_of_a_step(forecasts, ready, changes, tmp_path, place):
    before = kept(ready)
    number = 1 + (len(changes) - 1) * place // (PLACES - 1)
    order = {"changes": str(tmp_path / "changes"), "within": str(ready)}
    assert forecasts.run(*cycle(ready), kill=number, **order) == KILLED
    assert kept(ready) in (before, goes_on(forecasts, ready))


@pytest.mark.slow
@pytest.mark.parametrize("moment", TRAINING, ids="-".join)
def test_a_cycle_that_trains_is_killed(forecasts, trained, moment):
    feed(trained, ROWS + MORE)
    before = kept(trained)
    unjudged(trained, registry(trained).champion("air"))
    assert forecasts.run(*cycle(trained), kill=moment) == KILLED
    assert kept(trained) in (before, goes_on(forecasts, trained))
    assert len(registry(trained).versions("air")) == 2


# --- a full disk, a disk that cannot be written


class Disk:
    """A small disk of its own, which a process sees that has its own table of mounts.

    Attributes:
        inside: Where that process sees the workspace.
        outside: Where everybody else does.
    """

    def __init__(self, forecasts: Forecasts, place: Path) -> None:
        self.forecasts, self.place = forecasts, place
        self.root = Path(f"/proc/{forecasts.process.pid}/root{place}")
        self.inside, self.outside = place / "workspace", self.root / "workspace"

    def mount(self, *words: object) -> int:
        return self.forecasts.run("!", "mount", *words)

    def fill(self, pages: int) -> None:
        """Leave so many pages free."""
        free = os.statvfs(self.root)
        (self.root / "filler").write_bytes(bytes((free.f_bavail - pages) * free.f_bsize))

    def empty(self) -> None:
        (self.root / "filler").unlink()


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forecasts]:
    """Like `forecasts`, with a table of mounts of its own."""
    apart = ["unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*apart, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"A disk of its own needs the right to mount one: {error}")
    started = Forecasts(tmp_path_factory.mktemp("apart"), before=apart)
    yield started
    started.close()


@pytest.fixture
def disk(apart: Forecasts, tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "disk").mkdir()
    made = Disk(apart, tmp_path / "disk")
    if made.mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", made.place):
        pytest.skip(f"A disk of its own cannot be mounted: {apart.said}")
    yield made
    assert apart.run("!", "umount", "--recursive", made.place) == 0, apart.said


@pytest.mark.parametrize("pages", few([0, 1, 2, 3, 5, 8, 12], [0, 3, 8]))
def test_a_full_disk(prepared, disk, pages):
    copied(prepared, disk.outside, known_as=disk.inside)
    before = kept(disk.outside)
    disk.fill(pages)
    code = disk.forecasts.run(*cycle(disk.inside))
    assert code in ((0, 1) if pages else (1,))
    assert "Traceback" not in disk.forecasts.said
    if code:
        assert "No space left on device" in disk.forecasts.said
    full = kept(disk.outside)
    assert list(disk.outside.rglob(".*.tmp")) == []
    disk.empty()
    assert full in (before, goes_on(disk.forecasts, disk.outside, known_as=disk.inside))


@pytest.mark.slow
def test_a_disk_that_is_full_when_a_challenger_is_saved(first, disk):
    copied(first[0], disk.outside, known_as=disk.inside)
    feed(disk.outside, ROWS + MORE)
    champion = registry(disk.outside).champion("air")
    disk.fill(16)
    assert disk.forecasts.run(*cycle(disk.inside, "--epochs", 3)) == 1
    assert "train: failed" in disk.forecasts.said
    assert "No space left on device" in disk.forecasts.said
    kept(disk.outside)  # the champion has forecast from the new rows
    assert set(pd.read_csv(table(disk.outside))["model_version"]) == {champion}
    assert set(pd.read_csv(table(disk.outside))["cutoff"]) == {newest()}
    assert registry(disk.outside).versions("air") == [champion]
    assert list(disk.outside.rglob(".*.tmp")) == []
    disk.empty()
    unjudged(disk.outside, champion)
    goes_on(disk.forecasts, disk.outside, "--epochs", 3, known_as=disk.inside)
    assert len(registry(disk.outside).versions("air")) == 2


@pytest.mark.parametrize("part", few(["", "data", "forecasts", "models"], ["", "forecasts"]))
def test_a_disk_that_cannot_be_written(prepared, disk, tmp_path, part):
    copied(prepared, disk.outside, known_as=disk.inside)
    before = kept(disk.outside)
    place = disk.inside / part
    told = tmp_path / "told.json"
    hook = shlex.join([sys.executable, "-c", KEEP, str(told)])
    assert disk.mount("--bind", place, place) == 0, disk.forecasts.said
    assert disk.mount("-o", "remount,ro,bind", place) == 0, disk.forecasts.said
    assert disk.forecasts.run(*cycle(disk.inside, "--on-failure", hook)) == 1
    assert (
        "Read-only file system" in disk.forecasts.said or "cannot be written" in disk.forecasts.said
    )
    assert "Traceback" not in disk.forecasts.said
    assert json.loads(told.read_text())["exit_code"] == 1
    kept(disk.outside, before)
    words = ["predict", "--name", "air", "--workspace", disk.inside]
    assert disk.forecasts.run(*words) == 0
    assert disk.forecasts.run("!", "umount", place) == 0
    goes_on(disk.forecasts, disk.outside, known_as=disk.inside)


# --- damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil(path: Path) -> None:
    path.write_bytes(b"\xff\x00garbage")


@pytest.mark.parametrize(
    ("file", "how"),
    few(
        [(file, how) for file in (MANIFEST, *FILES) for how in (cut, spoil)],
        [(MANIFEST, cut), ("network.onnx", spoil), ("network.weights.h5", cut)],
    ),
)
def test_a_damaged_champion_is_replaced(forecasts, ready, file, how):
    old, new = registry(ready).versions("air")
    how(registry(ready).version_folder("air", old) / file)
    assert forecasts.run(*cycle(ready)) == 0, forecasts.said
    assert registry(ready).champion("air") == new
    assert "gates alone decide" in forecasts.said
    goes_on(forecasts, ready)


@pytest.mark.parametrize("how", few([cut, spoil], [spoil]))
def test_a_damaged_pointer_is_replaced(forecasts, ready, how):
    how(ready / "models" / "air" / "champion")
    goes_on(forecasts, ready)
    assert registry(ready).champion("air") == registry(ready).versions("air")[1]


@pytest.mark.parametrize("file", ["promotions.json", "accepted.parquet", "runs"])
def test_a_damaged_record_is_replaced(forecasts, ready, file):
    path = ready / "models" / "air" / file
    if file == "runs":
        (path,) = (one for one in path.iterdir() if one.stem == max(x.stem for x in path.iterdir()))
    spoil(path)
    goes_on(forecasts, ready, "--max-jump", 1000)
    assert registry(ready).champion("air") == registry(ready).versions("air")[1]


def test_without_a_whole_version_that_passes_the_table_stays(forecasts, ready):
    before = kept(ready)
    champion = registry(ready).champion("air")
    spoil(registry(ready).version_folder("air", champion) / "network.onnx")
    assert forecasts.run(*cycle(ready, "--max-coverage-gap", 0)) == 5
    assert "is not what was written" in forecasts.said
    assert table(ready).read_bytes() == before
    ended = {step.name: step.outcome for step in last(ready).steps}
    assert (ended["compare"], ended["predict"], ended["prune"]) == ("refused", "failed", "done")
    assert problems(ready)
    goes_on(forecasts, ready)


@pytest.mark.parametrize("how", few([cut, spoil], [cut]))
def test_damaged_rows_are_fetched_again(forecasts, ready, how):
    before = table(ready).read_bytes()
    (part,) = (ready / "data" / "parts").iterdir()
    how(part)
    assert forecasts.run(*cycle(ready, "--no-fetch")) == 5
    assert "Fetch them again." in forecasts.said
    assert table(ready).read_bytes() == before
    goes_on(forecasts, ready)


@pytest.mark.parametrize("how", few([cut, spoil], [cut]))
def test_a_damaged_index_is_mended(forecasts, ready, how):
    before, data = table(ready).read_bytes(), ready / "data"
    how(data / "index.json")
    copy = (data / "index.copy.json").rename(ready / "copy")
    assert forecasts.run(*cycle(ready)) == 5
    assert "is damaged" in forecasts.said
    assert table(ready).read_bytes() == before
    copy.rename(data / "index.copy.json")
    goes_on(forecasts, ready)
    assert "'index.copy.json' was put in its place" in forecasts.said


# --- Yahoo


def listed(yahoo: Yahoo) -> None:
    """Let Yahoo know two symbols."""
    for symbol, level in (("A", 5.0), ("B", 8.0)):
        ds, y = seasonal(ROWS + MORE, level=level)
        times, values = [int(moment.timestamp()) for moment in ds], y.tolist()
        yahoo.listings[symbol] = Listing(
            times, values, values, [1] * len(times), "UTC", session=(times[-1], times[-1])
        )


@pytest.fixture(scope="module")
def priced(forecasts: Forecasts, yahoo_server: Yahoo, tmp_path_factory) -> Path:
    """A workspace with a model of two symbols of Yahoo, after its first cycle."""
    folder = tmp_path_factory.mktemp("priced")
    (folder / "forecast.toml").write_text(SETTINGS)
    yahoo_server.reset()
    listed(yahoo_server)
    order = {"environment": yahoo_server.environment}
    assert forecasts.run("fetch", "A", "B", "--workspace", folder, **order) == 0, forecasts.said
    goes_on(forecasts, folder, **order)
    return folder


@pytest.fixture
def prices(priced: Path, yahoo: Yahoo, tmp_path: Path) -> Path:
    """The same, which a test may change."""
    listed(yahoo)
    return copied(priced, tmp_path / "workspace")


def test_yahoo_that_fails_changes_nothing(forecasts, yahoo, prices):
    before = kept(prices)
    order = {"environment": yahoo.environment}
    for kind in ("429", "500", "garbage", "truncated", "drop"):
        for symbol in ("A", "B"):
            yahoo.fail(symbol, kind)
        assert forecasts.run(*cycle(prices), **order) == 75, forecasts.said
        assert "None of 2 series was fetched" in forecasts.said
        kept(prices, before)
        assert (last(prices).outcome, problems(prices)) == ("postponed", [])
    yahoo.failures.clear()
    yahoo.fail("B", "500")
    assert forecasts.run(*cycle(prices), **order) == 7, forecasts.said
    assert (last(prices).outcome, problems(prices)) == ("partial", [])
    yahoo.failures.clear()
    kept(prices, goes_on(forecasts, prices, **order))


@pytest.mark.slow  # it waits for two requests to be given up
def test_yahoo_that_hangs_is_given_up(forecasts, yahoo, prices):
    before = kept(prices)
    order = {"environment": yahoo.environment}
    for symbol in ("A", "B"):
        yahoo.fail(symbol, "hang")
    assert forecasts.run(*cycle(prices), **order) == 75, forecasts.said
    kept(prices, before)
    yahoo.reset()


# --- signals

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


def stopped(
    forecasts: Forecasts, folder: Path, moment: list[str], number: int, *words: object
) -> int:
    """Send a signal at a moment of a cycle, and return the exit code."""
    there = folder.parent / "there"
    pid = forecasts.start(*cycle(folder, *words), stop=moment, ready=str(there))
    deadline = time.monotonic() + 60
    while not there.exists():
        assert time.monotonic() < deadline, forecasts.said
        time.sleep(0.01)
    os.kill(pid, number)
    return forecasts.wait(pid)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("step", few(["fetch", "check", "promote", "export"], ["export"]))
def test_a_signal_ends_a_step_in_order(forecasts, ready, step, number, code):
    before = kept(ready)
    assert stopped(forecasts, ready, [step, "running"], number) == code
    assert "the version in service and the last table stay" in forecasts.said
    assert "Traceback" not in forecasts.said
    kept(ready, before)
    run = last(ready)
    assert (run.outcome, run.exit_code, run.steps[-1].outcome) == ("failed", code, "failed")
    assert run.message == run.steps[-1].message
    assert run.message in ("Terminated by SIGTERM.", "KeyboardInterrupt")
    assert list(ready.rglob(".*.tmp")) == list(ready.rglob(".lock-holder")) == []
    goes_on(forecasts, ready)


@pytest.mark.parametrize(("number", "code"), few(SIGNALS, SIGNALS[:1]))
def test_a_signal_ends_a_training(forecasts, trained, number, code):
    feed(trained, ROWS + MORE)
    before = kept(trained)
    assert stopped(forecasts, trained, ["train", "epoch"], number, "--epochs", 5000) == code
    assert "Traceback" not in forecasts.said
    kept(trained, before)
    assert (last(trained).exit_code, last(trained).steps[-1].name) == (code, "train")
    assert len(registry(trained).versions("air")) == 1
    assert list(trained.rglob(".*.tmp")) == forecasts.left == []


# --- many at a time


@pytest.mark.parametrize("seconds", few([3, 60], [3]))
def test_eight_cycles_and_eight_forecasts_at_a_time(forecasts, ready, tmp_path, seconds):
    until, made = time.time() + seconds, tmp_path / "made"
    made.mkdir()
    runs = []
    for number in range(8):
        words = cycle(ready, *(["--no-wait"] if number % 2 else []))
        runs.append(forecasts.start(*words, until=until, output=f"{made}/cycle-{number}-{{}}"))
        output = table(ready) if number < 2 else f"{made}/{number}-{{}}.csv"
        words = ["predict", "--name", "air", "--workspace", ready, "--output", output]
        runs.append(forecasts.start(*words, until=until, output=f"{made}/predict-{number}-{{}}"))
    rows = ROWS + MORE
    while time.time() < until - 15:  # newer rows, so that challengers are trained
        time.sleep(15)
        rows += 1
        feed(tmp_path, rows)
        (tmp_path / "feed.csv").replace(ready / "feed.csv")
    assert [forecasts.wait(pid) for pid in runs] == [0] * 16
    codes: dict[str, set[int]] = {"cycle": set(), "predict": set()}
    for path in made.glob("*.code"):
        code = int(path.read_text())
        said = path.with_suffix("").read_text()
        assert "Traceback" not in said
        codes[path.name.partition("-")[0]].add(code)
        assert code in {0, 6, 75}, said
    assert codes["predict"] == {0}
    assert 0 in codes["cycle"]
    seen: dict[tuple[str, str], bytes] = {}
    for path in [*made.glob("*.csv"), table(ready)]:
        written = pd.read_csv(path)
        assert len(written) == 8
        (version,), (cutoff,) = written["model_version"].unique(), written["cutoff"].unique()
        assert seen.setdefault((version, cutoff), path.read_bytes()) == path.read_bytes()
    assert {version for version, _ in seen} <= set(registry(ready).versions("air"))
    feed(ready, rows)
    assert forecasts.run("models", "verify", "--workspace", ready) == 0
    assert forecasts.run(*cycle(ready)) in (0, 6), forecasts.said


# --- a clock that goes back


@pytest.mark.parametrize("ahead", few([3600, 365 * 86_400], [3600]))
def test_a_clock_that_was_ahead_leaves_runs_in_order(forecasts, ready, ahead):
    assert forecasts.run(*cycle(ready), clock=ahead) == 0
    new = registry(ready).versions("air")[1]
    early = last(ready)
    assert forecasts.run(*cycle(ready, "--keep-runs", 2)) == 0
    assert registry(ready).champion("air") == new
    assert last(ready).started < early.started
    assert len(list(Records(ready / "models" / "air").newest_first())) == 2
    (said,) = problems(ready)
    assert "in the future: check the clock, or delete it" in said
    Path(said.split("'")[1]).unlink()
    goes_on(forecasts, ready)


@pytest.mark.slow
def test_a_clock_that_was_ahead_leaves_versions_in_order(forecasts, trained):
    for clock, rows in ((365 * 86_400, MORE - 1), (0, MORE)):
        feed(trained, ROWS + rows)
        unjudged(trained, registry(trained).champion("air"))
        assert forecasts.run(*cycle(trained, "--keep", 0), clock=clock) == 0, forecasts.said
        assert registry(trained).champion("air") == registry(trained).versions("air")[-1]
    manifests = [
        read_manifest(registry(trained).version_folder("air", version))
        for version in registry(trained).versions("air")
    ]
    assert len(manifests) == 2
    assert manifests[0]["created"] > manifests[1]["created"]
    assert forecasts.run("models", "rollback", "--name", "air", "--workspace", trained) == 0
    assert registry(trained).champion("air") == registry(trained).versions("air")[0]
