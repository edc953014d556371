"""The light table of options says exactly what config.py says."""

from __future__ import annotations

from ast import literal_eval
from typing import Any, Literal, get_args, get_origin

import click
import pytest
from click.testing import CliRunner
from pydantic.fields import FieldInfo

from forecaster.cli.options import FLAGS, Command, Flag, config_options
from forecaster.config import SECTIONS, Config

EVERY_FLAG = [(section, flag) for section, flags in FLAGS.items() for flag in flags]


def field_of(section: str, flag: Flag) -> FieldInfo:
    return SECTIONS[section].model_fields[flag.name]


def choices_of(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next(filter(None, map(choices_of, get_args(annotation))), ())


def schema_types(section: str, flag: Flag) -> set[str]:
    schema = SECTIONS[section].model_json_schema()["properties"][flag.name]
    return {item.get("type") for item in schema.get("anyOf", [schema])} - {"null"}


def test_every_setting_has_a_flag_and_every_flag_a_setting():
    flags = {section: [flag.name for flag in flags] for section, flags in FLAGS.items()}
    assert flags == {section: list(spec.model_fields) for section, spec in SECTIONS.items()}


@pytest.mark.parametrize(
    ("section", "flag"), EVERY_FLAG, ids=lambda value: getattr(value, "name", value)
)
def test_flag_agrees_with_its_field(section: str, flag: Flag):
    field = field_of(section, flag)
    assert flag.help == field.description
    choices = flag.kind if isinstance(flag.kind, tuple) else ()
    assert choices == choices_of(field.annotation)
    (kind,) = schema_types(section, flag)
    if flag.kind in (int, float, bool):
        assert {"integer": int, "number": float, "boolean": bool}[kind] is flag.kind
    else:
        named = {"DURATION": "number", "TABLE": "object"}
        assert kind in ("string", "array", named.get(str(flag.kind)))


@pytest.mark.parametrize(
    ("section", "flag"), EVERY_FLAG, ids=lambda value: getattr(value, "name", value)
)
def test_shown_default_is_the_default(section: str, flag: Flag):
    default = field_of(section, flag).default
    if not flag.default:
        assert default in (None, (), {})
    elif flag.kind is bool:
        assert {"on": True, "off": False}[flag.default] is default
    else:
        assert Config.of(**{flag.name: flag.default}).flat()[flag.name] == default


@click.command(cls=Command)
@click.option("--name")
@config_options("training", "network", "level", without=("patience",))
def run(name: str | None, **flags: Any) -> None:
    """Try the options."""
    given = {key: value for key, value in flags.items() if value is not None}
    click.echo(repr((len(flags), given)))


def invoke(*args: str) -> str:
    result = CliRunner().invoke(run, list(args), catch_exceptions=False)
    return result.output


def test_a_flag_not_given_is_none_so_that_other_origins_may_speak():
    expected = len(FLAGS["training"]) + len(FLAGS["network"]) + 1 - 1  # with level, less patience
    assert invoke() == f"({expected}, {{}})\n"


def test_flags_are_parsed_by_kind():
    output = invoke("--epochs", "3", "--layers", "64,32", "--level", "80", "--no-deterministic")
    given = {"layers": "64,32", "epochs": 3, "deterministic": False, "level": "80"}
    assert literal_eval(output)[1] == given


@pytest.mark.parametrize("args", [("--epochs", "many"), ("--loss", "MAE"), ("--patience", "3")])
def test_a_wrong_flag_is_a_usage_error(args: tuple[str, str]):
    assert CliRunner().invoke(run, list(args)).exit_code == 2


def test_help_groups_settings_by_section_and_shows_defaults():
    text = invoke("--help")
    own, network, training, prediction = (
        text.index(title)
        for title in (
            "Options:",
            "Settings of [network]",
            "Settings of [training]",
            "Settings of [prediction]",
        )
    )
    assert own < network < training < prediction
    assert own < text.index("--name") < network < text.index("--layers N,N,...") < training
    assert "[default: 80,95]" in text
