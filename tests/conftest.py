"""Fixtures that more than one test module uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from yahoo_server import Yahoo

SHARE = 3  # one slow test in so many runs unless all are asked for


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        choices=("some", "all", "none"),
        default="some",
        help=f"tests marked slow: a fixed one in {SHARE} (the default; none of those marked alone, "
        "which take minutes), all, or none",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, always the same ones, and count them as deselected."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    shared = [item for item in slow if not item.get_closest_marker("slow").kwargs.get("alone")]
    kept = {"all": slow, "some": shared[::SHARE], "none": []}[config.getoption("--slow")]
    left_out = [item for item in slow if item not in kept]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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
