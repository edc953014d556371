"""Processes that are killed at the worst moment: what was whole before stays in service."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from series_made import QUICK, frame_of
from test_main_job import TRAIN, done, forecast

from forecaster import artifacts
from forecaster.api import Forecaster
from forecaster.errors import NotFoundError
from forecaster.registry import Registry

pytestmark = pytest.mark.xdist_group("crash")

ONCE = [*TRAIN, "--no-refit-all"]  # one fit is enough: the moments of saving are the same

# Python tells this hook of every open and rename before it is done: the moment is certain.
HOOK = """
import fnmatch, os, signal, sys
def stop(event, arguments, pattern=os.environ["CRASH_AT"]):
    if event in ("open", "os.rename"):
        path = arguments[1] if event == "os.rename" else arguments[0]
        if fnmatch.fnmatch(f"{event} {path}", pattern):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(stop)
"""
SAVE = """
import sys
from pathlib import Path
from forecaster import artifacts
from forecaster.registry import Registry
Registry(Path(sys.argv[1])).save(sys.argv[2], artifacts.load(Path(sys.argv[3])), {})
"""
CHANGE = """
import sys
from pathlib import Path
from forecaster.registry import Registry
registry = Registry(Path(sys.argv[1]))
registry.rollback("air")
registry.prune("air", 0, newer=True)
"""
GOLDEN = Path(__file__).parent / "golden" / "gru"
BEFORE_THE_MODEL = [  # moments of a save at which the old version is still in service
    "open */versions/.*.tmp/config.toml",
    "open */versions/.*.tmp/network.onnx",
    "open */versions/.*.tmp/manifest.json",
    "os.rename */versions/*",
    "open */.champion.*.tmp",
    "os.rename */champion",
]
BEFORE_THE_DATA = [
    "open */parts/.*.tmp",
    "os.rename */parts/*.parquet",
    "open */.index.json.*.tmp",
    "os.rename */index.json",
]


@pytest.fixture
def crashing(tmp_path):
    """Return the environment of a process that is killed at a moment."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(tmp_path / "hook"), os.environ.get("PYTHONPATH", "")])
    return lambda moment: os.environ | {"PYTHONPATH": path, "CRASH_AT": moment}


@pytest.fixture(scope="module")
def model():
    return Forecaster(**QUICK).fit(frame_of("a")).model


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.suffix == ".tmp"]


@pytest.mark.parametrize("moment", BEFORE_THE_MODEL)
def test_a_save_that_is_killed_leaves_the_old_model(model, tmp_path, crashing, moment):
    registry = Registry(tmp_path / "models")
    old = registry.save("air", model, {})
    for name in ("air", "first"):
        words = [registry.folder, name, registry.version_folder("air", old)]
        killed = subprocess.run(
            [sys.executable, "-c", SAVE, *map(str, words)], env=crashing(moment), check=False
        )
        assert killed.returncode == -signal.SIGKILL
    assert registry.load("air")[1] == old
    with pytest.raises(NotFoundError, match="no model 'first'"):
        registry.load("first")
    for name in ("air", "first"):  # neither leftovers nor the dead writer's lock are in the way
        new = registry.save(name, model, {})
        assert registry.load(name)[1] == new
    assert leftovers(registry.folder) == []


def test_a_save_that_is_killed_at_its_end_leaves_the_new_model(model, tmp_path, crashing):
    registry = Registry(tmp_path / "models")
    old = registry.save("air", model, {})
    words = [registry.folder, "air", registry.version_folder("air", old)]
    environment = crashing(f"open {registry.folder / 'air'}")  # the fsync of the folder
    killed = subprocess.run(
        [sys.executable, "-c", SAVE, *map(str, words)], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert registry.load("air")[1] == registry.versions("air")[1]


@pytest.mark.parametrize(
    ("moment", "rolled_back", "deleted"),
    [
        ("os.rename */promotions.json", False, False),
        ("os.rename */champion", False, False),
        ("os.rename */versions/.*.tmp", True, False),
        ("open */versions", True, True),  # the fsync after the first deletion
    ],
)
def test_a_change_of_versions_that_is_killed_is_done_or_not(
    tmp_path, crashing, moment, rolled_back, deleted
):
    registry = Registry(tmp_path / "models")
    golden = artifacts.load(GOLDEN)
    a, b, c, d = (registry.save("air", golden, {}) for _ in range(4))
    words = [sys.executable, "-c", CHANGE, str(registry.folder)]
    killed = subprocess.run(words, env=crashing(moment), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert registry.load("air")[1] == (c if rolled_back else d)
    assert registry.versions("air") == [a, b, c, d][deleted:]
    subprocess.run(words, check=True)
    assert registry.load("air")[1] == (b if rolled_back else c)
    assert registry.previous("air") == (None if deleted else a if rolled_back else b)
    assert leftovers(registry.folder) == []


@pytest.mark.parametrize("moment", BEFORE_THE_DATA)
def test_a_fetch_that_is_killed_leaves_the_old_data(tmp_path, crashing, moment):
    frame_of("air-passengers", rows=30).to_csv(tmp_path / "old.csv", index=False)
    done(tmp_path, "fetch", "--csv", "old.csv")
    before = done(tmp_path, "data", "export").stdout
    words = ["fetch", "--sample", "air-passengers"]
    assert forecast(tmp_path, *words, env=crashing(moment)).returncode == -signal.SIGKILL
    assert done(tmp_path, "data", "export").stdout == before
    done(tmp_path, *words)
    assert len(done(tmp_path, "data", "export").stdout.splitlines()) == 145
    assert leftovers(tmp_path / "data") == []
    assert len(list((tmp_path / "data" / "parts").iterdir())) == 1


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_saves_leaves_the_old_model(tmp_path, crashing):
    moment = "os.rename */champion"
    done(tmp_path, "fetch", "--sample", "air-passengers")
    assert forecast(tmp_path, *ONCE, env=crashing(moment)).returncode == -signal.SIGKILL
    done(tmp_path, "predict", "--name", "air", code=4)
    done(tmp_path, *ONCE)
    before = done(tmp_path, "predict", "--name", "air").stdout
    assert forecast(tmp_path, *ONCE, env=crashing(moment)).returncode == -signal.SIGKILL
    assert done(tmp_path, "predict", "--name", "air").stdout == before
    done(tmp_path, *ONCE)
    assert done(tmp_path, "predict", "--name", "air").stdout != before
    assert leftovers(tmp_path / "models") == []


@pytest.mark.slow
def test_predictions_during_two_trainings_are_each_of_one_whole_version(tmp_path):
    done(tmp_path, "fetch", "--sample", "air-passengers")
    done(tmp_path, *ONCE)
    trainings = [
        subprocess.Popen(
            [sys.executable, "-m", "forecaster", *ONCE, "--seed", str(seed), "--quiet"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
        )
        for seed in (1, 2)
    ]
    seen: dict[str, str] = {}
    while any(training.poll() is None for training in trainings) or len(seen) < 2:
        table = done(tmp_path, "predict", "--name", "air").stdout
        (version,) = {line.rpartition(",")[2] for line in table.splitlines()[1:]}
        assert seen.setdefault(version, table) == table
    assert [training.returncode for training in trainings] == [0, 0]
    versions = {path.name for path in (tmp_path / "models" / "air" / "versions").iterdir()}
    assert seen.keys() <= versions
    assert len(versions) == 3


def test_a_models_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    done(tmp_path, "fetch", "--sample", "air-passengers")
    (tmp_path / "models").write_text("a file")
    run = forecast(tmp_path, "--json", *ONCE)
    error = json.loads(run.stdout)["error"]
    assert (run.returncode, error["code"]) == (1, 1)
    assert "models' cannot be written" in error["message"]
