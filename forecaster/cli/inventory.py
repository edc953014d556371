"""Versions of models as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forecaster.cli.output import table
from forecaster.cli.tables import filled_text, selection_text
from forecaster.words import counted

if TYPE_CHECKING:
    from forecaster.inventory import Checked, Version
    from forecaster.reproducing import Reproduction

MARKS = {"champion": "* champion", "previous": "  previous", "newer": "  newer", "older": "  "}
SHOWN_CHARACTERS = 48
SHOWN_SETTINGS = {
    "scaling": ("transform", "deseasonalise", "scaler"),
    "network": ("normalise", "skip", "segment", "decoder", "direction", "joint", "series_vectors"),
    "training": ("loss", "ensemble"),
    "evaluation": ("fallback",),
}


def versions_text(versions: Sequence[Version]) -> str:
    """Return versions as a table; the one in service is marked."""
    if not versions:
        return "No model is stored. Start with: forecast train"
    columns = ["model", "version", "state", "series", "data until", "MASE", "skill"]
    rows = [
        [
            each.name,
            each.version,
            MARKS[each.state],
            each.series,
            "damaged" if each.damage else _until(each.last),
            _number(each.mase),
            None if each.skill is None else f"{each.skill:+.1%}",
        ]
        for each in versions
    ]
    if any(each.compressed for each in versions):
        columns.append("made by compress")
        for row, each in zip(rows, versions, strict=True):
            row.append(each.compressed)
    return table(rows, columns)


def _until(time: str | None) -> str | None:
    """Leave out the hour of a date."""
    return None if time is None else time.removesuffix(" 00:00:00")


def _many(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def description_text(described: dict[str, Any]) -> str:
    """Say what one version is."""
    data, trained = described.get("data", {}), described.get("trained", {})
    network = described["settings"].get("network", {})
    stack = "-".join(map(str, network.get("layers", ())))
    lines = [
        f"{described['name']} {described['version']} ({described['state']})",
        f"Created: {described.get('created') or '-'}",
    ]
    if data:
        lines.append(
            f"Data: {_many(data.get('series'))} series, {_many(data.get('rows'))} rows"
            f"{filled_text(data.get('filled'))}, {_until(data.get('first'))} to "
            f"{_until(data.get('last'))}, hash {str(data.get('hash'))[:12]}"
        )
    lines.append(
        f"Network: {network.get('preset')} {network.get('cell')} {stack}, "
        f"lookback {network.get('lookback')}, horizon {network.get('horizon')}, "
        f"{_many(trained.get('parameters'))} weights, trained in {trained.get('seconds')} s with "
        "compiling"
    )
    if before := _before_text(described):
        lines.append(f"Trained before it: {before}")
    if rehearsed := trained.get("rehearsed"):
        lines.append(f"Intervals: by a rehearsal of the refit in {rehearsed:.1f} s")
    lines.append(f"Settings: {_settings_text(described['settings'])}; --json has all.")
    if selection := described.get("selection"):
        lines.append(selection_text(selection).rstrip())
    if made := described.get("compressed"):
        lines.append(f"Compressed: from version {made['from']} ({made['option']})")
    scores = described.get("judgement", {}).get("scores", {})
    if scores:
        rows = [
            [name, *(_number(value) for value in score.values())] for name, score in scores.items()
        ]
        lines.append(table(rows, ["model", "MAE", "RMSE", "MASE", "sMAPE"]))
        lines.append(str(described["judgement"].get("verdict", "")))
    libraries = described.get("versions", {}).items()
    lines.append(f"Libraries: {', '.join(f'{name} {number}' for name, number in libraries)}")
    lines += [
        f"In service: {each['at'] or '-'} ({each['why']})" for each in described["promotions"]
    ]
    return "\n".join(lines)


def _before_text(described: dict[str, Any]) -> str:
    """Say how long the networks took that are not in the version itself: the judged, the candidates."""
    judged, selection = described.get("judged"), described.get("selection")
    parts = []
    if judged and judged != described.get("trained"):
        parts.append(f"the judged networks in {judged.get('seconds')} s")
    if selection:
        seconds = [each["seconds"] for each in selection["candidates"]]
        parts.append(f"{counted(len(seconds), 'candidate')} in {sum(seconds):.2f} s")
    return ", ".join(parts)


def _settings_text(settings: dict[str, Any]) -> str:
    """Name the settings that tell what a network is shown and learns, as far as the version has them."""
    return ", ".join(
        f"{key} {str(settings[section][key]).lower()}"
        for section, keys in SHOWN_SETTINGS.items()
        for key in keys
        if key in settings.get(section, {})
    )


def differences_text(found: dict[str, list[Any]], first: str, second: str) -> str:
    """Return what differs as a table; say so when nothing does."""
    if not found:
        return f"{first} and {second} do not differ."
    rows = [(key, *(_short(value) for value in values)) for key, values in found.items()]
    return table(rows, ("", first, second))


def promotion_result(name: str, before: str | None, version: str) -> tuple[dict[str, Any], str]:
    """Return what came into service in place of what, as a document and in words."""
    document = {"name": name, "version": version, "previous": before}
    if before == version:
        return document, f"Model {name!r}: {version} is in service already."
    said = f"Model {name!r}: {version} is in service"
    if before is None:
        return document, f"{said}."
    return document, (
        f"{said} in place of {before}.\nTables written before are by {before}: "
        f"forecast predict --name {name} --output FILE writes one."
    )


def pruned_text(gone: Sequence[str], dry_run: bool) -> str:
    """Name the versions that were deleted, or would be."""
    said = f"{'Would delete' if dry_run else 'Deleted'} {counted(len(gone), 'version')}"
    return "\n".join([f"{said}{':' if gone else '.'}", *gone])


def verified_text(checked: Sequence[Checked]) -> str:
    """Say of each version whether it is whole."""
    if not checked:
        return "No model is stored."
    return "\n".join(
        f"{'fail' if each.problem else 'ok  '}  {each.name} {each.version} ({each.state})"
        f"{': ' if each.problem else ''}{each.problem}"
        for each in checked
    )


def reproduction_text(result: Reproduction) -> str:
    """Say whether the same came out, and what may explain it when not."""
    what = "the same forecasts" if result.reproduced else "other forecasts"
    how = "they are equal"
    if result.difference:
        how = (
            f"they differ by at most {result.difference:.3g} standard deviations of their series "
            f"({result.tolerance:g} allowed)"
        )
    first = f"{result.name} {result.version}, trained again, gives {what}: {how}."
    return "\n".join([first, *result.notes])


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _short(value: object) -> str | None:
    if value is None or isinstance(value, float):
        return _number(value)
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
