"""The log of unattended runs: whole lines, bounded files, no secrets, never fatal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forecaster.logs import Log
from forecaster.unattended import LogSpec

WRITER = """
import sys
from pathlib import Path
from forecaster.logs import Log
log = Log(Path(sys.argv[1]), size=20_000, files=90, run=sys.argv[2])
for number in range(300):
    log.write("x" * 200, number=number)
assert log.problem == "", log.problem
"""


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_a_line(tmp_path: Path):
    log = Log.of(tmp_path, LogSpec(), "air", run="r1")
    log.write("Two\nlines", level="error", step="fetch", seconds=1.5)
    log.write("Done")
    first, second = events(tmp_path / "logs" / "air.jsonl")
    assert first | {"time": ""} == {
        "time": "", "level": "error", "model": "air", "run": "r1", "step": "fetch",
        "message": "Two\nlines", "seconds": 1.5,
    }  # fmt: skip
    assert (second["level"], second["step"]) == ("info", "")
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
    assert log.problem == ""


def test_each_setting_counts(tmp_path: Path):
    log = Log.of(tmp_path, LogSpec(log_file="own/a.log", log_size=500, log_files=2), "air")
    for number in range(40):
        log.write("x" * 100, number=number)
    names = sorted(path.name for path in (tmp_path / "own").iterdir() if path.suffix != ".lock")
    assert names == ["a.log", "a.log.1", "a.log.2"]
    last = [each["number"] for name in reversed(names) for each in events(tmp_path / "own" / name)]
    assert last == list(range(40))[-len(last) :]
    assert all((tmp_path / "own" / name).stat().st_size < 800 for name in names)


def test_processes_neither_mix_nor_lose_lines(tmp_path: Path):
    path = tmp_path / "air.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)])
        for number in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    files = [each for each in tmp_path.iterdir() if each.suffix != ".lock"]
    assert len(files) > 10
    found = sorted((each["run"], each["number"]) for file in files for each in events(file))
    assert found == [(str(run), number) for run in range(4) for number in range(300)]


@pytest.mark.parametrize("text", ["https://me:s3cret@example.org/a?token=s3cret", "http://[s3cret"])
def test_secrets_of_addresses_are_left_out(tmp_path: Path, text: str):
    log = Log.of(tmp_path, LogSpec(), "air")
    log.write(f"No answer from '{text}'.", sources=[{"url": text}])
    assert "s3cret" not in log.path.read_text()
    assert "No answer from 'http" in events(log.path)[0]["message"]


def test_a_folder_that_cannot_be_written_is_a_problem_and_no_error(tmp_path: Path):
    (tmp_path / "logs").write_text("in the way")
    log = Log.of(tmp_path, LogSpec(), "air")
    log.write("Lost")
    assert "cannot be written: File exists" in log.problem


def test_a_line_cut_short_by_a_full_disk_spoils_no_other(tmp_path: Path, monkeypatch):
    log = Log.of(tmp_path, LogSpec(), "air")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, line: write(file, line[:20]))
        log.write("Cut")
    assert "the disk is full" in log.problem
    log.write("Whole")
    cut, whole = log.path.read_text().splitlines()
    assert (len(cut), json.loads(whole)["message"]) == (20, "Whole")


def test_a_log_may_lie_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    log = Log.of(tmp_path, LogSpec(log_file="~/a.jsonl"), "air")
    assert log.path == tmp_path / "home" / "a.jsonl"
