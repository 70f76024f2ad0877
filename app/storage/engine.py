"""The engine and its sessions. One engine a process; made by the composition root, never at import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from pgvector.psycopg import register_vector
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from app.core.errors import DiskFull, Overloaded, ServiceDown

_DISK_FULL = "53100"

# What a machine that lost its network leaves behind must not hold the others up, nor itself once it
# is back. Our side: 15 s until an answer counts as lost, where libpq's default is the kernel's 15
# minutes. PostgreSQL's side: a transaction that says nothing for 15 s ends and frees its rows (none
# of ours thinks that long), and a dead connection is closed within a minute instead of two hours.
_DEAD_MS = 15_000
_CLIENT = {
    "connect_timeout": 5,
    "tcp_user_timeout": _DEAD_MS,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
_SERVER = {
    "idle_in_transaction_session_timeout": _DEAD_MS,
    "tcp_user_timeout": _DEAD_MS,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}


def make_engine(
    database_url: str, *, pool_size: int = 8, application: str = "clairvision"
) -> Engine:
    """An engine over psycopg with pgvector's types registered on every connection.

    A connection that broke while idle is replaced silently (`pool_pre_ping`), so that a restart of
    PostgreSQL costs one failed request at most.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={
            "application_name": application,
            **_CLIENT,
            "options": _options(url.query.get("options", "")),
        },
    )

    @event.listens_for(engine, "connect")
    def _register(connection, _record):  # type: ignore[no-untyped-def]
        register_vector(connection)

    return engine


def _options(given: str | Sequence[str]) -> str:
    """Settings of every session, the operator's own (`?options=…` in the address) last: they win."""
    own = given if isinstance(given, str) else " ".join(given)
    return " ".join([*(f"-c {name}={value}" for name, value in _SERVER.items()), own]).strip()


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on any error.

    Raises ServiceDown where PostgreSQL can't be reached, DiskFull where it can't write, Overloaded
    where every connection of the pool stays in use.
    """
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
            session.commit()
    except DBAPIError as error:
        raise translated(error) from error
    except PoolTimeout as error:
        raise Overloaded("All connections to PostgreSQL are in use.") from error


def translated(error: DBAPIError) -> Exception:
    """The deliberate error that SQLAlchemy's error stands for, or the error itself."""
    if isinstance(error.orig, psycopg.Error) and _state(error.orig) == _DISK_FULL:
        return service_error(error.orig)
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return service_error(error.orig)
    return error


def service_error(error: BaseException | None) -> DiskFull | ServiceDown:
    """What a driver's operational error means for people."""
    if _state(error) == _DISK_FULL:
        return DiskFull("PostgreSQL has no disk space left.", cure="Free some space, then retry.")
    return ServiceDown(
        "PostgreSQL can't be reached.", cure="It may be restarting: try again in a moment."
    )


def _state(error: BaseException | None) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state
