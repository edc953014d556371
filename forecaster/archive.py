"""Every forecast that was published, kept: one Parquet file each, written once and never changed.

data/forecasts/<model>/<created>-<digest>.parquet

One row a step: `created, name, version, model, data_hash, source, unique_id, cutoff, ds, step, point`,
the bounds, `lo-80, hi-80, ...`, the chance `up` and the `base_rate`, what baselines said, `naive,
seasonal_naive, drift, seasonal_naive_168`, as far as there are such, and `scale`, the denominator of MASE.
A file appears whole or not at all, so writers and readers need no lock. Looking for files imports neither
pandas nor pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.atomic import replace_file, sweep, sync_folder
from forecaster.durations import before
from forecaster.errors import DamagedError, ForecasterError
from forecaster.versions import STAMP, require_name

if TYPE_CHECKING:
    import pandas as pd

FILE = re.compile(r"(\d{8}T\d{12}Z)-([0-9a-f]{16})\.parquet")
STORE, OTHER = "store", "file"  # where the rows that were forecast from came from
SUMMARY = b"forecast"  # key of the file's own summary in its metadata
NUMBERS = {"scale", "up", "base_rate"}  # that a file may have besides bounds and baselines
TEXTS = ("name", "version", "source", "unique_id")
ABANDONED = 3600.0  # seconds after which what is being written never will be


@dataclass(frozen=True)
class Published:
    """One published forecast as its file's name tells."""

    name: str
    created: datetime
    path: Path


@dataclass(frozen=True)
class Summary:
    """What a file says of itself: model version, series and rows, latest cutoff, `store` or `file`."""

    version: str
    series: int
    rows: int
    cutoff: str
    source: str


class Archive:
    """The published forecasts of a workspace.

    Args:
        folder: `data/forecasts`; made when the first forecast is published.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def publish(
        self,
        table: pd.DataFrame,
        *,
        name: str,
        version: str,
        data_hash: str,
        source: str,
        now: datetime | None = None,
    ) -> Path:
        """Keep an exported table.

        Args:
            table: `unique_id, ds, cutoff, <model>, <model>-lo-80, ...`, each series' steps in order,
                and what baselines said of them.
            name: Name of the model.
            version: Its version.
            data_hash: Digest of the rows that were forecast from.
            source: `STORE`, or `OTHER` for rows that were never stored.
            now: When it was published; the clock's time when None.

        Raises:
            ForecasterError: The disk is full or the place is read-only.
        """
        require_name(name)
        created = now or datetime.now(UTC)
        kept = _long(table).assign(
            name=name, version=version, data_hash=data_hash, source=source, created=created
        )
        content = _encoded(kept, source)
        path = self.folder / name / f"{created.strftime(STAMP)}-{_digest(content)}.parquet"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda file: file.write(content))
        except OSError as error:
            raise ForecasterError(
                f"The forecast cannot be kept in '{path.parent}': {error.strerror or error}.",
                "'forecast score' will not know of it.",
            ) from error
        return path

    def published(self, name: str | None = None) -> list[Published]:
        """Return what was published, of one model or of all, oldest first."""
        if name is not None:
            require_name(name)
        found = []
        for path in self.folder.glob(f"{name or '*'}/*.parquet"):
            if match := FILE.fullmatch(path.name):
                try:
                    created = datetime.strptime(match[1], STAMP).replace(tzinfo=UTC)
                except ValueError:  # a date that there is not: no file of ours
                    continue
                found.append(Published(path.parent.name, created, path))
        return sorted(found, key=lambda each: (each.created, each.path))

    def prune(
        self,
        older_than: float,
        name: str | None = None,
        *,
        dry_run: bool = False,
        now: datetime | None = None,
    ) -> list[Published]:
        """Delete what was published more than so many seconds ago; return it, oldest first.

        Raises:
            ForecasterError: A file cannot be deleted.
        """
        limit = before(now or datetime.now(UTC), older_than)
        gone = [each for each in self.published(name) if each.created < limit]
        if dry_run:
            return gone
        try:
            for each in gone:
                each.path.unlink(missing_ok=True)
            for folder in {each.path.parent for each in self.published(name) + gone}:
                sweep(folder, older_than=ABANDONED)
                sync_folder(folder)
        except OSError as error:
            raise ForecasterError(
                f"Cannot delete '{error.filename}': {error.strerror}.", "Check the permissions."
            ) from error
        return gone


def summaries(published: Iterable[Published]) -> Iterator[tuple[Published, Summary | None]]:
    """Read what files say of themselves, without their rows; None for one that is damaged."""
    import json

    import pyarrow.parquet as pq

    for each in published:
        try:
            said = json.loads(pq.read_schema(each.path).metadata[SUMMARY])
            yield each, Summary(**said)
        except FileNotFoundError:  # pruned meanwhile
            continue
        except Exception:  # Arrow raises anything on damage
            yield each, None


def read(published: Published) -> pd.DataFrame:
    """Read the rows of a published forecast.

    Raises:
        DamagedError: It is not what was written.
        FileNotFoundError: It was pruned meanwhile.
    """
    import io

    import pandas as pd

    try:
        content = published.path.read_bytes()
        if not published.path.name.endswith(f"-{_digest(content)}.parquet"):
            raise ValueError("its SHA-256 differs")
        kept = pd.read_parquet(io.BytesIO(content))
        _require_columns(kept)
        return kept
    except FileNotFoundError:
        raise
    except Exception as error:  # Arrow raises anything on damage
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedError(
            f"The published forecast '{published.path}' cannot be read: {reason}.",
            "Restore it from a backup, or delete it.",
        ) from error


def _require_columns(kept: pd.DataFrame) -> None:
    """Refuse a table that lacks a column, or has one of a type that is never written."""
    from pandas.api.types import is_string_dtype

    from forecaster.baselines import is_simple

    numbers = [
        name
        for name in map(str, kept.columns)
        if name in NUMBERS or is_simple(name) or name.startswith(("lo-", "hi-"))
    ]
    kinds = {"created": "M", "ds": "iM", "cutoff": "iM"}  # of NumPy: integers, floats, times
    kinds |= dict.fromkeys(("step", "point", *numbers), "if")
    for name in (*TEXTS, *kinds):
        if name not in kept:
            raise ValueError(f"it has no column {name!r}")
        dtype = kept[name].dtype
        if not (dtype.kind in kinds[name] if name in kinds else is_string_dtype(kept[name])):
            raise ValueError(f"its column {name!r} has the type {dtype}")
    zoned = {name: hasattr(kept[name].dtype, "tz") for name in ("created", "ds", "cutoff")}
    if not zoned["created"]:
        raise ValueError("its column 'created' has no time zone")
    if (kept["ds"].dtype.kind, zoned["ds"]) != (kept["cutoff"].dtype.kind, zoned["cutoff"]):
        raise ValueError("its columns 'ds' and 'cutoff' have different kinds of time")


def _long(table: pd.DataFrame) -> pd.DataFrame:
    """Bring an exported table into the columns that all models share."""
    model = str(table.columns[list(table.columns).index("cutoff") + 1])
    columns = {name: name.removeprefix(f"{model}-") for name in map(str, table.columns)}
    kept = table.rename(columns=columns | {model: "point"}).drop(columns="model_version")
    if "model" not in kept:
        kept["model"] = model
    kept["step"] = kept.groupby("unique_id", sort=False).cumcount() + 1
    return kept


def _encoded(kept: pd.DataFrame, source: str) -> bytes:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    said = Summary(
        version=str(kept["version"].iloc[0]) if len(kept) else "",
        series=int(kept["unique_id"].nunique()),
        rows=len(kept),
        cutoff=str(kept["cutoff"].max()),
        source=source,
    )
    table = pa.Table.from_pandas(kept, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), SUMMARY: json.dumps(asdict(said)).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()[:16]
