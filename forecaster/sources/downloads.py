"""The bytes behind an http(s) address, within a time limit."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException, InvalidURL
from urllib.parse import quote, urlsplit

from forecaster.errors import ForecasterError, InvalidInputError, NotFoundError, TemporaryError

CHUNK = 1 << 20
# Of a path and a query as they are; the rest, such as a blank, is quoted.
KEPT = "%/:@!$&'()*+,;=~?"


def public(url: str) -> str:
    """Return an address without what may be secret in it: a password, a token.

    >>> public("https://user:password@example.org/a.csv?token=1")
    'https://example.org/a.csv'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _quoted(url: str) -> str:
    """Return an address as it is sent.

    >>> _quoted("http://example.org/a b/%20.csv?q=\u00e4")
    'http://example.org/a%20b/%20.csv?q=%C3%A4'
    """
    parts = urlsplit(url)
    path, query = quote(parts.path, KEPT), quote(parts.query, KEPT)
    return parts._replace(path=path, query=query, fragment="").geturl()


def download(url: str, *, timeout: float = 10.0, total: float = 120.0) -> bytes:
    """Fetch an address.

    Args:
        url: `http://` or `https://`.
        timeout: Seconds without an answer after which the server counts as down.
        total: Seconds that the whole download may take.

    Raises:
        NotFoundError: The server says that there is no such thing.
        InvalidInputError: It is no address.
        TemporaryError: The network or the server is down, slow or busy.
        ForecasterError: The server refuses.
    """
    deadline = time.monotonic() + total
    shown = public(url)
    request = urllib.request.Request(_quoted(url), headers={"User-Agent": "forecaster"})  # noqa: S310 - the caller checks the scheme
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
            chunks = []
            while chunk := reply.read(CHUNK):
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise TemporaryError(
                        f"'{shown}' took longer than {total:g} s.", "Download it by hand."
                    )
            if reply.length:  # bytes that were promised and never came
                raise TemporaryError(f"'{shown}' was cut off on its way.", "Try again.")
            return b"".join(chunks)
    except urllib.error.HTTPError as error:
        raise _refused(shown, error) from error
    except (InvalidURL, UnicodeError) as error:  # the reason would tell a password
        raise InvalidInputError(
            f"'{shown}' cannot be asked for.",
            "Write it as https://host/path, without a name and a password.",
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TemporaryError(
            f"'{shown}' cannot be reached: {reason}.", "Check the address and the network."
        ) from error


def _refused(shown: str, error: urllib.error.HTTPError) -> ForecasterError:
    error.close()
    said = f"'{shown}' answered {error.code} {error.reason}.".replace(" .", ".")
    if error.code in (404, 410):
        return NotFoundError(said, "Check the address.")
    if error.code in (408, 425, 429) or error.code >= 500:
        return TemporaryError(said, "Try again later.")
    return ForecasterError(said, "Download it by hand and pass the file.")
