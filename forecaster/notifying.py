"""Telling somebody that an unattended run failed or promoted: a command or an address.

A hook is limited in time and never fatal. An address or the arguments of a command may be secrets,
so that no message shows more than the host or the program.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from forecaster.unattended import SECRET

if TYPE_CHECKING:
    from email.message import Message

    from forecaster.unattended import NotifySpec

HOOKS = {"failure": "on_failure", "refusal": "on_failure", "promotion": "on_promote"}
VARIABLES = ("event", "name", "exit_code", "message")  # of the document, told to commands
LONGEST = 1000  # letters of a variable: the system limits them


def notify(
    spec: NotifySpec, event: str, document: Mapping[str, Any], folder: Path | None = None
) -> str | None:
    """Tell the hook of an event what happened, if there is one.

    Args:
        spec: The hooks, and how long they may take.
        event: `failure`, `refusal` or `promotion`.
        document: What happened: name, exit_code, message, champion, challenger, started ... The
            event and the host are added.
        folder: Where commands run; the current one when None.

    Returns:
        A notice when the hook failed; None when all is well.
    """
    hook = getattr(spec, HOOKS[event])
    if hook is None:
        return None
    told = {"event": event, "host": socket.gethostname(), **document}
    try:
        if _is_address(hook):
            problem = _post(hook, told, spec.notify_timeout)
        else:
            problem = _run(hook, told, spec.notify_timeout, folder)
    except OSError as error:
        problem = error.strerror or str(error)
    return problem and f"The hook {HOOKS[event]} ({shown(hook)}) failed: {problem}."


def shown(hook: str) -> str:
    """Return of a hook what is no secret.

    >>> shown("https://me:secret@example.org/T0/B0?token=1"), shown("mail -s secret me")
    ('https://example.org/...', 'mail ...')
    """
    if not _is_address(hook):
        program, *rest = hook.split(maxsplit=1)
        return f"{program} ..." if rest else program
    try:
        parts = urlsplit(hook)
    except ValueError:
        return "http://..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/..."


def without_secrets(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings by section with of every hook only what may be shown."""
    return {
        section: {
            key: shown(value) if key in SECRET and value else value
            for key, value in settings.items()
        }
        for section, settings in sections.items()
    }


def _is_address(hook: str) -> bool:
    return hook.lower().startswith(("http://", "https://"))


def _post(url: str, told: Mapping[str, Any], timeout: float) -> str | None:
    """POST to an address; what names and slow servers take counts too, hence the thread."""
    answers: list[str | None] = []
    thread = threading.Thread(
        target=lambda: answers.append(_answer(url, told, timeout)), daemon=True
    )
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else f"there was no answer within {timeout:g} s"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its document."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _answer(url: str, told: Mapping[str, Any], timeout: float) -> str | None:
    try:
        parts = urlsplit(url)
        account, _, host = parts.netloc.rpartition("@")
        headers = {"Content-Type": "application/json", "User-Agent": "forecaster"}
        if account:
            headers["Authorization"] = f"Basic {b64encode(unquote(account).encode()).decode()}"
        request = urllib.request.Request(  # noqa: S310 - `_is_address` has looked at the scheme
            parts._replace(netloc=host).geturl(), data=_json(told), headers=headers
        )
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except TimeoutError:
        return f"there was no answer within {timeout:g} s"
    except OSError as error:
        return str(getattr(error, "reason", None) or error)
    except (HTTPException, ValueError) as error:  # their text may hold the address
        return f"the address or the answer is not valid ({type(error).__name__})"


def _run(command: str, told: Mapping[str, Any], timeout: float, folder: Path | None) -> str | None:
    """Run a command, without a shell, in a group of processes that ends with it at the latest."""
    variables = {f"FORECAST_{key.upper()}": str(told.get(key, ""))[:LONGEST] for key in VARIABLES}
    clean = {key: value.replace("\0", "") for key, value in variables.items()}
    with subprocess.Popen(
        shlex.split(command),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # stdout is for the result of the run, and a log may be flooded
        stderr=subprocess.DEVNULL,
        env=os.environ | clean,
        start_new_session=True,
    ) as process:
        try:
            process.communicate(_json(told), timeout=timeout)
        except subprocess.TimeoutExpired:
            return f"it did not end within {timeout:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return f"it ended with the exit code {process.returncode}" if process.returncode else None


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, default=str).encode()
