"""Tables of the walk: events, sources, photos, vectors, faces, runs.

What is built from the vectors is in tables_graph.py, accounts and operation in tables_access.py.
The schema itself is made by app/storage/migrations; tests/storage checks that the two agree.
"""

from __future__ import annotations

from datetime import date as Date
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy import (
    Date as SqlDate,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class RunKind(StrEnum):
    """`ingest`, and the stages that follow it, each of which reads what the one before has stored."""

    INGEST = "ingest"
    GRAPH = "graph"
    GROUPS = "groups"
    CLUSTERS = "clusters"
    LAYOUT = "layout"


STAGES = (RunKind.GRAPH, RunKind.GROUPS, RunKind.CLUSTERS, RunKind.LAYOUT)
"""In the order of the walk."""


class RunState(StrEnum):
    """pending → working ⇄ paused, and from each of them → done, failed or cancelled."""

    PENDING = "pending"
    WORKING = "working"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_RUNS = (RunState.PENDING, RunState.WORKING, RunState.PAUSED)


def row_id() -> Any:
    return Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )


def moment(*, required: bool = False) -> Any:
    column: Column[datetime] = Column(
        DateTime(timezone=True),
        nullable=not required,
        server_default=func.now() if required else None,
    )
    return Field(default=None, sa_column=column)


def event_ref(*, index: bool = False) -> Any:
    return Field(
        sa_column=Column(
            BigInteger, ForeignKey("event.id", ondelete="CASCADE"), nullable=False, index=index
        )
    )


class Model(SQLModel, table=True):
    """An encoder whose vectors are stored; `number` is its partition."""

    __tablename__ = "model"

    number: int = Field(default=None, sa_column=Column(SmallInteger, Identity(), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    dim: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = moment(required=True)


class Event(SQLModel, table=True):
    __tablename__ = "event"
    __table_args__ = (
        CheckConstraint(
            "NOT faces_on OR (faces_purpose <> '' AND faces_decided_at IS NOT NULL)",
            name="event_faces_need_consent",
        ),
    )

    id: int = row_id()
    slug: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    date: Date | None = Field(default=None, sa_column=Column(SqlDate))
    created_at: datetime = moment(required=True)
    faces_on: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    faces_purpose: str = Field(
        default="", sa_column=Column(Text, nullable=False, server_default=text("''"))
    )
    faces_policy: str = Field(
        default="", sa_column=Column(Text, nullable=False, server_default=text("''"))
    )
    faces_retention_days: int | None = Field(default=None, sa_column=Column(Integer))
    faces_decided_by: str | None = Field(default=None, sa_column=Column(Text))
    faces_decided_at: datetime | None = moment()


class Source(SQLModel, table=True):
    """A place that photos of an event are read from.

    `options` are the kind's own, for everybody to see; `sealed` its credentials, encrypted
    (app/storage/sealing.py). `scanned_at` is when it was last read to its end, `trouble` why the
    last attempt could not; `next_scan_at` is set while `rescan_seconds` schedules rescans.
    """

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("event_id", "kind", "uri"),
        Index("source_due", "next_scan_at", postgresql_where=text("next_scan_at IS NOT NULL")),
    )

    id: int = row_id()
    event_id: int = event_ref()
    kind: str = Field(sa_column=Column(Text, nullable=False))
    uri: str = Field(sa_column=Column(Text, nullable=False))
    options: dict[str, str] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    rescan_seconds: int | None = Field(default=None, sa_column=Column(Integer))
    next_scan_at: datetime | None = moment()
    scanned_at: datetime | None = moment()
    trouble: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = moment(required=True)


class Run(SQLModel, table=True):
    """One piece of long work on one event: an ingest of a source, or a stage that follows it.

    `lease` is the fencing number: every claim raises it, and a write that carries an older one
    changes nothing. `discovered`, `unchanged` and `duplicates` belong to ingests and are complete
    once `discovery_done`; all other counts are read from the photos themselves while the run is
    open, and kept in `summary` once it is done (a later run may take the photos over).
    `moved` and `gone` are what a rescan found out at its end. `served_at` is when a worker last
    took photos of it, by which events share the workers. `progress` is a stage's own, 0 to 1.
    """

    __tablename__ = "run"
    __table_args__ = (
        Index("run_by_event", "event_id", "kind", "id"),
        Index(
            "run_open",
            "lease_until",
            postgresql_where=text("state IN ('pending', 'working')"),
        ),
        Index(
            "run_one_pending_stage",
            "event_id",
            "kind",
            unique=True,
            postgresql_where=text("state = 'pending' AND kind <> 'ingest'"),
        ),
    )

    id: int = row_id()
    event_id: int = event_ref()
    source_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("source.id", ondelete="CASCADE"))
    )
    parent_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("run.id", ondelete="SET NULL"))
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(
        default=RunState.PENDING,
        sa_column=Column(Text, nullable=False, server_default=text("'pending'")),
    )
    lease: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    lease_until: datetime | None = moment()
    attempts: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    message: str = Field(
        default="", sa_column=Column(Text, nullable=False, server_default=text("''"))
    )
    discovery_done: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    discovered: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    unchanged: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    duplicates: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    moved: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    gone: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    summary: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    served_at: datetime | None = moment()
    progress: float | None = Field(default=None, sa_column=Column(REAL))
    created_at: datetime = moment(required=True)
    started_at: datetime | None = moment()
    finished_at: datetime | None = moment()


class Photo(SQLModel, table=True):
    """The ledger of photos: state, lease, attempts and reason live in the row itself.

    `taken_at` is the camera's wall clock, without zone; `taken_offset` its distance from UTC in
    minutes where the camera recorded one. `width` and `height` are the upright original's pixels.
    `phash` is the 64-bit perceptual hash as a signed integer, `structure` a small grey picture by
    which copies are verified (app/graph/structure.py).

    Once `indexed_at` is set the photo is in the gallery, and it stays there while it is fetched
    anew, whatever its state. `health` is what is wrong with its original (a reason of
    app/core/failures.py), None while it is well; `gone_at` since when its source no longer lists it.

    `flag` (1 pick, -1 reject), `kept_at` (it stays, whatever resembles it) and `best_at` (the best
    of whatever group it is in) are the owner's decisions as the table `decision` adds them up.
    """

    __tablename__ = "photo"
    __table_args__ = (
        UniqueConstraint("event_id", "source_key"),
        Index("photo_open", "retry_at", postgresql_where=text("state IN ('pending', 'retry')")),
        Index("photo_leased", "lease_until", postgresql_where=text("state = 'working'")),
        Index("photo_by_run", "run_id", "state"),
        Index(
            "photo_gallery",
            "event_id",
            "taken_key",
            "id",
            postgresql_where=text("indexed_at IS NOT NULL"),
        ),
        Index(
            "photo_waiting",
            "run_id",
            "id",
            postgresql_where=text("state IN ('pending', 'retry')"),
        ),
        Index("photo_by_source", "source_id"),
        Index(
            "photo_by_content",
            "event_id",
            "sha256",
            postgresql_where=text("sha256 IS NOT NULL"),
        ),
    )

    id: int = row_id()
    event_id: int = event_ref(index=False)
    source_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("source.id", ondelete="CASCADE"), nullable=False)
    )
    run_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("run.id", ondelete="SET NULL"))
    )
    source_key: str = Field(sa_column=Column(Text, nullable=False))
    uri: str = Field(sa_column=Column(Text, nullable=False))
    title: str | None = Field(default=None, sa_column=Column(Text))
    photographer: str | None = Field(default=None, sa_column=Column(Text))
    listed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=False)))
    listed_width: int | None = Field(default=None, sa_column=Column(Integer))
    listed_height: int | None = Field(default=None, sa_column=Column(Integer))
    state: str = Field(
        default="pending", sa_column=Column(Text, nullable=False, server_default=text("'pending'"))
    )
    lease: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    lease_until: datetime | None = moment()
    attempts: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    deaths: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    retry_at: datetime | None = moment()
    reason: str | None = Field(default=None, sa_column=Column(Text))
    message: str | None = Field(default=None, sa_column=Column(Text))
    version: str | None = Field(default=None, sa_column=Column(Text))
    size: int | None = Field(default=None, sa_column=Column(BigInteger))
    sha256: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    phash: int | None = Field(default=None, sa_column=Column(BigInteger))
    format: str | None = Field(default=None, sa_column=Column(Text))
    width: int | None = Field(default=None, sa_column=Column(Integer))
    height: int | None = Field(default=None, sa_column=Column(Integer))
    taken_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=False)))
    taken_offset: int | None = Field(default=None, sa_column=Column(SmallInteger))
    taken_key: datetime | None = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=False),
            Computed("coalesce(taken_at, '9999-12-31'::timestamp)", persisted=True),
        ),
    )
    camera: str | None = Field(default=None, sa_column=Column(Text))
    lens: str | None = Field(default=None, sa_column=Column(Text))
    exposure_time: float | None = Field(default=None, sa_column=Column(REAL))
    f_number: float | None = Field(default=None, sa_column=Column(REAL))
    iso: int | None = Field(default=None, sa_column=Column(Integer))
    focal_length: float | None = Field(default=None, sa_column=Column(REAL))
    latitude: float | None = Field(default=None, sa_column=Column(Double))
    longitude: float | None = Field(default=None, sa_column=Column(Double))
    sharpness: float | None = Field(default=None, sa_column=Column(REAL))
    exposure: float | None = Field(default=None, sa_column=Column(REAL))
    clipped: float | None = Field(default=None, sa_column=Column(REAL))
    thumb: str | None = Field(default=None, sa_column=Column(Text))
    structure: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    flag: int = Field(
        default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0"))
    )
    kept_at: datetime | None = moment()
    best_at: datetime | None = moment()
    created_at: datetime = moment(required=True)
    fetched_at: datetime | None = moment()
    indexed_at: datetime | None = moment()
    faces_at: datetime | None = moment()
    changed_at: datetime | None = moment()
    gone_at: datetime | None = moment()
    health: str | None = Field(default=None, sa_column=Column(Text))
    health_message: str | None = Field(default=None, sa_column=Column(Text))
    health_at: datetime | None = moment()


def photo_ref() -> Any:
    return Field(
        sa_column=Column(
            BigInteger, ForeignKey("photo.id", ondelete="CASCADE"), nullable=False, index=True
        )
    )


class PhotoRendition(SQLModel, table=True):
    """Another file of the same picture: the RAW or HEIC beside a JPEG."""

    __tablename__ = "photo_rendition"
    __table_args__ = (UniqueConstraint("event_id", "key"),)

    id: int = row_id()
    photo_id: int = photo_ref()
    event_id: int = event_ref()
    key: str = Field(sa_column=Column(Text, nullable=False))
    uri: str = Field(sa_column=Column(Text, nullable=False))
    version: str | None = Field(default=None, sa_column=Column(Text))
    size: int | None = Field(default=None, sa_column=Column(BigInteger))


def model_ref() -> Any:
    return Field(sa_column=Column(SmallInteger, ForeignKey("model.number"), nullable=False))


class PhotoVector(SQLModel, table=True):
    """One embedding a photo and model, unit length, partitioned by model."""

    __tablename__ = "photo_vector"
    __table_args__ = (
        PrimaryKeyConstraint("model", "photo_id"),
        Index("photo_vector_by_event", "event_id"),
        {"postgresql_partition_by": "LIST (model)"},
    )

    model: int = model_ref()
    photo_id: int = photo_ref()
    event_id: int = event_ref()
    vector: Any = Field(sa_column=Column(HALFVEC, nullable=False))


class Face(SQLModel, table=True):
    """A face found in a photo. The box and the five landmarks are fractions of width and height."""

    __tablename__ = "face"

    id: int = row_id()
    photo_id: int = photo_ref()
    event_id: int = event_ref(index=True)
    box_left: float = Field(sa_column=Column(REAL, nullable=False))
    box_top: float = Field(sa_column=Column(REAL, nullable=False))
    box_right: float = Field(sa_column=Column(REAL, nullable=False))
    box_bottom: float = Field(sa_column=Column(REAL, nullable=False))
    score: float = Field(sa_column=Column(REAL, nullable=False))
    landmarks: list[float] = Field(sa_column=Column(ARRAY(REAL), nullable=False))
    sharpness: float | None = Field(default=None, sa_column=Column(REAL))
    frontal: float | None = Field(default=None, sa_column=Column(REAL))


class FaceVector(SQLModel, table=True):
    """One identity embedding a face and model; exists only while the event allows it."""

    __tablename__ = "face_vector"
    __table_args__ = (
        PrimaryKeyConstraint("model", "face_id"),
        Index("face_vector_by_event", "event_id"),
        {"postgresql_partition_by": "LIST (model)"},
    )

    model: int = model_ref()
    face_id: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("face.id", ondelete="CASCADE"), nullable=False, index=True
        )
    )
    event_id: int = event_ref()
    vector: Any = Field(sa_column=Column(HALFVEC, nullable=False))
