"""Fixtures that more than one test module uses."""

from __future__ import annotations

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
