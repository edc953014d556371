"""Versions of models: one in service, changed in one step, reversible, never lost by accident."""

from __future__ import annotations

import doctest
import errno
import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from series_made import QUICK, frame_of

from forecaster import (
    Forecaster,
    artifacts,
    durations,
    inventory,
    jobs,
    presets,
    promotions,
    reproducing,
    status,
    versions,
    words,
)
from forecaster.cli import app
from forecaster.cli.inventory import description_text, reproduction_text
from forecaster.errors import DamagedError, InvalidInputError, NotFoundError
from forecaster.locking import HOLDER, writing
from forecaster.manifest import read_manifest
from forecaster.model import Model
from forecaster.registry import Registry
from forecaster.reproducing import until
from forecaster.series import prepare
from forecaster.store import Store
from forecaster.workspace import Workspace

pytestmark = pytest.mark.xdist_group("registry")

GOLDEN = Path(__file__).parent / "golden"


@cache
def golden(cell: str = "gru") -> Model:
    return artifacts.load(GOLDEN / cell)


def about(last: str = "2024-06-08 00:00:00", cell: str = "gru") -> dict[str, object]:
    manifest = read_manifest(GOLDEN / cell)
    said = {key: manifest[key] for key in ("judgement", "fitted", "judged", "selection")}
    return {**said, "data": {**manifest["data"], "last": last}}


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four versions, each in service after the one before it."""
    registry = Registry(tmp_path_factory.mktemp("registry") / "models")
    for cell in ("gru", "lstm", "rnn", "gru"):
        registry.save("air", golden(cell), about(cell=cell))
    return registry.folder


@pytest.fixture
def registry(four: Path, tmp_path: Path) -> Registry:
    return Registry(Path(shutil.copytree(four, tmp_path / "models")))


def spoil(registry: Registry, version: str, name: str = "golden.npz") -> None:
    (registry.version_folder("air", version) / name).write_bytes(b"")


def told(capsys: pytest.CaptureFixture[str], *args: object, code: int = 0) -> dict[str, object]:
    """Run a command with `--json` and return its document."""
    assert app.run([*map(str, args), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_promotion_and_rollback(registry: Registry):
    a, b, c, d = registry.versions("air")
    assert (registry.champion("air"), registry.previous("air")) == (d, c)
    assert registry.promote("air", b) == (d, b)
    assert registry.previous("air") == d
    assert registry.rollback("air") == (b, d)
    assert registry.rollback("air") == (d, c)  # further back, not b again
    assert registry.load("air")[1] == c
    assert registry.promote("air", "latest") == (c, d)
    assert [registry.rollback("air")[1] for _ in range(3)] == [c, b, a]
    with pytest.raises(NotFoundError, match="was in service before"):
        registry.rollback("air")
    assert registry.history("air")[-1].why == "rollback"


def test_promoting_the_champion_changes_nothing(registry: Registry):
    before = registry.history("air")
    champion = registry.champion("air")
    assert registry.promote("air", "champion") == (champion, champion)
    assert registry.history("air") == before


@pytest.mark.parametrize("cell", ["gru", None])
def test_a_damaged_version_never_comes_into_service(registry: Registry, cell: str | None):
    a, _, c, d = registry.versions("air")
    spoil(registry, c)
    with pytest.raises(DamagedError, match="SHA-256"):
        registry.promote("air", c) if cell else registry.rollback("air")
    assert registry.champion("air") == d
    assert registry.promote("air", a) == (d, a)


def test_versions_of_before_there_was_a_record(registry: Registry):
    a, b, c, _ = registry.versions("air")
    (registry.folder / "air" / "promotions.json").unlink()
    assert registry.previous("air") == c
    (registry.folder / "air" / "champion").write_text(f"{b}\n")
    assert registry.previous("air") == a


@pytest.mark.parametrize("content", ["{", '{"format": 2, "promotions": []}'])
def test_a_record_that_cannot_be_read_is_never_invented(registry: Registry, capsys, content: str):
    a, b, c, d = registry.versions("air")
    where = ["--name", "air", "--workspace", str(registry.folder.parent)]
    registry.promote("air", b)
    record = registry.folder / "air" / "promotions.json"
    record.write_text(content)
    refused = told(capsys, "models", "rollback", *where, code=5)
    assert "forecast models promote VERSION --name air" in str(refused["error"])
    told(capsys, "models", "prune", "--keep", 0, "--newer", *where, code=5)
    assert [each["version"] for each in told(capsys, "models", "list", *where)] == [a, b, c, d]
    golden_file = registry.version_folder("air", b) / "golden.npz"
    whole = golden_file.read_bytes()
    spoil(registry, b)
    with pytest.raises(DamagedError, match="SHA-256"):
        registry.load("air")
    golden_file.write_bytes(whole)
    assert registry.promote("air", d) == (b, d)
    assert record.with_name("promotions.json.damaged").read_text() == content
    assert registry.rollback("air") == (d, b)
    with pytest.raises(NotFoundError, match="was in service before"):
        registry.rollback("air")


def test_another_hand_on_the_champion_file_is_noticed(registry: Registry):
    a, _, _, d = registry.versions("air")
    (registry.folder / "air" / "champion").write_text(a)
    assert registry.history("air")[-1] == promotions.Promotion(a, None, "unrecorded")
    assert registry.rollback("air") == (a, d)


def test_an_unfinished_promotion_did_not_happen(registry: Registry, monkeypatch):
    _, b, c, d = registry.versions("air")

    def power_failure(self: Path, target: Path) -> None:
        if Path(target).name == "champion":
            raise KeyboardInterrupt
        self.rename(target)

    monkeypatch.setattr(Path, "replace", power_failure)
    with pytest.raises(KeyboardInterrupt):
        registry.promote("air", b)
    monkeypatch.undo()
    assert (registry.champion("air"), registry.previous("air")) == (d, c)
    assert registry.promote("air", b) == (d, b)
    assert [each.version for each in registry.history("air")][-2:] == [d, b]


def test_a_model_without_a_champion_gets_one(registry: Registry):
    (registry.folder / "air" / "champion").unlink()
    latest = registry.versions("air")[-1]
    with pytest.raises(NotFoundError, match="no model 'air' in service") as raised:
        registry.load("air")
    assert f"forecast models promote {latest} --name air" in raised.value.hint
    assert registry.prune("air", 0) == []
    assert registry.promote("air", latest) == (None, latest)


def test_a_champion_file_that_names_nothing_is_mended(registry: Registry):
    (registry.folder / "air" / "champion").write_text("gone")
    with pytest.raises(DamagedError, match="names the version 'gone'") as raised:
        registry.champion("air")
    assert "forecast models promote" in raised.value.hint
    with pytest.raises(DamagedError):
        registry.prune("air", 0)
    assert len(registry.versions("air")) == 4
    assert registry.promote("air", "latest")[0] == "gone"


def test_a_version_is_meant_by_its_beginning_or_end(registry: Registry):
    a, b, _, d = registry.versions("air")
    assert registry.resolve("air", b[-8:]) == b
    assert registry.resolve("air", "champion") == d
    with pytest.raises(InvalidInputError, match="2 versions of the model 'air'"):
        registry.resolve("air", a[-8:])  # the first and the last are of one network
    with pytest.raises(NotFoundError, match="no version 'zzz'"):
        registry.resolve("air", "zzz")
    with pytest.raises(NotFoundError, match="no model 'water'"):
        registry.promote("water", "latest")
    assert not (registry.folder / "water").exists()


def test_pruning_spares_what_may_be_needed(registry: Registry):
    a, b, c, d = registry.versions("air")
    registry.promote("air", b)  # d was before it; c is newer
    assert registry.prune("air", 1) == []
    assert registry.prune("air", 0, dry_run=True) == [a]
    assert registry.prune("air", 0, newer=True, dry_run=True) == [a, c]
    assert registry.prune("air", 1, newer=True) == [a]
    assert registry.versions("air") == [b, c, d]
    registry.promote("air", d)
    assert registry.prune("air", 0) == [c]
    assert registry.rollback("air") == (d, b)


def test_what_a_crash_left_of_a_deletion_is_no_version(registry: Registry):
    a, b, c, d = registry.versions("air")
    folder = registry.version_folder("air", a)
    folder.rename(folder.with_name(f".{a}.1.tmp"))  # killed before the rest was deleted
    assert registry.versions("air") == [b, c, d]
    registry.prune("air", 9)
    assert sorted(path.name for path in folder.parent.iterdir()) == [b, c, d]


def test_a_pruned_champion_is_passed_over_by_a_rollback(registry: Registry):
    a, _, c, _ = registry.versions("air")
    registry.promote("air", a)
    registry.promote("air", c)
    registry.prune("air", 0)
    assert registry.versions("air") == [a, c, registry.versions("air")[-1]]
    shutil.rmtree(registry.version_folder("air", a))
    assert registry.rollback("air")[1] == registry.versions("air")[-1]


def test_a_backfill_replaces_nothing_by_itself(registry: Registry):
    champion = registry.champion("air")
    backfilled = registry.save("air", golden("lstm"), about("2024-01-31 00:00:00"))
    assert registry.champion("air") == champion
    assert registry.promote("air", backfilled) == (champion, backfilled)
    other = replace(golden(), scaling=replace(golden().scaling, ids=("x", "y")))
    new = registry.save("air", other, about("1960-12-01 00:00:00"))  # other series altogether
    assert registry.champion("air") == new
    assert registry.champion("air") != registry.save("air", golden(), about(), promote=False)
    old = registry.save("air", golden(), about("1950-01-01 00:00:00"), promote=True)
    assert registry.champion("air") == old


@pytest.mark.parametrize("data", [[], None, "2024"])
def test_a_champion_of_odd_shape_loses_no_training(registry: Registry, data: object):
    path = registry.version_folder("air", registry.champion("air")) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"data": data}))
    assert registry.save("air", golden(), about()) == registry.champion("air")


def test_training_waits_long_for_its_turn_to_save(registry: Registry, monkeypatch):
    said = []

    def save(self: Registry, *args: object) -> str:
        self.on_wait("somebody")
        said.append(self.lock_timeout)
        raise NotFoundError("enough")

    model = SimpleNamespace(scaling=SimpleNamespace(ids=()))
    trained = SimpleNamespace(fit=lambda *_, **__: None, model=model, about={}, judged=None)
    monkeypatch.setattr(Registry, "save", save)
    monkeypatch.setattr(jobs.api.Forecaster, "of", lambda config: trained)
    monkeypatch.setattr(Store, "read", lambda *_: None)
    with pytest.raises(NotFoundError, match="enough"):
        jobs.train(Workspace(registry.folder.parent), [], "air", {}, print, on_wait=said.append)
    assert said == ["somebody", 600]


def test_versions_stay_in_order_when_the_clock_is_set_back(registry: Registry, monkeypatch):
    folder = registry.version_folder("air", registry.versions("air")[-1])
    future = folder.with_name("29990101T000000000000Z-abcdef01")
    folder.rename(future)
    new = registry.save("air", golden(), about())
    assert registry.versions("air")[-2:] == [future.name, new]
    assert new.startswith("29990101T000000000001Z-")


def test_a_reader_follows_a_champion_that_changes_under_it(registry: Registry, monkeypatch):
    _, b, _, d = registry.versions("air")
    load = artifacts.load

    def overtaken(folder: Path) -> Model:
        if folder.name == d:
            registry.promote("air", b)
            shutil.rmtree(folder)
        return load(folder)

    monkeypatch.setattr(artifacts, "load", overtaken)
    assert registry.load("air")[1] == b


HOLD = """
import sys, time
from pathlib import Path
from forecaster.locking import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_is_named_and_a_dead_one_blocks_nobody(registry: Registry, capsys):
    folder = registry.folder / "air"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    since = json.loads((folder / HOLDER).read_text())["since"]
    words = ["models", "rollback", "--name", "air", "--workspace", registry.folder.parent]
    document = told(capsys, *words, "--no-wait", code=75)
    assert f"(pid {process.pid}, since {since})" in str(document["error"])
    assert app.run([*map(str, words), "--wait", "0.2s"]) == 75
    told_while_waiting = capsys.readouterr().err.splitlines()[0]
    assert told_while_waiting.startswith("Waiting for the process that writes to")
    assert f"pid {process.pid}" in told_while_waiting
    assert registry.load("air")[1] == registry.champion("air")  # readers are never blocked
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert told(capsys, *words, "--no-wait")["version"] == registry.champion("air")
    assert not (folder / HOLDER).exists()


def test_a_thread_takes_its_own_lock_again(tmp_path: Path):
    with writing(tmp_path):
        with writing(tmp_path, timeout=0):
            pass
        assert (tmp_path / HOLDER).exists()
    assert not (tmp_path / HOLDER).exists()


def test_a_lock_needs_no_note_of_its_holder(tmp_path: Path, monkeypatch):
    def full(self: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    def refused(self: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "unlink", refused)
    for _ in range(2):
        with writing(tmp_path, timeout=0):
            pass


def test_rollbacks_at_once_take_turns(registry: Registry):
    a, b = registry.versions("air")[:2]
    for turn in range(10):
        registry.promote("air", (a, b)[turn % 2])
    code = (
        "import sys\nfrom pathlib import Path\nfrom forecaster.registry import Registry\n"
        "print(*Registry(Path(sys.argv[1]), lock_timeout=60).rollback('air'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(registry.folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    moves = [process.communicate(timeout=120)[0].split() for process in processes]
    assert sorted(moves) == [[a, b], [a, b], [b, a], [b, a]]
    assert registry.champion("air") == b


def test_the_list(registry: Registry, capsys):
    _, _, c, d = registry.versions("air")
    words = ["models", "list", "--workspace", str(registry.folder.parent)]
    listed = told(capsys, *words)
    assert [each["state"] for each in listed] == ["older", "older", "previous", "champion"]
    assert listed[3]["mase"] == pytest.approx(1.1205, abs=1e-4)
    registry.promote("air", c)
    (registry.version_folder("air", d) / "manifest.json").write_text("{")
    listed = told(capsys, *words, "--name", "air")
    assert [each["state"] for each in listed][2:] == ["champion", "previous"]
    assert "cannot be read" in listed[3]["damage"]
    assert app.run(words) == 0
    assert "* champion" in capsys.readouterr().out.splitlines()[3]
    assert "no model 'water'" in str(told(capsys, *words, "--name", "water", code=4))
    assert told(capsys, "models", "list", "--workspace", registry.folder) == []


def test_show_and_diff(registry: Registry, capsys):
    where = ["--name", "air", "--workspace", str(registry.folder.parent)]
    shown = told(capsys, "models", "show", *where)
    assert (shown["state"], shown["settings"]["network"]["cell"]) == ("champion", "gru")
    assert shown["promotions"][0]["why"] == "train"
    assert app.run(["models", "show", "previous", *where]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Network: (auto|classic|segment) rnn 6-4", text)
    assert re.search(
        r"Settings: transform \w+, .*skip \w+, .*series_vectors false, .*ensemble 1, fallback none; "
        r"--json has all",
        text,
    )
    shown["trained"]["rehearsed"] = 3.21
    assert "\nIntervals: by a rehearsal of the refit in 3.2 s\n" in description_text(shown)
    tried = {"name": "last value", "settings": {}, "score": 0.91, "seconds": 1.0, "reason": ""}
    selection = {"candidates": [tried], "chosen": "last value"}
    text = description_text(shown | {"selection": selection})
    assert "start from the last value (MASE there: last value: 0.91)." in text
    took = shown["trained"]["seconds"], shown["judged"]["seconds"]
    assert f"weights, trained in {took[0]} s with compiling\n" in text
    assert (
        f"\nTrained before it: the judged networks in {took[1]} s, 1 candidate in 1.00 s\n" in text
    )
    alone = description_text(shown | {"judged": shown["trained"]})  # it is in service itself
    assert "Trained before it" not in alone
    counted = {"data": {"series": 2, "rows": 12_345}, "trained": {"parameters": 1_234}}
    text = description_text(shown | counted)
    assert "Data: 2 series, 12,345 rows, " in text
    assert " 1,234 weights, " in text
    counted["data"]["filled"] = 1_002
    assert "2 series, 12,345 rows (1,002 of them filled in), " in description_text(shown | counted)
    assert "- weights" in description_text(shown | {"trained": {}})
    found = told(capsys, "models", "diff", "previous", "champion", *where)["differences"]
    assert found["settings.network.cell"] == ["rnn", "gru"]
    assert not any(key.startswith("data.") for key in found)
    same = told(capsys, "models", "diff", registry.versions("air")[0], "champion", *where)
    assert same["differences"] == {}


def test_verify(registry: Registry, capsys):
    words = ["models", "verify", "--workspace", str(registry.folder.parent)]
    assert told(capsys, *words)["whole"] is True
    spoil(registry, registry.versions("air")[1], "network.onnx")
    document = told(capsys, *words, code=5)
    assert [bool(each["problem"]) for each in document["versions"]] == [False, True, False, False]
    assert len(told(capsys, *words, "champion", "--name", "air")["versions"]) == 1
    (registry.folder / "air" / "champion").write_text("gone")
    assert "does not exist" in told(capsys, *words, code=5)["versions"][-1]["problem"]


@pytest.mark.parametrize("gone", [0, 3])
def test_a_champion_without_a_manifest_is_damaged(registry: Registry, capsys, gone: int):
    words = ["--name", "air", "--workspace", str(registry.folder.parent)]
    champion = registry.champion("air")
    for version in registry.versions("air")[:gone]:
        shutil.rmtree(registry.version_folder("air", version))
    (registry.version_folder("air", champion) / "manifest.json").unlink()
    for said in ([], ["champion"]):
        document = told(capsys, "models", "verify", *said, *words, code=5)
        assert (document["whole"], document["versions"][-1]["version"]) == (False, champion)
    assert told(capsys, "models", "verify", *words[2:], code=5)["whole"] is False
    assert "cannot be read" in str(told(capsys, "models", "show", *words, code=5)["error"])
    told(capsys, "models", "diff", "champion", "champion", *words, code=5)


def test_a_version_pruned_during_verify_is_no_damage(registry: Registry, monkeypatch):
    a, _, c, d = registry.versions("air")
    load = artifacts.load

    def overtaken(folder: Path) -> Model:
        if folder.name == c:
            shutil.rmtree(folder)
        return load(folder)

    monkeypatch.setattr(artifacts, "load", overtaken)
    checked = inventory.verify(registry)
    assert [each.problem for each in checked] == ["", "", ""]
    assert (checked[0].version, checked[-1].version) == (a, d)


def test_prune_and_promote_from_the_command_line(registry: Registry, capsys):
    where = ["--name", "air", "--workspace", str(registry.folder.parent)]
    a, b, c, d = registry.versions("air")
    assert told(capsys, "models", "prune", "--keep", 1, "--dry-run", *where)["deleted"] == [a]
    assert told(capsys, "models", "prune", "--keep", 0, *where)["deleted"] == [a, b]
    document = told(capsys, "models", "promote", "previous", *where)
    assert document == {"name": "air", "version": c, "previous": d}
    assert told(capsys, "models", "prune", "--keep", 0, "--newer", *where)["deleted"] == []
    assert app.run(["models", "prune", "--keep", "-1", *where]) == 2


def test_listing_imports_nothing_heavy(registry: Registry):
    code = (
        "import sys\nfrom forecaster.cli.app import run\n"
        "for words in (['list'], ['show', '--name', 'air'], "
        "['diff', 'previous', 'champion', '--name', 'air']):\n"
        "    assert run(['models', *words, '-q', '--workspace', sys.argv[1]]) == 0\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pandas', 'pydantic', 'onnxruntime', 'filelock'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(registry.folder.parent)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow  # trains several networks
def test_reproducing_trains_the_same_again_and_notices_other_data(tmp_path: Path, capsys):
    registry = Registry(tmp_path / "models")
    registry.save("air", golden(), about())
    store = Store(tmp_path / "data")
    frame = frame_of("a", "b", rows=165)  # five rows have arrived since
    store.put(frame, {"kind": "test"})
    words = ["models", "reproduce", "--name", "air", "--workspace", str(tmp_path)]
    document = told(capsys, *words)
    assert (document["reproduced"], document["same_data"]) == (True, True)
    assert document["difference"] < 0.001
    assert not any("data" in note for note in document["notes"])
    frame["y"] = frame["y"].where(frame.index % 9 > 0, frame["y"] + 1)  # the source revised it
    store.put(frame, {"kind": "test"})
    other = golden().config.replace(test_size=None, shrink=False, refit_all=False)
    registry.save("air", replace(golden(), config=other), about())
    document = told(capsys, *words, code=6)
    assert (document["reproduced"], document["same_data"]) == (False, False)
    assert document["notes"][0].startswith("The data has changed")
    assert len(registry.versions("air")) == 2


@pytest.mark.slow  # trains two networks
def test_rows_held_out_that_are_no_whole_number_of_folds_are_held_out_again(tmp_path: Path, capsys):
    frame = frame_of("a", rows=160)
    Store(tmp_path / "data").put(frame, {"kind": "test"})
    settings = QUICK | {
        "folds": None,
        "test_size": 15,
        "step_size": 4,
        "refit_all": False,
        "deterministic": True,
    }
    fitted = Forecaster(**settings).fit(frame)
    assert fitted.config.evaluation.test_size == 15
    registry = Registry(tmp_path / "models")
    version = registry.save("air", fitted.model, fitted.about)
    document = told(capsys, "models", "reproduce", "--name", "air", "--workspace", str(tmp_path))
    assert (document["reproduced"], document["difference"]) == (True, 0)
    again = Forecaster.load(registry.version_folder("air", version)).settings
    panel = prepare(frame, again.data)
    assert presets.resolve(again, panel).evaluation == fitted.config.evaluation


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (0.0, "the same forecasts: they are equal."),
        (0.002, "they differ by at most 0.002 standard deviations of their series (0.01 allowed)."),
    ],
)
def test_equal_forecasts_are_called_equal(difference: float, said: str):
    result = reproducing.Reproduction(
        "air", "v", True, difference, reproducing.TOLERANCE, True, ("a", "a"), {}, ()
    )
    assert reproduction_text(result).endswith(said)


def test_what_cannot_be_reproduced_is_said(registry: Registry, capsys):
    where = ["--name", "air", "--workspace", str(registry.folder.parent)]
    document = told(capsys, "models", "reproduce", *where, code=4)
    assert "No series is stored" in str(document) or "is not stored" in str(document)
    registry.save("bare", golden(), {})
    document = told(capsys, "models", "reproduce", *where, "--name", "bare", code=1)
    assert "does not say what it was trained on" in str(document)


def test_rows_that_arrived_since_are_left_out():
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3)})
    assert len(until(days, "2024-01-02 00:00:00")) == 2
    local = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin")})
    assert len(until(local, "2024-01-02 00:00:00+01:00")) == 2
    assert len(until(local, "2024-01-02 00:00:00")) == 2
    assert len(until(days, "2024-01-02 00:00:00+01:00")) == 2


@pytest.mark.parametrize(
    "module", [durations, jobs, promotions, reproducing, status, versions, words]
)
def test_examples(module):
    assert doctest.testmod(module).failed == 0
