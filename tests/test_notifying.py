"""A hook is told what happened, in time, and never ends a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forecaster.cli import app
from forecaster.notifying import notify, shown
from forecaster.unattended import NotifySpec

TOLD = {"name": "air", "exit_code": 1, "message": "The disk is full.", "champion": "v1"}


class Hook(ThreadingHTTPServer):
    """Answers as the last part of the path says, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Answers)

    def address(self, answer: str, account: str = "") -> str:
        return f"http://{account}127.0.0.1:{self.server_port}/s3cret/{answer}?token=s3cret"


class Answers(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), json.loads(body)))
        answer = self.path.split("?")[0].rpartition("/")[2]
        if answer == "hang":
            self.server.over.wait(20)
        elif answer == "drip":  # each byte comes in time, the whole never does
            for _ in range(200):
                if self.server.over.wait(0.1):
                    return
                self.wfile.write(b"H")
                self.wfile.flush()
        else:
            self.send_response(int(answer))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def spec(hook: str, timeout: float = 20.0) -> NotifySpec:
    return NotifySpec(on_failure=hook, notify_timeout=timeout)


def test_an_address_is_sent_the_document(hook: Hook):
    assert notify(spec(hook.address("200", "me:pass%20word@")), "failure", TOLD) is None
    ((headers, told),) = hook.got
    assert told.items() >= (TOLD | {"event": "failure"}).items()
    assert told["host"]
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == f"Basic {b64encode(b'me:pass word').decode()}"


def test_each_event_has_its_hook(hook: Hook):
    both = NotifySpec(on_failure=hook.address("200"), on_promote=hook.address("204"))
    for event in ("failure", "refusal", "promotion"):
        assert notify(both, event, {}) is None
    assert [told["event"] for _, told in hook.got] == ["failure", "refusal", "promotion"]
    assert notify(NotifySpec(on_promote=hook.address("200")), "failure", {}) is None
    assert notify(NotifySpec(), "promotion", {}) is None
    assert len(hook.got) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("500", "it answered 500"),
        ("302", "it answered 302"),  # a redirected POST would lose its document
        ("hang", "no answer within 0.3 s"),
        ("drip", "no answer within 0.3 s"),
    ],
)
def test_an_address_that_fails_is_a_notice_without_secrets(hook: Hook, answer: str, said: str):
    began = time.monotonic()
    notice = notify(spec(hook.address(answer, "me:s3cret@"), 0.3 if len(answer) > 3 else 20),
                    "failure", TOLD)  # fmt: skip
    assert time.monotonic() - began < 5
    assert notice is not None
    assert said in notice
    assert notice.startswith(
        f"The hook on_failure (http://127.0.0.1:{hook.server_port}/...) failed:"
    )
    assert "s3cret" not in notice


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/s3cret", "http://[s3cret", "http://h:s3cret/",
                                     "https://127.0.0.1/a b\ns3cret"])  # fmt: skip
def test_an_address_that_is_none_is_a_notice(address: str):
    notice = notify(spec(address), "failure", TOLD)
    assert notice is not None
    assert "/s3cret" not in notice


def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "hook.py"
    path.write_text(f"import json, os, subprocess, sys, time\n{body}")
    return f"{sys.executable} '{path}'"


def test_a_command_is_told_on_stdin_and_in_its_environment(tmp_path: Path, capfd):
    body = """
print("noise")
told = json.load(sys.stdin)
names = ("EVENT", "NAME", "EXIT_CODE", "MESSAGE")
with open(sys.argv[1], "w") as file:
    json.dump([told, *(os.environ["FORECAST_" + name] for name in names)], file)
"""
    result = tmp_path / "a result"
    assert notify(spec(f"{script(tmp_path, body)} '{result}'"), "failure", TOLD) is None
    told, *variables = json.loads(result.read_text())
    assert told.items() >= (TOLD | {"event": "failure"}).items()
    assert variables == ["failure", "air", "1", "The disk is full."]
    assert capfd.readouterr().out == ""  # stdout is for the run's own document


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/program s3cret", "(/no/such/program ...) failed: No such file"),
        ("false s3cret", "(false ...) failed: it ended with the exit code 1"),
        ("true; touch x", "No such file"),  # there is no shell
    ],
)
def test_a_command_that_fails_is_a_notice_without_secrets(command: str, said: str):
    notice = notify(spec(command), "failure", TOLD | {"message": "x\0" * 100_000})
    assert notice is not None
    assert said in notice
    assert "s3cret" not in notice


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("mail 's3cret", "No closing quotation"),
        ("notify-send it's s3cret", "No closing quotation"),
        ("   ", "a command, or an address that begins with http:// or https:// is needed"),
        ("ftp://me:s3cret@host/", "an address that begins with http"),
        ("echo s3cret > file", "it runs without a shell, which '>' needs"),
        ("echo s3cret 2>&1", "it runs without a shell, which '2>&1' needs"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_at_once(tmp_path: Path, capsys, hook: str, said: str):
    assert app.run(["--workspace", str(tmp_path), "retrain", "--on-failure", hook]) == 5
    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error


def test_words_that_are_quoted_are_no_shell(tmp_path: Path):
    assert spec("find . -exec echo {} \\;").on_failure
    assert spec("sh -c 'echo 1 > file'").on_failure


def test_a_command_runs_in_the_folder(tmp_path: Path):
    hook = tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\ntouch done\n")
    hook.chmod(0o755)
    assert notify(spec("./hook.sh"), "failure", TOLD, tmp_path) is None
    assert (tmp_path / "done").exists()


def test_a_command_that_hangs_ends_with_its_children(tmp_path: Path):
    body = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""
    result = tmp_path / "pids"
    notice = notify(spec(f"{script(tmp_path, body)} {result}", 2.0), "failure", TOLD)
    assert notice is not None
    assert "it did not end within 2 s" in notice
    for pid in map(int, result.read_text().split()):
        assert ended(pid)


def ended(pid: int) -> bool:
    """Tell whether a process is over; one that nobody has waited for counts."""
    for _ in range(100):
        run = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if run.stdout.strip() in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def test_settings_show_no_secret_and_are_not_stored_with_models(tmp_path: Path, capsys):
    (tmp_path / "forecast.toml").write_text(
        '[notify]\non_failure = "https://example.org/s3cret"\non_promote = "mail s3cret"\n'
        "notify_timeout = \"5s\"\n[log]\nlog_file = 'a.jsonl'\n"
    )
    assert app.run(["config", "show", "--json", "--workspace", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["notify.on_failure"]["value"] == "https://example.org/..."
    assert shown["notify.on_promote"]["value"] == "mail ..."
    assert shown["notify.notify_timeout"]["value"] == 5.0
    assert shown["log.log_file"]["value"] == "a.jsonl"
    from forecaster.workspace import Workspace, load_config

    config, _ = load_config(Workspace(tmp_path), environment={})
    assert config.flat()["on_failure"] == "https://example.org/s3cret"
    assert {"notify", "log"}.isdisjoint(config.model_dump())
    assert "s3cret" not in config.model_dump_json()
    assert os.environ.get("FORECAST_EVENT") is None


def test_what_follows_any_blank_is_not_shown():
    assert shown("mail\tsecret") == "mail ..."
    assert shown("mail") == "mail"
