"""One installation for all faults, the photos it ingests, and what must come of them."""

from __future__ import annotations

import os
import socket
from statistics import median

import pytest

from app.settings import Settings
from tests.faults.installation import Installation, hashes
from tests.faults.pictures import as_answers, pictures
from tests.faults.place import Place
from tests.origin import Origin

LONG = os.environ.get("CLAIR_FAULTS") == "long"
PATIENCE = 1800.0 if LONG else 180.0
only_long = pytest.mark.skipif(not LONG, reason="takes a while: CLAIR_FAULTS=long runs it")
_notes: list[str] = []


def note(figure: str) -> None:
    """Show a measured figure at the end of the run."""
    _notes.append(figure)


def note_times(what: str, seconds: list[float], most: float) -> None:
    """Show how long something took, and hold the figure of SECURITY.md in the long form."""
    if not seconds:
        return
    note(
        f"{what}: {len(seconds)} times, median {median(seconds):.1f} s,"
        f" longest {max(seconds):.1f} s (figure: {most:g} s)"
    )
    # The short forms don't wait for leases, so their times say nothing about the figures.
    assert not LONG or max(seconds) <= most


def pytest_terminal_summary(terminalreporter):
    if _notes:
        terminalreporter.section(f"figures of the {'long' if LONG else 'short'} fault tests")
        for line in _notes:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Place(tmp_path_factory.mktemp("faults") / "home", port)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def photos():
    return pictures(3000 if LONG else 80)


@pytest.fixture
def origin(photos):
    with Origin(as_answers(photos)) as running:
        yield running


@pytest.fixture(scope="session")
def expected(photos):
    return hashes(photos)


@pytest.fixture(scope="session")
def few():
    """Photos for tests in which it is not their number that matters."""
    return pictures(400 if LONG else 80)


@pytest.fixture
def small_origin(few):
    with Origin(as_answers(few)) as running:
        yield running


@pytest.fixture
def local(settings):
    """Settings of a machine that may read from itself, for light workers."""
    return Settings.from_environment(
        {**settings.to_environment(), "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8"}
    )


@pytest.fixture
def ledger(settings):
    """The installation that light workers with `local` settings work for."""
    made = Installation()
    made.connect(settings.database_url, settings.redis_url)
    yield made
    made.disconnect()
