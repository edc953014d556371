"""What the registry holds, for people: lists, descriptions, differences, damage.

Only `verify` loads models; the rest reads manifests and starts as fast as click.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from forecaster.errors import DamagedError, InvalidInputError, NotFoundError
from forecaster.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from forecaster.registry import Registry

COMPARED = {  # what makes two versions differ, of all that a version says of itself
    "settings": None,
    "data": None,
    "fitted": None,
    "judgement": {"scores", "coverage", "best_baseline", "skill", "p_value", "has_skill"},
    "trained": {"windows", "val_windows", "parameters", "seconds", "device"},
    "versions": None,
}


@dataclass(frozen=True)
class Version:
    """One version of a model in a list.

    Attributes:
        name: The model.
        version: Its name.
        state: `champion`, `previous` (in service before it), `newer` than the champion, or `older`.
        created: UTC, ISO 8601; None in versions of before it was written.
        series: How many it was trained on.
        rows: How many rows these have, with those that were filled in.
        last: Their latest row.
        mase: On its held-out folds.
        skill: One less the ratio of that to the best baseline's.
        compressed: How it was made smaller, such as `--quantize int8`; None of a trained one.
        damage: Why its manifest cannot be read; empty when it can.
    """

    name: str
    version: str
    state: str
    created: str | None = None
    series: int | None = None
    rows: int | None = None
    last: str | None = None
    mase: float | None = None
    skill: float | None = None
    compressed: str | None = None
    damage: str = ""


@dataclass(frozen=True)
class Checked:
    """Whether a version loads and forecasts what it did; `problem` is empty when it does."""

    name: str
    version: str
    state: str
    problem: str


def versions(registry: Registry, name: str | None = None) -> list[Version]:
    """List the versions of a model, or of all models, oldest first.

    Raises:
        NotFoundError: The model that was named has none.
    """
    names = registry.all_names() if name is None else [name]
    found = [_version(registry, each, *pair) for each in names for pair in _states(registry, each)]
    if name is not None and not found:
        registry.champion(name)  # says that there is none
    return found


def _states(registry: Registry, name: str) -> Iterator[tuple[str, str]]:
    """Yield the versions of a model, oldest first, each with what it is now."""
    pointer, previous = registry.in_service(name), None
    with suppress(DamagedError):  # of the record; the versions are there all the same
        previous = registry.previous(name)
    for version in registry.versions(name):
        newer = pointer is None or version > pointer
        special = {pointer: "champion", previous: "previous"}
        yield version, special.get(version, "newer" if newer else "older")


def _version(registry: Registry, name: str, version: str, state: str) -> Version:
    try:
        manifest = read_manifest(registry.version_folder(name, version))
        data, judgement = manifest.get("data", {}), manifest.get("judgement", {})
        scores = list(judgement.get("scores", {}).values())
        return Version(
            name,
            version,
            state,
            created=manifest.get("created"),
            series=data.get("series"),
            rows=data.get("rows"),
            last=data.get("last"),
            mase=scores[0].get("mase") if scores else None,  # the model stands before the baselines
            skill=judgement.get("skill"),
            compressed=manifest.get("compressed", {}).get("option"),
        )
    except (InvalidInputError, NotFoundError) as error:
        return Version(name, version, state, damage=error.message)
    except (AttributeError, TypeError) as error:  # a manifest that somebody edited
        return Version(name, version, state, damage=f"Its manifest is no manifest: {error}.")


def describe(registry: Registry, name: str, said: str) -> dict[str, Any]:
    """Return everything that a version says of itself, and when it was in service.

    Raises:
        NotFoundError: There is no such version.
        DamagedError: It cannot be read.
    """
    version = registry.resolve(name, said)
    folder = registry.version_folder(name, version)
    state = dict(_states(registry, name)).get(version, "champion")  # without a manifest, no other
    listed = _version(registry, name, version, state)
    promotions = [asdict(each) for each in registry.history(name) if each.version == version]
    left_out = ("damage", "compressed")  # the manifest says more of both
    about = {key: value for key, value in asdict(listed).items() if key not in left_out}
    return {
        **read_manifest(folder),
        **about,
        "settings": _settings(folder),
        "promotions": promotions,
    }


def differences(registry: Registry, name: str, first: str, second: str) -> dict[str, list[Any]]:
    """Return what two versions differ in: settings, data, scores, library versions.

    Returns:
        By dotted key, the value of either; None where it has none.
    """
    one, other = (
        dict(_flat(_compared(describe(registry, name, said)))) for said in (first, second)
    )
    keys = dict.fromkeys([*one, *other])
    return {key: [one.get(key), other.get(key)] for key in keys if one.get(key) != other.get(key)}


def verify(registry: Registry, name: str | None = None, said: str | None = None) -> list[Checked]:
    """Load versions, all unless one is named: digests, content, golden forecast.

    Raises:
        NotFoundError: There is no such model or version.
    """
    chosen = None if said is None or name is None else registry.resolve(name, said)
    checked = []
    for listed in versions(registry, name):
        if chosen not in {None, listed.version}:
            continue
        problem = _problem(registry, listed.name, listed.version)
        if problem and chosen is None and listed.version not in registry.versions(listed.name):
            continue  # pruned meanwhile; were it in service, it is looked at below
        checked.append(Checked(listed.name, listed.version, listed.state, problem))
    for each in registry.names() if name is None else [name]:
        if chosen in {None, registry.in_service(each)}:
            checked += _in_service(registry, each, {(one.name, one.version) for one in checked})
    return checked


def _problem(registry: Registry, name: str, version: str) -> str:
    from forecaster import artifacts

    try:
        artifacts.load(registry.version_folder(name, version))
    except (InvalidInputError, NotFoundError) as error:
        return error.message
    return ""


def _in_service(
    registry: Registry, name: str, seen: Collection[tuple[str, str]]
) -> Iterator[Checked]:
    """Check the version in service unless it was: one without a manifest is in no list."""
    try:
        version = registry.champion(name)
    except DamagedError as error:
        yield Checked(name, "champion", "damaged", error.message)
    except NotFoundError:
        return  # no version of it was ever put into service
    else:
        if (name, version) not in seen:
            yield Checked(name, version, "champion", _problem(registry, name, version))


def _settings(folder: Path) -> dict[str, Any]:
    import tomllib

    path = folder / "config.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"'{path}' cannot be read: {error}.", "Restore the folder from a backup."
        ) from error


def _compared(described: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: described[key] for key in COMPARED if isinstance(described.get(key), Mapping)}
    return {
        section: {key: value for key, value in said.items() if key in (COMPARED[section] or said)}
        for section, said in found.items()
    }


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
