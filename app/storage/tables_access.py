"""Tables of accounts and operation: owners, sessions, tokens, one-time links, audit, workers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlmodel import Field, SQLModel

from app.storage.tables import moment, row_id


class Owner(SQLModel, table=True):
    __tablename__ = "owner"

    id: int = row_id()
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    password_hash: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = moment(required=True)


class OwnerSession(SQLModel, table=True):
    """A signed-in browser. Only the SHA-256 of the 256-bit cookie secret is kept."""

    __tablename__ = "owner_session"

    secret_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    owner_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("owner.id", ondelete="CASCADE"), nullable=False)
    )
    csrf: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = moment(required=True)
    seen_at: datetime = moment(required=True)
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class WelcomeLink(SQLModel, table=True):
    """The one-time link that makes the first owner; only its hash is kept."""

    __tablename__ = "welcome_link"

    secret_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    created_at: datetime = moment(required=True)
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    used_at: datetime | None = moment()


class ApiToken(SQLModel, table=True):
    """`prefix` is shown to people; only the SHA-256 of the whole token is kept."""

    __tablename__ = "api_token"

    id: int = row_id()
    name: str = Field(sa_column=Column(Text, nullable=False))
    scope: str = Field(sa_column=Column(Text, nullable=False))
    prefix: str = Field(sa_column=Column(Text, nullable=False))
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    created_at: datetime = moment(required=True)
    last_used_at: datetime | None = moment()
    revoked_at: datetime | None = moment()


class Audit(SQLModel, table=True):
    """Append-only and hash-chained: `hash` = SHA-256(previous hash ‖ the entry's fields)."""

    __tablename__ = "audit"

    id: int = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now())
    )
    actor: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    object: str = Field(sa_column=Column(Text, nullable=False))
    result: str = Field(sa_column=Column(Text, nullable=False))
    previous: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Installation(SQLModel, table=True):
    """Facts of the whole installation, such as by which key its credentials are sealed."""

    __tablename__ = "installation"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Worker(SQLModel, table=True):
    """Heartbeat of one worker process.

    `state`: starting | working | draining. `done` counts the photos that it finished since its
    start, `recent` those of the last minute.
    """

    __tablename__ = "worker"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    queues: str = Field(sa_column=Column(Text, nullable=False))
    started_at: datetime = moment(required=True)
    seen_at: datetime = moment(required=True)
    version: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    state: str = Field(
        default="working", sa_column=Column(Text, nullable=False, server_default="working")
    )
    done: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0"))
    )
    recent: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
