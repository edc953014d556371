"""The bytes of a file: from a path, an address or standard input, unpacked when gzipped."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from forecaster.atomic import at_home
from forecaster.errors import ForecasterError, InvalidInputError, NotFoundError


def contents(source: str) -> tuple[str, str, bytes]:
    """Return how errors name the source, the name of its only series, and its bytes.

    Raises:
        NotFoundError: There is no such file or address.
        InvalidInputError: It is a folder, no address, of an unknown scheme, or damaged gzip; its
            name is not UTF-8.
        ForecasterError: It cannot be read.
        TemporaryError: The address cannot be reached.
    """
    scheme = _scheme(source) if "://" in source else ""
    if source == "-":
        label, stem, content = "standard input", "stdin", sys.stdin.buffer.read()
    elif scheme in ("http", "https"):
        from forecaster.sources.downloads import download, public

        label, stem = public(source), unquote(PurePosixPath(urlsplit(source).path).name)
        content = download(source)
    elif scheme:
        raise InvalidInputError(
            f"'{source}' cannot be fetched: {scheme}:// is not known.",
            "Pass a path, an http(s):// address, or - for standard input.",
        )
    else:
        label, stem, content = source, Path(source).name, _local(Path(source))
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(
                f"'{label}' is damaged gzip: {error}.".replace("..", "."), "Get it again."
            ) from error
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".parquet", ".pq"):
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    return label, stem or "series", content


def _scheme(address: str) -> str:
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and (not parts.hostname or parts.port == 0):
            raise ValueError("no host, or port 0")
        address.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "The address is not UTF-8.", "Write letters beyond ASCII in it as %C3%A9."
        ) from error
    except ValueError as error:  # its text, or the address, may tell a password
        raise InvalidInputError(
            "The address is not valid: it needs a host, and a port, if any, from 1 to 65535.",
            "Write it as https://host/path.",
        ) from error
    return parts.scheme


def _require_text(place: str) -> None:
    """Refuse a name that is not UTF-8: it cannot be kept with the series that come from it."""
    try:
        place.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The name {place!a} is not UTF-8.", "Rename the file or its folder."
        ) from error


def _local(path: Path) -> bytes:
    try:
        content = at_home(path).read_bytes()
    except FileNotFoundError as error:
        from difflib import get_close_matches

        folder = path.parent
        near = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        match = get_close_matches(path.name, near, n=1)
        hint = f"Did you mean '{folder / match[0]}'?" if match else "Check the path."
        raise NotFoundError(f"There is no file '{path}'.", hint) from error
    except IsADirectoryError as error:
        raise InvalidInputError(f"'{path}' is a folder, not a file.", "Name a file.") from error
    except OSError as error:
        raise ForecasterError(f"'{path}' cannot be read: {error.strerror}.") from error
    _require_text(str(at_home(path).resolve()))
    return content
