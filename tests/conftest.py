"""Fixtures that more than one test module uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from yahoo_server import Yahoo


@pytest.fixture(scope="session")
def yahoo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yahoo]:
    server = Yahoo(tmp_path_factory.mktemp("yahoo"))
    yield server
    server.close()


@pytest.fixture
def yahoo(yahoo_server: Yahoo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yahoo]:
    """A Yahoo that knows no symbol yet; subprocesses reach it with `yahoo.environment`."""
    yahoo_server.reset()
    for name, value in yahoo_server.environment.items():
        monkeypatch.setenv(name, value)
    yield yahoo_server
    yahoo_server.reset()
    # A run that was left early still has requests in flight, which the next test must not see.
    for thread in threading.enumerate():
        if thread.name.startswith("yahoo-"):
            thread.join(timeout=10)
