"""Files that appear whole, and places that are no files and must stay what they are."""

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from forecaster.atomic import replace_file, sweep, sweep_file


def test_a_temporary_put_in_place_meanwhile_is_not_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "glob", lambda *_: iter([tmp_path / ".a.1.tmp"]))
    sweep(tmp_path, older_than=60.0)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, lambda file: file.write(b"rows"))
    reader.join(timeout=10)
    assert read == [b"rows"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("before", [b"old", None])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, before):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    if before:
        target.write_bytes(before)
    link.symlink_to(target)
    replace_file(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pipe_that_only_a_link_names_is_written_to(tmp_path):
    """As `--output /dev/stdout` before `| head`: what it resolves to is no path."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pathlib import Path; from forecaster.atomic import replace_file; "
            "replace_file(Path('/dev/stdout'), lambda file: file.write(b'whole'))",
        ],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"whole"


def test_who_may_read_a_file_may_read_what_replaces_it_and_nobody_else(tmp_path):
    path, seen = tmp_path / "secret.csv", []
    path.write_text("before")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 4242, 4243)
    had = path.stat()

    def write(file):
        seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        file.write(b"after")

    replace_file(path, write)
    has = path.stat()
    assert path.read_text() == "after"
    assert (has.st_mode, has.st_uid, has.st_gid) == (had.st_mode, had.st_uid, had.st_gid)
    assert seen == [0o640]  # before the first byte


def test_a_file_system_without_permissions_takes_files_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "not permitted")

    path = tmp_path / "a.csv"
    path.write_text("before")
    for name in ("fchown", "fchmod"):
        monkeypatch.setattr(os, name, refuse)
    replace_file(path, lambda file: file.write(b"after"))
    assert path.read_text() == "after"


def test_what_a_crash_left_beside_a_file_goes_and_nothing_else(tmp_path):
    dead, alive = f".air.csv.{10**9}.tmp", f".air.csv.{os.getppid()}.tmp"
    others = [alive, f".air.csv.old.{10**9}.tmp", ".air.csv.x.tmp", "air.csv"]
    for name in (dead, *others):
        (tmp_path / name).write_text("")
    sweep_file(tmp_path / "air.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
