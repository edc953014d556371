"""Specs are checked when they are made, and say what was wrong."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.config import SECTION_OF, SECTIONS, Config, validated
from forecaster.config_template import allowed, commented_toml
from forecaster.durations import seconds
from forecaster.errors import InvalidInputError
from forecaster.specs import listed


def test_settings_find_their_section():
    config = Config.of(horizon=12, cell="lstm", level="50")
    assert (config.network.horizon, config.network.cell) == (12, "lstm")
    assert config.prediction.level == (50.0,)


def test_each_layer_has_its_own_cell_dilation_and_dropout_or_that_of_all():
    spec = Config.of(
        layers="8,6", cell="rnn-lstm", dilations="1,2", dropout=0.5, bidirectional=True
    ).network
    assert spec.stack == ((8, "rnn", 1, 0.5), (6, "lstm", 2, 0.5))
    spec = Config.of(layers="8,6,4", dropout="0.5,0,0.1").network
    assert spec.stack == ((8, "gru", 1, 0.5), (6, "gru", 1, 0.0), (4, "gru", 1, 0.1))


def test_names_are_unique_over_all_sections():
    names = [name for spec in SECTIONS.values() for name in spec.model_fields]
    assert len(names) == len(set(names)) == len(SECTION_OF)


def test_replace_keeps_the_rest():
    config = Config.of(epochs=3).replace(seed=5)
    assert (config.training.epochs, config.training.seed) == (3, 5)


def test_flat_settings_build_the_same_config_again():
    config = Config.of(layers=(8, 8), time_budget="10m", covariates=("a",))
    assert Config.of(**config.flat()) == config


def test_specs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().training.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("epochs", 2.5),
        ("epochs", "many"),
        ("layers", ()),
        ("layers", "64,x"),
        ("layers", (64, 0)),
        ("dropout", 1.0),
        ("recurrent_dropout", -0.1),
        ("learning_rate", 0),
        ("learning_rate", "inf"),
        ("learning_rate", float("nan")),
        ("clip_norm", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("gap", -1),
        ("level", (0,)),
        ("level", (100,)),
        ("level", (0.8,)),
        ("level", "80,80"),
        ("level", "wide"),
        ("time_budget", "10 minutes"),
        ("time_budget", 0),
        ("time_budget", True),
        ("max_age", "-1d"),
        ("cell", "LSTM"),
        ("cell", "rnn-"),
        ("cell", "rnn,lstm"),
        ("dilations", (1, 0)),
        ("dropout", "0.5,1"),
        ("dropout", ()),
        ("heads", 0),
        ("l2", -1),
        ("clip_value", 0),
        ("frequency", 2.5),
        ("deterministic", "perhaps"),
        ("min", "low"),
        ("max", float("inf")),
        ("whole", 2),
        ("per_series", "{"),
        ("per_series", {"a": 3}),
        ("per_series", {"a": {"min": 5, "max": 5}}),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_what_was_found(key: str, value: Any):
    with pytest.raises(InvalidInputError) as caught:
        Config.of(**{key: value})
    assert f"{SECTION_OF[key]}.{key}" in caught.value.message
    assert ", found " in caught.value.message


def test_allowed_values_are_listed():
    with pytest.raises(InvalidInputError, match="'rnn', 'lstm' or 'gru'"):
        Config.of(cell="transformer")


@pytest.mark.parametrize("quantiles", [(0.5,), (0.1, 0.1, 0.9), (0.1, 0.5)])
def test_quantiles_are_different_and_beside_the_point(quantiles):
    with pytest.raises(InvalidInputError, match="quantiles: different quantiles are needed"):
        Config.of(quantiles=quantiles)


def test_an_unknown_setting_is_an_error():
    with pytest.raises(InvalidInputError, match="no setting 'epoch'") as raised:
        Config.of(epoch=3)
    assert raised.value.hint == "Did you mean 'epochs'?"
    with pytest.raises(InvalidInputError, match="no setting 'xyz'") as raised:
        Config.of(xyz=3)
    assert "horizon" in raised.value.hint


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"training": {"epoch": 3}}, "the nearest is 'epochs'"),
        ({"training": {"horizon": 3}}, r"belongs under \[network\]"),
        ({"horizon": 3}, r"belongs under \[network\]"),
        ({"trainin": {}}, "the nearest is 'training'"),
        ({"zzz": {}}, "known here: data, scaling"),
        ({"training": 3}, "training: .*found 3"),
    ],
)
def test_unknown_keys_say_what_is_known(sections: dict[str, Any], said: str):
    with pytest.raises(InvalidInputError, match=said):
        validated(sections)


def test_every_problem_is_told_at_once_with_its_origin():
    sections = {"training": {"epochs": 0}, "network": {"cell": "x"}}
    with pytest.raises(InvalidInputError) as caught:
        validated(sections, {"training.epochs": "--epochs", "": "forecast.toml"})
    assert "found 0 (--epochs)" in caught.value.message
    assert "found 'x' (forecast.toml)" in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1h30m", 5400), ("90\x1f", 90), ("1.5d", 129_600), ("1w", 604_800)],
)
def test_durations(text: str, expected: float):
    assert seconds(text) == expected


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str):
    try:
        assert isinstance(seconds(text), float)
    except ValueError as error:
        assert "90s, 10m" in str(error)


@given(st.lists(st.integers(1, 999), min_size=1, max_size=5))
def test_lists_may_be_written_as_text_or_as_one_number(units: list[int]):
    assert Config.of(layers=",".join(map(str, units))).network.layers == tuple(units)
    assert listed(units[0]) == (units[0],)


def test_template_has_every_key_with_meaning_default_and_allowed_values():
    text = commented_toml()
    assert tomllib.loads(text) == {section: {} for section in SECTIONS}
    for spec in SECTIONS.values():
        for name, field in spec.model_fields.items():
            assert field.description, name
            assert f"# {field.description}\n#   " in text
            assert f"#{name} =" in text


def test_template_uncommented_is_the_defaults():
    lines = commented_toml().splitlines()
    settings = [line.removeprefix("#") for line in lines if not line.startswith("# ")]
    active = [line for line in settings if not line.endswith("=")]
    sections = tomllib.loads("\n".join(active))
    assert validated(sections) == Config()
    defaults = {key for key, value in Config().flat().items() if value is not None}
    assert {key for section in sections.values() for key in section} == defaults


@pytest.mark.parametrize(
    ("section", "name", "words"),
    [
        ("network", "cell", "text"),
        ("network", "attention", 'one of "none", "states", "self"; not set: chosen by forecast'),
        ("network", "dropout", "a list of numbers from 0 to below 1; not set"),
        ("network", "recurrent_dropout", "a number from 0 to below 1"),
        ("network", "layers", "a list of whole numbers above 0; not set: chosen by forecast"),
        ("training", "teacher_forcing", "a number from 0 to 1"),
        ("training", "seed", "a whole number from 0 to 4294967295"),
        ("data", "static", "a list of texts"),
        ("training", "time_budget", 'text such as "90s"'),
        ("training", "deterministic", "true or false"),
        ("data", "frequency", "text; not set"),
        ("bounds", "per_series", "a table"),
    ],
)
def test_allowed_values_in_words(section: str, name: str, words: str):
    assert words in allowed(SECTIONS[section].model_json_schema()["properties"][name])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("log_file", "data/index.json", "ends with .jsonl or .log"),
        ("output", "a\0b.csv", "a text without NUL"),
    ],
)
def test_names_of_files_that_cannot_be_meant(key: str, value: str, said: str):
    with pytest.raises(InvalidInputError, match=said):
        Config.of(**{key: value})
