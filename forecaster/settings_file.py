"""Settings written into `forecast.toml`: its comments, its order and everything else stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecaster.atomic import replace_file
from forecaster.config import SECTION_OF, validated
from forecaster.config_template import toml
from forecaster.errors import InvalidInputError


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Set some settings in a file; one that is commented out is taken up where it stands.

    Args:
        path: `forecast.toml`, made when there is none.
        settings: Values by name; one that is None is taken out.

    Raises:
        InvalidInputError: The file is not valid, or written so that it cannot be edited safely.
    """
    text = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
    before = tomllib.loads(text)
    expected: dict[str, Any] = {name: dict(section) for name, section in before.items()}
    for key, value in settings.items():
        plain, section = list(value) if isinstance(value, tuple) else value, SECTION_OF[key]
        if value is not None:
            expected.setdefault(section, {})[key] = plain
            text = _set(text, section, key, plain)
        elif key in expected.get(section, {}):
            del expected[section][key]
            text = _without(text, section, key)
    validated(expected, {"": str(path)})
    if tomllib.loads(text) != expected:
        lines = [
            f"no {key}" if value is None else f"{key} = {toml(value)}"
            for key, value in settings.items()
        ]
        raise InvalidInputError(
            f"'{path}' is written in a way that cannot be edited safely; it is as it was.",
            f"Set it yourself: {'; '.join(lines)}.",
        )
    replace_file(path, lambda file: file.write(text.encode()))


def _without(text: str, section: str, key: str) -> str:
    """Return the text of a file without one setting."""
    import tomlkit

    document = tomlkit.parse(text)
    del document[section][key]
    return tomlkit.dumps(document)


def _set(text: str, section: str, key: str, value: Any) -> str:
    """Return the text of a file with one setting in it."""
    import tomlkit

    document = tomlkit.parse(text)
    header = re.search(rf"^[ \t]*\[[ \t]*{section}[ \t]*\][^\r\n]*", text, re.MULTILINE)
    if key in document.get(section, {}) or (section in document and header is None):
        document[section][key] = value
        return tomlkit.dumps(document)
    end, line = "\r\n" if "\r\n" in text else "\n", f"{key} = {toml(value)}"
    if header is None:
        gap = end if text.strip() else ""
        return f"{text.rstrip()}{end if gap else ''}{gap}[{section}]{end}{line}{end}"
    rest = text[header.end() :]
    stop = re.search(r"^[ \t]*\[", rest, re.MULTILINE)
    body = rest[: stop.start()] if stop else rest
    default = re.search(rf"^#[ \t]*{key}[ \t]*=[^\r\n]*", body, re.MULTILINE)
    if default is None:
        return f"{text[: header.end()]}{end}{line}{rest}"
    return f"{text[: header.end()]}{body[: default.start()]}{line}{rest[default.end() :]}"
