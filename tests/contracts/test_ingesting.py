"""One journey over every source: ingest, a change, a photo that vanishes, a broken credential."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.ingest import health
from app.storage.engine import session_scope
from tests.contracts.places import PHOTOS, Place, all_places, jpeg
from tests.ingest.test_pipeline import Bench

# One of each kind: what differs between places of a kind is the other suite's matter.
NAMES = (
    "folder",
    "list on the web",
    "s3",
    "gcs",
    "azure",
    "webdav with digest",
    "nextcloud link",
    "google drive (stand-in)",
    "dropbox (stand-in)",
    "IIIF 3",
    "gallery with lightbox",
    "sitemap",
)
BUILDS = {name: all_places()[name] for name in NAMES}


@pytest.fixture(params=BUILDS.values(), ids=BUILDS.keys())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as held:
        yield request.param(tmp_path, held)


@pytest.fixture
def bench(engine, redis_url, tmp_path):
    return Bench(engine, redis_url, tmp_path / "home")


def test_ingest_then_rescan_after_a_change_and_a_loss(place: Place, bench: Bench) -> None:
    first = bench.ingest_spec(place.spec)
    assert (first.state, first.message) == ("done", "")
    assert (first.discovered, first.indexed, first.failed) == (len(PHOTOS), len(PHOTOS), 0)

    place.change("photo-3.jpg", jpeg(240))
    changed = bench.ingest_spec(place.spec)
    assert (changed.indexed, changed.changed, changed.failed) == (1, 1, 0)
    assert changed.unchanged == len(PHOTOS) - 1
    assert changed.fetched == 1

    place.gone("photo-2.jpg")
    lost = bench.ingest_spec(place.spec)
    # A source that is a list of addresses still names it; any other lists it no more.
    assert lost.gone == 1 or lost.failed == 1
    assert lost.unchanged == len(PHOTOS) - 1
    with session_scope(bench.engine) as session:
        (told,) = health.source_health(session, 1)
    assert (told.photos, told.indexed) == (len(PHOTOS), len(PHOTOS))  # it stays in the gallery
    (trouble,) = told.troubles
    assert trouble.reason in ("vanished", "not-found", "gone")
    assert trouble.cure


def test_a_broken_credential_is_said_and_the_photos_stay(place: Place, bench: Bench) -> None:
    if place.locked is None:
        pytest.skip("this kind takes no credentials")
    bench.ingest_spec(place.spec)
    broken = bench.ingest_spec(place.locked)
    assert broken.state == "failed"
    assert broken.message
    for _, secret in place.locked.credentials:
        assert secret not in broken.message
    assert bench.rows("SELECT count(*) FROM photo WHERE gone_at IS NOT NULL") == [(0,)]
    assert bench.rows("SELECT count(*) FROM photo WHERE indexed_at IS NOT NULL") == [(len(PHOTOS),)]
    with session_scope(bench.engine) as session:
        told = health.source_health(session, 1)
    assert any(source.trouble for source in told)
