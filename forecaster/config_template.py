"""A `forecast.toml` to start from: every key with its meaning, allowed values and default.

Every key is commented out, so that a file nobody edited says nothing and a better default of a
later version takes effect.
"""

from __future__ import annotations

import json
import re
from typing import Any

from forecaster.config import SECTIONS

OPENING = """\
# Settings of this workspace. Take the # off a line to change it.
# A flag (--batch-size 64) wins over an environment variable (FORECAST_BATCH_SIZE=64), that over
# this file, and this file over the defaults, which are shown here.
# `forecast config show` lists what is in force and where it comes from.
"""


def commented_toml() -> str:
    """Return the text of a `forecast.toml` with every setting commented out."""
    parts = [OPENING]
    for section, spec in SECTIONS.items():
        about = (spec.__doc__ or "").strip().splitlines()[0]
        parts.append(f"\n# {about}\n[{section}]\n")
        for name, schema in spec.model_json_schema()["properties"].items():
            default = spec.model_fields[name].default
            parts.append(f"# {schema['description']}\n#   {allowed(schema)}\n")
            parts.append(f"#{name} ={'' if default is None else f' {toml(default)}'}\n\n")
    return "".join(parts).rstrip() + "\n"


def allowed(schema: dict[str, Any]) -> str:
    """Say in words which values a JSON schema allows.

    >>> allowed({"type": "integer", "exclusiveMinimum": 0})
    'a whole number above 0'
    """
    if "anyOf" in schema:
        real = next(item for item in schema["anyOf"] if item["type"] != "null")
        return f"{allowed(real)}; not set: chosen by forecast"
    if "enum" in schema:
        return f"one of {', '.join(json.dumps(value) for value in schema['enum'])}"
    if schema.get("format") == "duration":
        return 'seconds, or text such as "90s", "10m", "1h30m", "2d"'
    if schema["type"] == "array":
        each = allowed(schema["items"]).removeprefix("a ")
        return "a list of " + re.sub("number|text", r"\g<0>s", each, count=1)
    if schema["type"] == "object":
        return "a table"
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    limits = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "to below" if "minimum" in schema else "below",
    }
    bounds = [f"{word} {schema[key]:.12g}" for key, word in limits.items() if key in schema]
    between = " " if "minimum" in schema else " and "
    return " ".join([words.get(schema["type"], "text"), between.join(bounds)]).rstrip()


def toml(value: object) -> str:
    """Write a default as TOML.

    >>> toml((80.0, 95.0))
    '[80.0, 95.0]'
    """
    if isinstance(value, tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return json.dumps(value)  # strings, numbers and booleans are written alike
