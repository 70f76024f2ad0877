"""One installation for all faults, the photos it ingests, and what must come of them."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest

from tests.faults.pictures import as_answers, pictures
from tests.faults.place import Place
from tests.origin import Origin

LONG = os.environ.get("CLAIR_FAULTS") == "long"


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
    return pictures(3000 if LONG else 120)


@pytest.fixture
def origin(photos):
    with Origin(as_answers(photos)) as running:
        yield running


@pytest.fixture(scope="session")
def expected(photos):
    """(file, hash of its bytes) of every photo: each must be there once, whatever happened."""
    return sorted((name, hashlib.sha256(data).hexdigest()) for name, data in photos.items())
