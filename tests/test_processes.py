"""Folders that last as long as a process, and those of processes that were killed."""

import os
import subprocess
import sys
import tempfile

from forecaster import processes
from forecaster.processes import is_alive, remove_scratch, scratch_folder


def test_a_scratch_folder_goes_with_its_process_or_a_day_after_its_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_alive(dead.pid)
    left = [f"forecast-scratch-{pid}-x" for pid in (dead.pid, f"{dead.pid}-young", os.getppid())]
    for name in [*left, "forecast-scratch-other", "other"]:
        (tmp_path / name).mkdir()
        if "young" not in name:
            os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr(processes, "_folders", [])  # others of this process are in use
    mine = scratch_folder()
    (mine / "file").write_text("")
    assert {path.name for path in tmp_path.iterdir()} == {
        *left[1:],
        mine.name,
        "forecast-scratch-other",
        "other",
    }
    remove_scratch()
    assert not mine.exists()
