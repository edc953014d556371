"""Settings come from flags, the environment, forecast.toml and defaults, in this order."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import forecaster
from forecaster.config import SECTION_OF, Config
from forecaster.errors import InvalidInputError, NotFoundError
from forecaster.workspace import OTHER_VARIABLES, Workspace, load_config


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def write(workspace: Workspace, text: str) -> None:
    workspace.config_file.write_text(text, encoding="utf-8")


def test_nothing_given_is_the_defaults(workspace: Workspace):
    config, origins = load_config(workspace, {"epochs": None}, {})
    assert config == Config()
    assert set(origins) == set(SECTION_OF)
    assert set(origins.values()) == {"default"}


@pytest.mark.parametrize("flag", [None, 4])
@pytest.mark.parametrize("variable", [None, "3", ""])
@pytest.mark.parametrize("file", [None, 2])
def test_precedence(workspace: Workspace, flag: int | None, variable: str | None, file: int | None):
    if file:
        write(workspace, f"[training]\npatience = {file}\n")
    environment = {} if variable is None else {"FORECAST_PATIENCE": variable}
    config, origins = load_config(workspace, {"patience": flag}, environment)
    layers = [
        (flag, "--patience"),
        (int(variable or 0), "FORECAST_PATIENCE"),
        (file, str(workspace.config_file)),
        (8, "default"),
    ]
    assert (config.training.patience, origins["patience"]) == next(
        layer for layer in layers if layer[0]
    )


def test_layers_of_different_keys_add_up(workspace: Workspace):
    write(workspace, '[training]\nseed = 9\n[network]\ncell = "lstm"\nlayers = [32, 16]\n')
    environment = {"FORECAST_DETERMINISTIC": "true", "FORECAST_LEVEL": "50,90", "HOME": "/x"}
    config, origins = load_config(workspace, {"calendar_features": False}, environment)
    assert (config.training.seed, config.network.cell) == (9, "lstm")
    assert config.network.layers == (32, 16)
    assert config.training.deterministic is True
    assert config.prediction.level == (50.0, 90.0)
    assert origins["calendar_features"] == "--calendar-features"
    assert origins["level"] == "FORECAST_LEVEL"


def test_a_flag_of_false_or_zero_is_given(workspace: Workspace):
    write(workspace, "[training]\nseed = 9\ndeterministic = true\n")
    config, _ = load_config(workspace, {"seed": 0, "deterministic": False}, {})
    assert (config.training.seed, config.training.deterministic) == (0, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[training]\nepochs = 0\n",
            r"training\.epochs: .*greater than 0, found 0 \(.*forecast\.toml\)",
        ),
        ("[training]\nepochs = true\n", r"training\.epochs: true or false"),
        ("[training]\nepoch = 3\n", r"training\.epoch: unknown key .*nearest is 'epochs'"),
        ("epochs = 3\n", r"epochs: unknown key .*belongs under \[training\]"),
        ("training = 3\n", r"training: .*found 3"),
        ("[network]\ncell = 'LSTM'\n", "'rnn', 'lstm' or 'gru' is needed, .*found 'LSTM'"),
        ("[training\n", "not valid TOML"),
        ("[prediction]\nlevel = [80, 80]\n", "different percentages"),
        ("[training]\nlearning_rate = inf\n", "finite"),
    ],
)
def test_a_bad_file_is_an_error_even_where_a_flag_wins(workspace: Workspace, text: str, said: str):
    write(workspace, text)
    with pytest.raises(InvalidInputError, match=said):
        load_config(workspace, {"epochs": 5, "cell": "gru"}, {})


def test_a_file_that_is_not_text_is_an_error(workspace: Workspace):
    workspace.config_file.write_bytes(b"\xff\xfe[training]")
    with pytest.raises(InvalidInputError, match="not valid TOML"):
        load_config(workspace, {}, {})


def test_a_byte_order_mark_is_no_harm(workspace: Workspace):
    workspace.config_file.write_bytes(b"\xef\xbb\xbf[training]\r\nepochs = 4\r\n")
    assert load_config(workspace, {}, {})[0].training.epochs == 4


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FORECAST_EPOCHS", "-1", r"found '-1' \(FORECAST_EPOCHS\)"),
        ("FORECAST_DEVICE", "tpu", r"'auto', 'cpu' or 'gpu', found 'tpu' \(FORECAST_DEVICE\)"),
        ("FORECAST_EPOCH", "3", "Did you mean FORECAST_EPOCHS"),
        ("FORECAST_WORKSPACES", "3", "Did you mean FORECAST_WORKSPACE"),
        ("FORECAST_QQQQ", "3", "FORECAST_QQQQ is not one that forecast knows. Unset it"),
    ],
)
def test_a_bad_variable_is_an_error(workspace: Workspace, name: str, value: str, said: str):
    with pytest.raises(InvalidInputError) as caught:
        load_config(workspace, {}, {name: value})
    assert re.search(said, str(caught.value))


def test_a_bad_flag_is_named(workspace: Workspace):
    with pytest.raises(
        InvalidInputError, match=r"training\.batch_size: .*found 0 \(--batch-size\)"
    ):
        load_config(workspace, {"batch_size": 0}, {})


def test_variables_that_are_no_settings_are_let_through(workspace: Workspace):
    load_config(workspace, {}, dict.fromkeys(OTHER_VARIABLES, "1"))


def test_every_variable_the_code_reads_is_known():
    code = Path(forecaster.__file__).parent.rglob("*.py")
    read = {
        name for file in code for name in re.findall(r"[\"']FORECAST_[A-Z_]+", file.read_text())
    }
    known = set(OTHER_VARIABLES) | {f"FORECAST_{key.upper()}" for key in SECTION_OF}
    assert {name[1:] for name in read} - {"FORECAST_"} <= known


def test_the_workspace_is_the_option_then_the_environment_then_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(tmp_path)
    environment = {"FORECAST_WORKSPACE": str(second)}
    assert Workspace.find(str(first), environment).folder == first
    assert Workspace.find(None, environment).folder == second
    assert Workspace.find(None, {"FORECAST_WORKSPACE": ""}).folder == tmp_path
    assert Workspace.find(None, {}).data == tmp_path / "data"


def test_a_workspace_that_is_not_there_is_not_found(tmp_path: Path):
    with pytest.raises(NotFoundError, match="forecast init"):
        Workspace.find(str(tmp_path / "nowhere"), {})
    with pytest.raises(NotFoundError, match="FORECAST_WORKSPACE"):
        Workspace.find(None, {"FORECAST_WORKSPACE": str(tmp_path / "nowhere")})


def test_a_workspace_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is a file"):
        Workspace.find(str(tmp_path / "file"), {})


def test_a_workspace_whose_path_is_not_utf8_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / os.fsdecode(b"shop\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(InvalidInputError, match=r"shop\\udcff' is not UTF-8"):
        Workspace.find(str(folder), {})
    with pytest.raises(InvalidInputError, match="is not UTF-8"):
        Workspace(folder).create()
    assert not list(folder.iterdir())
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInputError, match="is not UTF-8"):
        Workspace.find(None, {})


def test_create_makes_the_folders_and_a_file_that_changes_nothing(tmp_path: Path):
    workspace = Workspace(tmp_path / "deep" / "shop")
    workspace.create()
    assert workspace.data.is_dir()
    assert workspace.models.is_dir()
    assert load_config(workspace, {}, {})[0] == Config()


def test_create_replaces_a_file_only_by_force(workspace: Workspace):
    write(workspace, "[training]\nepochs = 3\n")
    with pytest.raises(InvalidInputError, match="--force"):
        workspace.create()
    assert load_config(workspace, {}, {})[0].training.epochs == 3
    workspace.create(force=True)
    assert load_config(workspace, {}, {})[0] == Config()


def test_of_folds_and_test_size_the_one_of_higher_origin_counts(workspace: Workspace):
    write(workspace, "[evaluation]\nfolds = 3\n")
    config, origins = load_config(workspace, {"test_size": 24}, {})
    assert (config.evaluation.folds, config.evaluation.test_size) == (None, 24)
    assert (origins["folds"], origins["test_size"]) == ("default", "--test-size")
    config, _ = load_config(workspace, {"folds": 2}, {"FORECAST_TEST_SIZE": "24"})
    assert (config.evaluation.folds, config.evaluation.test_size) == (2, None)
    config, _ = load_config(workspace, {"folds": 2, "test_size": 24}, {})
    assert (config.evaluation.folds, config.evaluation.test_size) == (2, 24)  # refused later
