"""Settings written into `forecast.toml`, and what stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from forecaster.config_template import commented_toml
from forecaster.errors import InvalidInputError
from forecaster.settings_file import write_settings


def written(path: Path, text: str | None, **settings: object) -> str:
    if text is not None:
        path.write_bytes(text.encode())
    write_settings(path, settings)
    return path.read_bytes().decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forecast.toml"


def test_a_fresh_file_has_its_lines_taken_up_where_they_stand(path):
    before = commented_toml()
    after = written(path, before, cell="lstm", layers=(64, 32), learning_rate=0.002)
    changed = {
        '#cell = "gru"': 'cell = "lstm"',
        "#layers =": "layers = [64, 32]",
        "#learning_rate =": "learning_rate = 0.002",
    }
    lines = before.splitlines()
    assert after.splitlines() == [changed.get(line, line) for line in lines]


def test_comments_order_and_everything_else_stay(path):
    text = """\
# Ours.
[network]  # the network
lookback = 24 # two days
layers = [
  8, # small
  8,
]

# How.
[training]
epochs = 5
"""
    after = written(path, text, lookback=48, dropout=0.2, loss="mse", layers=[16])
    assert "# Ours.\n[network]  # the network\ndropout = 0.2\nlookback = 48 # two days\n" in after
    assert '# How.\n[training]\nloss = "mse"\nepochs = 5\n' in after
    assert tomllib.loads(after) == {
        "network": {"lookback": 48, "dropout": 0.2, "layers": [16]},
        "training": {"loss": "mse", "epochs": 5},
    }


def test_a_setting_that_is_none_is_taken_out(path):
    text = "[network]\nlookback = 24 # two days\nmin_context = 24\n# Ours.\nheads = 2\n"
    after = written(path, text, lookback=48, min_context=None, heads=None, epochs=None)
    assert after == "[network]\nlookback = 48 # two days\n# Ours.\n"


def test_dotted_keys_are_taken_out_too(path):
    after = written(path, "network.min_context = 50\nnetwork.lookback = 40\n", min_context=None)
    assert tomllib.loads(after) == {"network": {"lookback": 40}}


@pytest.mark.parametrize("text", [None, "", "# Nothing yet.", "[data]\nfrequency = 'h'\n"])
def test_a_missing_file_or_section_is_made(path, text):
    after = written(path, text, cell="rnn")
    assert after.startswith((text or "").rstrip())
    assert tomllib.loads(after)["network"] == {"cell": "rnn"}


def test_windows_line_ends_stay(path):
    after = written(path, '[network]\r\n#cell = "gru"\r\n[training]\r\n', cell="rnn", epochs=3)
    assert after == '[network]\r\ncell = "rnn"\r\n[training]\r\nepochs = 3\r\n'


@pytest.mark.parametrize("text", ["network.lookback = 24\n", "network = { lookback = 24 }\n"])
def test_a_section_in_another_notation_is_kept_in_it(path, text):
    after = written(path, text, cell="rnn", lookback=48)
    assert tomllib.loads(after) == {"network": {"lookback": 48, "cell": "rnn"}}
    assert "[network]" not in after


def test_what_cannot_be_edited_safely_is_left_alone_and_said(path):
    text = '[data]\nfrequency = """\n[network]\n"""\n'
    with pytest.raises(InvalidInputError, match="cannot be edited safely") as refused:
        written(path, text, cell="rnn")
    assert 'Set it yourself: cell = "rnn".' in refused.value.hint
    assert path.read_text() == text
