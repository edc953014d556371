"""The doctor finds what would stop a run, and says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forecaster import backend, doctor
from forecaster.cli import app
from forecaster.config import Config
from forecaster.doctor import Check, cudnn_obstacles
from forecaster.errors import MissingDependencyError
from forecaster.workspace import Workspace


def named(checks: Any, name: str) -> Check:
    return next(check for check in checks if check.name == name)


class LSTM(SimpleNamespace):
    pass


class GRU(SimpleNamespace):
    pass


class SimpleRNN(SimpleNamespace):
    pass


def tanh() -> None: ...


def sigmoid() -> None: ...


def relu() -> None: ...


GOOD = {
    "activation": tanh,
    "recurrent_activation": sigmoid,
    "recurrent_dropout": 0.0,
    "unroll": False,
    "use_bias": True,
}


def test_keras_defaults_can_use_cudnn():
    assert cudnn_obstacles(LSTM(**GOOD)) == []
    assert cudnn_obstacles(GRU(**GOOD, reset_after=True)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": relu}, "activation is relu, needs tanh"),
        ({"recurrent_activation": tanh}, "recurrent_activation is tanh, needs sigmoid"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout is 0.2, needs 0"),
        ({"unroll": True}, "unroll is True, needs False"),
        ({"use_bias": False}, "use_bias is False, needs True"),
        ({"reset_after": False}, "reset_after is False, needs True"),
    ],
)
def test_each_obstacle_to_cudnn_is_named(change: dict[str, Any], said: str):
    assert cudnn_obstacles(GRU(**{**GOOD, "reset_after": True, **change})) == [said]


def test_simple_cells_have_no_cudnn():
    assert cudnn_obstacles(SimpleRNN(**GOOD)) == ["cuDNN in Keras runs only LSTM and GRU"]


def test_a_gpu_that_was_asked_for_and_is_not_there_stops_a_run():
    assert doctor._devices(Config.of(device="gpu"), []).state == "fail"
    assert doctor._devices(Config(), []).state == "ok"
    assert doctor._devices(Config.of(device="gpu"), ["H200"]).found == "H200"


def test_a_missing_backend_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise MissingDependencyError("No Keras.", "Install it.")

    monkeypatch.setattr(backend, "import_keras", missing)
    (check,) = doctor._backend(Config())
    assert check == Check("keras", "fail", "No Keras.", "Install it.")


def test_a_missing_package_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    needed = ["click>=8.2", "no-such-package>=1", "other ; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: needed)
    missing, found = doctor._packages()
    assert (missing.state, missing.found) == ("fail", "missing: no-such-package")
    assert found.found.startswith("click 8")
    assert "other" not in found.found


@pytest.mark.parametrize(("free", "state"), [(1e12, "ok"), (5e8, "warn"), (1e6, "fail")])
def test_disk(free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert named(doctor._folder(Workspace(tmp_path)), "disk").state == state


def test_a_folder_that_cannot_be_written_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def denied(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", denied)
    (check,) = doctor._folder(Workspace(tmp_path))
    assert check.state == "fail"
    assert "Permission denied" in check.found


def test_a_bad_configuration_is_a_finding(tmp_path: Path):
    (tmp_path / "forecast.toml").write_text("[training]\nepochs = 0\n")
    config, check = doctor._configuration(Workspace(tmp_path))
    assert config == Config()
    assert check.state == "fail"
    assert "training.epochs" in check.found


def test_a_damaged_store_is_a_finding(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "index.json").write_text("{")
    (check,) = doctor._stored(Workspace(tmp_path))
    assert check.state == "fail"
    assert "damaged" in check.found


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_exit_code(state: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(doctor, "examine", lambda _: [Check("disk", state, "1 GB", "Free some.")])
    assert app.run(["doctor"]) == code
    assert capsys.readouterr().out.split() == [state, "disk", "1", "GB.", "Free", "some."]
    assert app.run(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is (code == 0)
    assert document["checks"] == [
        {"name": "disk", "state": state, "found": "1 GB", "advice": "Free some."}
    ]


def test_findings_are_shown_before_the_slow_ones_are_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    shown = []

    def backend_of(_config: Config) -> Iterator[Check]:
        shown.append(capsys.readouterr().out)
        yield Check("keras", "ok", "3")

    monkeypatch.setattr(doctor, "_backend", backend_of)
    assert app.run(["doctor", "--workspace", str(tmp_path)]) == 0
    for name in ("python", "packages", "config", "workspace", "disk", "stored", "onnxruntime"):
        assert f"  {name} " in shown[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("", {"cudnn recurrent_1": "GRU(128) can use the fast path"}),
        (
            "[network]\npreset = 'classic'\ncell = 'lstm'\nrecurrent_dropout = 0.2\n",
            {
                "cudnn recurrent_1": "LSTM(50) cannot use the fast path: recurrent_dropout is 0.2",
                "cudnn recurrent_2": "LSTM(50) cannot use the fast path: recurrent_dropout is 0.2",
            },
        ),
        (
            "[network]\ncell = 'rnn'\nlayers = [4]\nsegment = 3\nlookback = 12\nhorizon = 6\n",
            {"cudnn recurrent_1": "SimpleRNN(4) cannot use the fast path: cuDNN in Keras"},
        ),
        (
            "[network]\ncell = 'rnn-lstm'\nbidirectional = true\ndilations = [1, 3]\n",
            {
                "cudnn recurrent_1": "SimpleRNN(128) cannot use the fast path: cuDNN in Keras",
                "cudnn recurrent_2": "LSTM(128) can use the fast path",
                "cudnn decoder": "LSTM(128) can use the fast path",
            },
        ),
    ],
    ids=["default", "classic", "rnn", "mixed, both ways"],
)
def test_examine_looks_at_the_real_network(toml: str, expected: dict[str, str], tmp_path: Path):
    (tmp_path / "forecast.toml").write_text(toml)
    checks = list(doctor.examine(Workspace(tmp_path)))
    assert [check for check in checks if check.state == "fail"] == []
    found = {check.name: check.found for check in checks if check.name.startswith("cudnn")}
    assert found.keys() == expected.keys()
    assert all(found[name].startswith(words) for name, words in expected.items())
    assert {"python", "packages", "keras", "devices", "onnxruntime", "workspace", "stored"} <= {
        check.name for check in checks
    }
