"""Fixtures that more than one test module uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yahoo_server import Yahoo

if TYPE_CHECKING:
    from forecaster.retrained import Retrained

SHARE = 4  # one slow test in so many runs unless all are asked for


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        choices=("some", "all", "none"),
        default="some",
        help=f"tests marked slow: a fixed share (the default; one in {SHARE}, where the mark says no "
        "other `share`), all, or none",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, always the same ones, and count them as deselected.

    Where several processes share the tests, slow ones begin first: one that begins last is waited for
    by all. Modules with fixtures that take long are marked as groups of one process.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    some = [
        item for share, each in _by_share(slow).items() for item in (each[::share] if share else ())
    ]
    kept = {"all": slow, "some": some, "none": []}[config.getoption("--slow")]
    left_out = [item for item in slow if item not in kept]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    rest = [item for item in items if item not in slow]
    if hasattr(config, "workerinput"):  # of pytest-xdist
        items[:] = [*kept, *rest]
    else:
        items[:] = [item for item in items if item not in left_out]


def _by_share(slow: list[pytest.Item]) -> dict[int, list[pytest.Item]]:
    """Group slow tests by how many of them one is run of; 0 for none."""
    found: dict[int, list[pytest.Item]] = {}
    for item in slow:
        mark = item.get_closest_marker("slow")
        found.setdefault(mark.kwargs.get("share", SHARE) if mark else SHARE, []).append(item)
    return found


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


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Retrained]:
    """A workspace after its first retraining; tests must not change it."""
    from retrain_made import begun

    folder = tmp_path_factory.mktemp("first")
    return folder, begun(folder)


@pytest.fixture(scope="session")
def halted(first: tuple[Path, Retrained], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after newer rows came and a cycle ended before its challenger was compared."""
    from retrain_made import copied, halt

    folder = copied(first[0], tmp_path_factory.mktemp("halted") / "workspace")
    halt(folder)
    return folder


@pytest.fixture
def trained(first: tuple[Path, Retrained], tmp_path: Path) -> Path:
    """A copy of `first` that a test may change."""
    from retrain_made import copied

    return copied(first[0], tmp_path / "workspace")


@pytest.fixture
def waiting(halted: Path, tmp_path: Path) -> Path:
    """A workspace with a challenger that waits to be compared, which a test may change."""
    from retrain_made import copied

    return copied(halted, tmp_path / "workspace")


@pytest.fixture
def compiled_anew() -> Iterator[None]:
    """No network that was compiled before serves the test, and none of its own the next."""
    from forecaster import compiling

    compiling.forget()
    yield
    compiling.forget()
