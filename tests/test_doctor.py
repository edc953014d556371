"""The doctor finds what would stop a run, and says what to do."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from series_made import panel_of

from forecaster import backend, compiling, doctor, presets, scaling, training
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
    "compute_dtype": "float32",
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


def test_each_backend_runs_its_own_cells():
    for name in ("tensorflow", "torch"):
        said = f"cuDNN in Keras with {name} runs only LSTM and GRU"
        assert cudnn_obstacles(SimpleRNN(**GOOD), name) == [said]
    said = "cuDNN in Keras with jax runs only LSTM"
    assert cudnn_obstacles(GRU(**GOOD, reset_after=True), "jax") == [said]
    assert cudnn_obstacles(LSTM(**GOOD), "jax") == []


def test_half_precision_keeps_only_jax_from_cudnn():
    halved = LSTM(**GOOD | {"compute_dtype": "bfloat16"})
    assert cudnn_obstacles(halved, "jax") == ["compute_dtype is bfloat16, needs float32"]
    assert cudnn_obstacles(halved, "torch") == []


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


@pytest.mark.parametrize(
    ("keras_backend", "package"),
    [("tensorflow", "forecaster[gpu]"), ("jax", "jax[cuda12]"), ("torch", "torch")],
)
def test_what_to_install_for_a_gpu_is_that_of_the_backend(
    keras_backend: str, package: str, monkeypatch: pytest.MonkeyPatch
):
    pretend(keras_backend, monkeypatch)
    assert package in doctor._devices(Config.of(device="gpu"), []).advice


def pretend(keras_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Keras say that it runs on another backend."""
    keras = backend.import_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: keras_backend)


def test_tensorflow_is_not_needed_with_another_backend(monkeypatch: pytest.MonkeyPatch):
    def version(name: str) -> str:
        if name == "tensorflow":
            raise doctor.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["keras>=3", "tensorflow>=2"])
    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert next(doctor._packages()).found == "missing: tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert list(doctor._packages()) == [Check("packages", "ok", "keras 1")]


def test_a_missing_package_is_a_finding(monkeypatch: pytest.MonkeyPatch):
    needed = ["click>=8.2", "no-such-package>=1", "other ; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: needed)
    missing, found = doctor._packages()
    assert (missing.state, missing.found) == ("fail", "missing: no-such-package")
    assert found.found.startswith("click 8")
    assert "other" not in found.found


def test_a_backend_that_is_none_is_one_clear_line():
    words = [sys.executable, "-m", "forecaster", "doctor"]
    done = subprocess.run(
        words,
        env=os.environ | {"KERAS_BACKEND": "foo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert "Keras with the foo backend is needed to train: " in line
    assert ". Name an installed one in KERAS_BACKEND" in line
    assert ".." not in line


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


def fast(config: Config) -> dict[str, str]:
    """Return what is said of the fast path, by layer."""
    return {check.name: check.found for check in doctor._fast_path(config, has_gpu=True)}


@pytest.mark.parametrize(
    ("keras_backend", "said"),
    [("tensorflow", "can use the fast path on a GPU, without XLA"), ("torch", "needs repeat")],
)
def test_masks_keep_only_other_backends_from_cudnn(
    keras_backend: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    pretend(keras_backend, monkeypatch)
    assert said in fast(Config.of(cell="lstm", padding="mask"))["cudnn recurrent_1"]


@pytest.mark.parametrize("skip", ["season", "linear"])
def test_a_season_that_was_set_is_no_obstacle(skip: Any):
    config = Config().replace(skip_lag=24, skip=skip, normalise="spread")
    assert "can use the fast path" in fast(config)["cudnn recurrent_1"]


@pytest.mark.parametrize(("forcing", "can"), [(None, False), (0.5, False), (1.0, True)])
def test_a_recurrent_decoder_is_fast_only_where_it_sees_the_truth(forcing: Any, can: bool):
    found = fast(Config.of(preset="seq2seq", cell="lstm", teacher_forcing=forcing))
    assert ("can use" in found["cudnn recurrent_decoder"]) is can
    assert "can use" in found["cudnn recurrent_1"]


def runs_on_cudnn(config: Config, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count cuDNN's operators in what TensorFlow would run on a GPU to train on a batch."""
    tf = pytest.importorskip("tensorflow")
    loops = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(loops, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(backend, "gpus", lambda: ["GPU:0"])
    panel = panel_of("ab", rows=100)
    config = presets.resolve(config, panel)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    compiling.forget()
    windowed = compiling.compiled(rows, config, 10**6, compiling.xla_pays(config, 10**6))
    step = tf.function(windowed.train_step, jit_compile=windowed.jit_compile)
    graph = step.get_concrete_function((tf.TensorSpec(16, "int64"),)).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    compiling.forget()
    return sum(node.op == "CudnnRNNV3" for node in nodes)


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm", "preset": "classic", "dropout": 0.2},
        {"cell": "gru", "padding": "mask", "min_context": 12},
        {"cell": "rnn-lstm", "bidirectional": True, "layers": (4, 4)},
        {"cell": "gru", "recurrent_dropout": 0.2},
        {"cell": "rnn"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_networks_run_on_cudnn_where_the_doctor_says_so(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    sizes = {"lookback": 24, "horizon": 12, "layers": (4,), "segment": 4, "season_length": 12}
    if settings.get("preset") == "classic":
        sizes["segment"] = 1
    config = Config.of(**{"batch_size": 16, **sizes, **settings})
    said = any("can use" in found for found in fast(config).values())
    assert (runs_on_cudnn(config, monkeypatch) > 0) is said
