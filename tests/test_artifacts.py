"""A stored version: what goes in comes out, and damage is always told."""

import hashlib
import io
import json
import pickle

import numpy as np
import pytest
from series_made import QUICK, frame_of

from forecaster import artifacts
from forecaster.api import Forecaster
from forecaster.errors import DamagedError, ForecasterError, InvalidInputError, NotFoundError
from forecaster.registry import Registry
from forecaster.versions import require_name

pytestmark = pytest.mark.xdist_group("artifacts")

FILES = [
    "manifest.json",
    "config.toml",
    "network.weights.h5",
    "network.onnx",
    "scaling.json",
    "intervals.json",
    "golden.npz",
    "judged.weights.h5",
    "judged.json",
    "judged.onnx",
]


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(**QUICK | {"calendar_features": True}).fit(frame_of("a", "b"))


@pytest.fixture
def saved(fitted, tmp_path):
    fitted.save(tmp_path / "version")
    return tmp_path / "version"


def test_a_loaded_model_forecasts_exactly_what_the_saved_one_did(fitted, saved):
    again = Forecaster.load(saved)
    expected = fitted.predict(6, level=(50, 90))
    found = again.predict(6, frame=frame_of("a", "b"), level=(50, 90))
    assert found.equals(expected)
    assert again.config == fitted.config


def test_a_version_has_the_files_of_the_design_and_no_pickle(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    for path in saved.iterdir():
        with pytest.raises(Exception):  # noqa: B017 - whatever it is, it is no pickle
            pickle.loads(path.read_bytes())


def test_the_manifest_tells_what_is_needed_to_do_it_again(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["data"]["series"] == 2
    assert len(manifest["data"]["hash"]) == 64
    assert manifest["trained"]["device"].startswith("cpu")
    assert {"keras", "tensorflow", "onnxruntime"} <= manifest["versions"].keys()
    assert manifest["judgement"]["verdict"]
    assert manifest["fitted"] == {"first": "2024-01-01 00:00:00", "last": "2024-06-08 00:00:00"}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_told(saved, name):
    (saved / name).unlink()
    with pytest.raises(DamagedError, match=name.replace(".", r"\.")):
        artifacts.load(saved)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_bit_is_told(saved, name, place):
    content = bytearray((saved / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(DamagedError, match="SHA-256"):
        artifacts.load(saved)


def change(version, name, content):
    """Edit a file of a version and make its digest match."""
    (version / name).write_bytes(content)
    manifest = json.loads((version / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (version / "manifest.json").write_text(json.dumps(manifest))


def changed(content, **values):
    return json.dumps(json.loads(content) | values).encode()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ANY = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"xx",
    "half": lambda content: content[: len(content) // 2],
    "null": lambda _: b"null",
    "list": lambda _: b"[]",
    "object": lambda _: b"{}",
    "no text": lambda _: b"\xff\xfe",
}
EDITS = {
    "config.toml": [
        lambda content: content + b"\n[strange]\nx = 1\n",
        lambda content: content.replace(b"epochs = 3", b"epochs = 0"),
        lambda content: content.replace(b"lookback = 16", b"lookback = 20"),
    ],
    "network.onnx": [lambda content: content + content],
    "scaling.json": [
        lambda content: changed(content, center=[0.0]),
        lambda content: changed(content, center=["x", "y"]),
        lambda content: changed(content, center=[float("nan"), 1.0]),
        lambda content: changed(content, log=[0.5, 0.5]),
        lambda content: changed(content, log=None),
        lambda content: changed(content, ids=3),
        lambda content: changed(content, ids=[["a"], "b"]),
        lambda content: changed(content, difference="no"),
        lambda content: changed(content, covariate_scale=[[1.0], [1.0]]),
        lambda content: changed(content, more=1),
    ],
    "judged.json": [
        lambda content: changed(content, seen={"a": "yesterday"}),
        lambda content: changed(content, fitted=[]),
    ],
    "intervals.json": [
        lambda content: changed(content, windows=5, scores=[]),
        lambda content: changed(content, windows="x"),
        lambda content: changed(content, windows=-1),
        lambda content: changed(content, scores=None),
        lambda content: changed(content, scores={"a": 1}),
    ],
    "golden.npz": [
        lambda _: npz(other=np.zeros(3)),
        lambda _: npz(forecast=np.zeros(3), context=np.zeros(3)),
        lambda _: npz(forecast=np.array(["x"]), context=np.array([None]).astype("U")),
        lambda _: npz(forecast=np.zeros((0, 4)), context=np.zeros((0, 16, 3), np.float32)),
    ],
}


@pytest.mark.parametrize("name", FILES[1:])
def test_an_edited_file_whose_digest_matches_is_told(saved, name):
    good = (saved / name).read_bytes()
    load = artifacts.load_judged if name.startswith("judged") else artifacts.load
    for edit in [*ANY.values(), *EDITS.get(name, [])]:
        change(saved, name, edit(good))
        with pytest.raises(DamagedError, match=name.replace(".", r"\.")) as raised:
            load(saved)
        assert raised.value.exit_code == 5
        assert "Train it again" in raised.value.hint
    change(saved, name, good)
    artifacts.load(saved)


@pytest.mark.parametrize(
    "values",
    [{"trained": None}, {"trained": {}}, {"files": 3}, {"files": {}}, {"format": "1"}],
    ids=str,
)
def test_an_edited_manifest_is_told(saved, values):
    path = saved / "manifest.json"
    path.write_bytes(changed(path.read_bytes(), **values))
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        artifacts.load(saved)


def test_the_version_to_roll_back_to_is_named(fitted, tmp_path):
    registry = Registry(tmp_path)
    first, second = (registry.save("air", fitted.model, {}) for _ in range(2))
    change(registry.version_folder("air", second), "golden.npz", b"")
    with pytest.raises(DamagedError, match=r"golden\.npz") as raised:
        registry.load("air")
    assert f"forecast models promote {first} --name air." in raised.value.hint


def test_a_manifest_that_is_no_json_is_told(saved):
    (saved / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match="manifest"):
        artifacts.load(saved)


def test_a_newer_format_is_told(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(InvalidInputError, match=r"newer format 2; this version .* reads format 1"):
        artifacts.load(saved)


def test_a_network_that_forecasts_otherwise_is_told(fitted, saved, monkeypatch):
    """Digests hold, yet the runtime computes something else: only the golden forecast sees it."""
    from forecaster.runtime import Network

    original = Network.__call__
    monkeypatch.setattr(Network, "__call__", lambda self, *a, **k: original(self, *a, **k) + 0.01)
    with pytest.raises(DamagedError, match="golden forecast"):
        artifacts.load(saved)


def test_no_folder_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        Forecaster.load(tmp_path / "nothing")


def test_versions_pile_up_and_the_last_is_champion(fitted, tmp_path):
    registry = Registry(tmp_path)
    first = registry.save("air", fitted.model, {})
    second = registry.save("air", fitted.model, {})
    assert registry.names() == ["air"]
    assert registry.versions("air") == [first, second]
    assert registry.champion("air") == second
    assert registry.load("air")[1] == second


def test_a_failed_save_leaves_the_champion_and_nothing_else(fitted, tmp_path, monkeypatch):
    registry = Registry(tmp_path)
    first = registry.save("air", fitted.model, {})

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ForecasterError, match="No space left"):
        registry.save("air", fitted.model, {})
    monkeypatch.undo()
    assert registry.champion("air") == first
    assert [path.name for path in (tmp_path / "air" / "versions").iterdir()] == [first]


def test_what_a_crash_left_behind_is_swept(fitted, tmp_path):
    registry = Registry(tmp_path)
    registry.save("air", fitted.model, {})
    orphan = tmp_path / "air" / "versions" / ".20250101-x.99.tmp"
    orphan.mkdir()
    (orphan / "network.onnx").write_bytes(b"half")
    registry.save("air", fitted.model, {})
    assert not orphan.exists()


def test_a_champion_that_names_nothing_is_told(fitted, tmp_path):
    registry = Registry(tmp_path)
    version = registry.save("air", fitted.model, {})
    (tmp_path / "air" / "champion").write_text("../../etc\n")
    with pytest.raises(DamagedError, match="does not exist") as raised:
        registry.load("air")
    assert version in raised.value.hint


def test_an_unknown_model_names_near_ones(fitted, tmp_path):
    Registry(tmp_path).save("airline", fitted.model, {})
    with pytest.raises(NotFoundError, match="no model 'airlines'") as raised:
        Registry(tmp_path).load("airlines")
    assert "airline" in raised.value.hint


@pytest.mark.parametrize("name", ["", "..", "a/b", "CON", "nul.txt", "x" * 65, "ä", "-v", "a."])
def test_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(InvalidInputError, match="model's name"):
        require_name(name)


def test_scaling_survives_the_round_trip(fitted, saved):
    again = artifacts.load(saved).scaling
    for name in ("center", "scale", "error_unit", "log"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fitted.model.scaling, name))


def test_a_champion_that_is_no_text_is_told(fitted, tmp_path):
    registry = Registry(tmp_path)
    registry.save("air", fitted.model, {})
    (tmp_path / "air" / "champion").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedError, match="unreadable"):
        registry.champion("air")
