"""A whole application over a real database and Redis, a signed-in browser, and an event with photos."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.core.vectors import ModelInfo, normalised
from app.encoders.registry import profile_models
from app.main import create_app
from app.settings import Settings
from app.storage import accounts
from app.storage.blobs import BlobStore, thumb_key
from app.storage.engine import make_engine, session_scope
from app.storage.events import create_event
from app.storage.progress import CHANNEL
from app.storage.tables import Event, Photo, Source
from app.storage.vectors import model_number, store_photo_vectors

ADDRESS = "http://localhost:8765"
NAME, PASSWORD = "Ada", "correct horse battery"
ENTRIES = ("base", "duplicates", "gallery", "photo", "scenes", "space")


class FixedVectorQueue:
    """The job queue with an encoder that answers every text with the same vector, in this process.

    The real one is exercised by tests/workers; here it stands in at this one border.
    """

    def __init__(self, dim: int) -> None:
        self.vector = np.eye(1, dim, dtype=np.float32)[0]
        self.sent: list[tuple[Job, tuple[object, ...]]] = []
        self.raises: Exception | None = None

    def send(self, job: Job, *args: object, delay: float | None = None) -> None:
        self.sent.append((job, args))

    def ask(self, job: Job, *args: object, timeout: float) -> object:
        if self.raises is not None:
            raise self.raises
        return base64.b64encode(self.vector.astype("<f4").tobytes()).decode()

    def lengths(self) -> dict[str, tuple[int, int]]:
        return {"discover": (1, 0), "ingest": (3, 1), "graph": (0, 0), "query": (0, 0)}


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """What Vite would have written, with one hashed file an entry."""
    folder = tmp_path / "static"
    assets = folder / "dist" / "assets"
    assets.mkdir(parents=True)
    (folder / "icon.svg").write_text("<svg/>")
    manifest: dict[str, Any] = {}
    for entry in ENTRIES:
        (assets / f"{entry}-abc123.js").write_text("export {};" * 200)
        manifest[f"src/pages/{entry}.ts"] = {
            "file": f"assets/{entry}-abc123.js",
            "isEntry": True,
            "css": [f"assets/{entry}-abc123.css"],
        }
    (folder / "dist" / ".vite").mkdir()
    (folder / "dist" / ".vite" / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def image_model() -> ModelInfo:
    return profile_models("pocket")[0]


@pytest.fixture
def queue(image_model: ModelInfo) -> FixedVectorQueue:
    return FixedVectorQueue(image_model.dim)


@pytest.fixture
def web_settings(settings: Settings) -> Settings:
    return replace(settings, host="127.0.0.1", port=8765)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=2)
    yield engine
    engine.dispose()


@pytest.fixture
def application(web_settings: Settings, queue: FixedVectorQueue, static: Path) -> Starlette:
    return create_app(web_settings, jobs=queue, static=static)


@pytest.fixture
def anonymous(application: Starlette) -> Iterator[TestClient]:
    """A browser that never signed in."""
    with TestClient(application, base_url=ADDRESS, follow_redirects=False) as client:
        yield client


@pytest.fixture
def visitor(application: Starlette, anonymous: TestClient) -> Callable[[], TestClient]:
    """Makes further browsers of the same running application, each with cookies of its own."""
    return lambda: _sharing_loop(application, anonymous)


def _sharing_loop(application: Starlette, running: TestClient) -> TestClient:
    client = TestClient(application, base_url=ADDRESS, follow_redirects=False)
    client.portal = running.portal
    return client


def csrf_of(html: str) -> str:
    """The token that a page carries for its scripts."""
    found = re.search(r'<meta name="csrf-token" content="([^"]*)"', html)
    assert found is not None
    return found[1]


def sign_in(client: TestClient, name: str = NAME, password: str = PASSWORD) -> Any:
    token = csrf_of(client.get("/login").text)
    form = {"name": name, "password": password, "next": "/events", "csrf_token": token}
    return client.post("/login", data=form)


@pytest.fixture
def owner(visitor: Callable[[], TestClient], engine: Engine) -> TestClient:
    """A browser in which the owner has signed in; `X-CSRF-Token` is set as our scripts set it."""
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
        accounts.use_welcome_link(session, link, NAME, PASSWORD)
    client = visitor()
    assert sign_in(client).status_code == 303
    client.headers["X-CSRF-Token"] = csrf_of(client.get("/events").text)
    return client


@dataclass(frozen=True)
class Tokens:
    read: str
    write: str


@pytest.fixture
def tokens(engine: Engine) -> Tokens:
    with session_scope(engine) as session:
        read = accounts.create_token(session, "reader", "read")[1]
        write = accounts.create_token(session, "writer", "write")[1]
    return Tokens(read, write)


@pytest.fixture
def api(anonymous: TestClient, tokens: Tokens) -> TestClient:
    """A script with a write token."""
    anonymous.headers["Authorization"] = f"Bearer {tokens.write}"
    anonymous.base_url = anonymous.base_url.join("/api/v1/")
    return anonymous


@pytest.fixture
def blobs(web_settings: Settings) -> BlobStore:
    return BlobStore.in_folder(web_settings.home / "blobs")


@dataclass
class Seeder:
    """Puts indexed photos with thumbnails and vectors into an event, as an ingest would."""

    engine: Engine
    blobs: BlobStore
    model: ModelInfo

    def event(self, name: str) -> Event:
        with session_scope(self.engine) as session:
            return create_event(session, name)

    def photos(self, event: Event, count: int, *, start: datetime | None = None) -> list[int]:
        """`count` photos a minute apart from `start`; without it they carry no capture time.

        The n-th looks less like the query vector than the one before it.
        """
        ids: list[int] = []
        with session_scope(self.engine) as session:
            source = Source(event_id=event.id, kind="list", uri=secrets.token_hex(8))
            session.add(source)
            session.flush()
            for n in range(count):
                data = secrets.token_bytes(20)
                thumb = hashlib.sha256(data).hexdigest()
                self.blobs.put(thumb_key(thumb), data)
                photo = Photo(
                    event_id=event.id,
                    source_id=source.id,
                    source_key=f"{source.uri}/{n}",
                    uri=f"https://photos.example/{source.id}/IMG_{n:04d}.jpg",
                    state="indexed",
                    indexed_at=datetime.now(UTC),
                    width=6000,
                    height=4000,
                    size=8_000_000,
                    taken_at=start + timedelta(minutes=n) if start else None,
                    thumb=thumb,
                    camera="Canon EOS R5",
                )
                session.add(photo)
                session.flush()
                ids.append(photo.id)
            vectors = np.zeros((count, self.model.dim), np.float32)
            vectors[:, 0] = np.linspace(1.0, 0.2, count)
            vectors[:, 1] = 1.0
            number = model_number(session, self.model)
            rows = zip(ids, [event.id] * count, normalised(vectors), strict=True)
            store_photo_vectors(session, number, rows)
        return ids


@pytest.fixture
def seed(engine: Engine, blobs: BlobStore, image_model: ModelInfo) -> Seeder:
    return Seeder(engine, blobs, image_model)


@pytest.fixture
def festival(seed: Seeder) -> tuple[Event, list[int]]:
    """An event with five photos."""
    event = seed.event("Summer festival")
    return event, seed.photos(event, 5, start=datetime(2026, 7, 4, 18, 0))  # noqa: DTZ001


@pytest.fixture
def heard(redis_url: str) -> Iterator[Callable[[], list[int]]]:
    """Gives the events of which open pages were told since the test began."""
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        assert pubsub.get_message(timeout=5) is not None  # the subscription itself

        def listen() -> list[int]:
            found = []
            while (message := pubsub.get_message(timeout=0.5)) is not None:
                found.append(json.loads(message["data"])[0])
            return found

        yield listen
