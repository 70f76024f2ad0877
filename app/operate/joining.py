"""May this process work for the installation? Asked once at the start of every web server and worker.

A process with another schema, secret key or blob store would do damage that shows much later:
rows that nobody can read, credentials that nobody can open, photos without thumbnails.
"""

from __future__ import annotations

import secrets
import time

import psycopg
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from app.core.errors import BadInput, ServiceDown
from app.embedded.postgres import libpq_url
from app.settings import Settings
from app.storage import migrate
from app.storage.blobs import BlobStore, open_blobs
from app.storage.engine import make_engine, session_scope
from app.storage.sealing import Sealer, secret_key
from app.storage.tables_access import Installation

PATIENCE_SECONDS = 60.0
"""How long a start waits for PostgreSQL, which may be starting too."""
MARK = "installation"
"""Key of the blob that says whose store it is."""
_FACT = "blob store"
_PAUSE_SECONDS = 0.5


def join(settings: Settings, *, patience: float = PATIENCE_SECONDS) -> None:
    """Check schema, secret key and blob store against the installation's.

    Raises BadInput with the cure where one is another, ServiceDown where PostgreSQL or the blob
    store stays away for `patience` seconds.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            return _join(settings)
        except ServiceDown:
            if time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE_SECONDS)


def _join(settings: Settings) -> None:
    url = settings.database_url or ""
    migrate.require(url)
    engine = make_engine(url, pool_size=1, application="clairvision start")
    try:
        with session_scope(engine) as session:
            check_key(session, settings)
            check_blobs(session, open_blobs(settings.home, settings.blobs_url))
    finally:
        engine.dispose()


def check_key(session: Session, settings: Settings) -> None:
    """Raises BadInput where credentials are sealed with another key; the first process decides."""
    try:
        Sealer(secret_key(settings.home, settings.secret_key)).check(session)
    except BadInput as error:
        raise BadInput(
            error.message, cure=f"{error.cure} If it was lost: `clairvision migrate --adopt-key`."
        ) from error


def adopt_key(engine: Engine, settings: Settings) -> None:
    """Make this process's secret key the installation's. Stored credentials that were sealed with
    another can't be read any more: their owners enter them again."""
    with session_scope(engine) as session:
        Sealer(secret_key(settings.home, settings.secret_key)).adopt(session)


def check_blobs(session: Session, blobs: BlobStore, *, claim: bool = True) -> None:
    """Raises BadInput where the installation's blobs lie elsewhere; the first process decides.

    Without `claim` nothing is decided.
    """
    fresh = claim and _decide(session)
    row = session.get(Installation, _FACT)
    if row is None:
        return
    mark = _mark_of(blobs)
    if mark == bytes(row.value):
        return
    if mark is not None:
        raise BadInput(
            "The blob store belongs to another installation.",
            cure="Give CLAIR_BLOBS_URL a folder or prefix of its own. If that installation is gone: "
            "`clairvision migrate --adopt-blobs`.",
        )
    if not fresh:
        raise BadInput(
            "The blob store of this process is not the installation's.",
            cure="Set the same CLAIR_BLOBS_URL on every machine, and see that all of them reach it. "
            "If the blobs were moved or lost: `clairvision migrate --adopt-blobs`.",
        )
    # Before the commit: whoever waits for our row then finds the mark, or another store.
    blobs.put(MARK, bytes(row.value))


def _decide(session: Session) -> bool:
    """Whether this process is the first to say which blob store is the installation's."""
    decided = session.connection().execute(
        insert(Installation)
        .values(name=_FACT, value=secrets.token_bytes(16))
        .on_conflict_do_nothing()
        .returning(col(Installation.name))
    )
    return decided.first() is not None


def adopt_blobs(engine: Engine, blobs: BlobStore) -> None:
    """Make this blob store the installation's, whatever either was before."""
    with session_scope(engine) as session:
        value = _mark_of(blobs) or secrets.token_bytes(16)
        session.connection().execute(
            insert(Installation)
            .values(name=_FACT, value=value)
            .on_conflict_do_update(index_elements=["name"], set_={"value": value})
        )
        blobs.put(MARK, value)


def _mark_of(blobs: BlobStore) -> bytes | None:
    try:
        return blobs.get(MARK)
    except KeyError:
        return None


def clock_skew(database_url: str) -> float:
    """Seconds by which this machine's clock is ahead of PostgreSQL's. Raises ServiceDown."""
    try:
        with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
            before = time.time()
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
            after = time.time()
    except psycopg.Error as error:
        raise ServiceDown("PostgreSQL can't be reached.") from error
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return (before + after) / 2 - float(row[0])
