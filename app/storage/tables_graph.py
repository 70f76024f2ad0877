"""Tables of what is built from the vectors: edges, groups, clusters, layouts; and of decisions.

Everything but `decision`, the owner's names of clusters and the sensitivity is derived, and can be
built again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.storage.tables import event_ref, model_ref, moment, photo_ref, row_id


class EdgeKind(StrEnum):
    """`knn`: to the nearest photos of the same event. `across`: to the nearest of linked events."""

    KNN = "knn"
    ACROSS = "across"


class GroupKind(StrEnum):
    """From the narrowest to the widest: a group of one kind lies wholly in one of the next."""

    EXACT = "exact"
    BURST = "burst"
    LOOKALIKE = "lookalike"


class ClusterLevel(StrEnum):
    """A scene lies wholly in one chapter."""

    CHAPTER = "chapter"
    SCENE = "scene"


def _plain(kind: Any = BigInteger) -> Any:
    """A column without a foreign key, which would be looked up for each of millions of rows: a
    trigger on `photo` deletes what would dangle (migration 0003)."""
    return Field(sa_column=Column(kind, nullable=False))


class EventLink(SQLModel, table=True):
    """The owner wants photos of both events to find each other. Stored both ways."""

    __tablename__ = "event_link"
    __table_args__ = (PrimaryKeyConstraint("event_id", "other_id"),)

    event_id: int = event_ref()
    other_id: int = event_ref(index=True)


class Edge(SQLModel, table=True):
    """A directed nearest-neighbour edge from a photo of the event; `weight` is the cosine
    similarity."""

    __tablename__ = "edge"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "src", "kind", "dst"),
        Index("edge_by_dst", "dst"),
    )

    event_id: int = _plain()
    kind: str = Field(sa_column=Column(Text, nullable=False))
    src: int = _plain()
    dst: int = _plain()
    model: int = _plain(SmallInteger)
    weight: float = Field(sa_column=Column(REAL, nullable=False))


class PhotoPair(SQLModel, table=True):
    """Two photos, a < b, that are alike enough to be worth a closer look, and what that showed.

    `similarity`: cosine of their vectors. `structure`: normalised correlation of the aligned
    pictures, -1 to 1. `mirrored`: the alignment needed a mirror. `hash_distance`: bits of the
    perceptual hashes that differ. `same_frame`: the thumbnails show one and the same frame.
    """

    __tablename__ = "photo_pair"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "a", "b"),
        Index("photo_pair_by_b", "b"),
    )

    event_id: int = _plain()
    a: int = _plain()
    b: int = _plain()
    similarity: float = Field(sa_column=Column(REAL, nullable=False))
    structure: float = Field(sa_column=Column(REAL, nullable=False))
    mirrored: bool = Field(sa_column=Column(Boolean, nullable=False))
    hash_distance: int = Field(sa_column=Column(SmallInteger, nullable=False))
    same_frame: bool = Field(sa_column=Column(Boolean, nullable=False))


class Grouping(SQLModel, table=True):
    """How an event's groups were made. `sensitivity` is the owner's, 0 to 100; `counts` tells for
    each step of it how many groups and photos of each kind there would be."""

    __tablename__ = "grouping"

    event_id: int = Field(
        sa_column=Column(
            BigInteger,
            ForeignKey("event.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        )
    )
    sensitivity: int = Field(
        default=50, sa_column=Column(SmallInteger, nullable=False, server_default=text("50"))
    )
    counts: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    built_at: datetime | None = moment()


class PhotoGroup(SQLModel, table=True):
    """A group of one kind with its best frame; `reason` says in words why that is the best."""

    __tablename__ = "photo_group"
    __table_args__ = (Index("photo_group_by_event", "event_id", "kind", "id"),)

    id: int = row_id()
    event_id: int = event_ref()
    kind: str = Field(sa_column=Column(Text, nullable=False))
    best_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("photo.id", ondelete="SET NULL"), index=True),
    )
    size: int = Field(sa_column=Column(Integer, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))


class PhotoGroupMember(SQLModel, table=True):
    """A photo is in at most one group of each kind. `rank` 0 is the best frame.

    `similarity`: to the group's best frame. `reason`: why it is in the group, and what it is worse
    in, in words.
    """

    __tablename__ = "photo_group_member"
    __table_args__ = (
        PrimaryKeyConstraint("group_id", "photo_id"),
        UniqueConstraint("photo_id", "kind"),
    )

    group_id: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("photo_group.id", ondelete="CASCADE"), nullable=False
        )
    )
    photo_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("photo.id", ondelete="CASCADE"), nullable=False)
    )
    kind: str = Field(sa_column=Column(Text, nullable=False))
    rank: int = Field(sa_column=Column(Integer, nullable=False))
    similarity: float = Field(sa_column=Column(REAL, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))


class Cluster(SQLModel, table=True):
    """A visual cluster. `number` is its colour: unique within event and level, and kept while the
    event grows. `words` are what it was named from, best first; `own_name` is the owner's."""

    __tablename__ = "cluster"
    __table_args__ = (UniqueConstraint("event_id", "level", "number"),)

    id: int = row_id()
    event_id: int = event_ref()
    level: str = Field(sa_column=Column(Text, nullable=False))
    parent_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("cluster.id", ondelete="CASCADE"), index=True),
    )
    number: int = Field(sa_column=Column(Integer, nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    words: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    own_name: str | None = Field(default=None, sa_column=Column(Text))
    size: int = Field(sa_column=Column(Integer, nullable=False))
    cover_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("photo.id", ondelete="SET NULL"), index=True),
    )
    first_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=False)))
    last_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=False)))


class ClusterMember(SQLModel, table=True):
    __tablename__ = "cluster_member"
    __table_args__ = (PrimaryKeyConstraint("photo_id", "level"),)

    photo_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("photo.id", ondelete="CASCADE"), nullable=False)
    )
    level: str = Field(sa_column=Column(Text, nullable=False))
    cluster_id: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("cluster.id", ondelete="CASCADE"), nullable=False, index=True
        )
    )


class Layout(SQLModel, table=True):
    """A finished 3D layout of an event, one of its named spaces.

    `version` is the content hash of its point cloud blob. `fit` numbers the refits: layouts of one
    fit differ only by photos that came and went. `fitted`: photos it was fitted on, `placed`: those
    placed among them since. `trustworthiness`: of the fit (Venna & Kaski, 2001).
    """

    __tablename__ = "layout"
    __table_args__ = (Index("layout_by_event", "event_id", "name", "id"),)

    id: int = row_id()
    event_id: int = event_ref()
    name: str = Field(sa_column=Column(Text, nullable=False))
    version: str = Field(sa_column=Column(Text, nullable=False))
    model: int = model_ref()
    count: int = Field(sa_column=Column(Integer, nullable=False))
    bounds: list[float] = Field(sa_column=Column(ARRAY(REAL), nullable=False))
    fit: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default=text("1")))
    fitted: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    placed: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )
    trustworthiness: float | None = Field(default=None, sa_column=Column(REAL))
    created_at: datetime = moment(required=True)


class LayoutPoint(SQLModel, table=True):
    __tablename__ = "layout_point"
    __table_args__ = (PrimaryKeyConstraint("layout_id", "photo_id"),)

    layout_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("layout.id", ondelete="CASCADE"), nullable=False)
    )
    photo_id: int = photo_ref()
    x: float = Field(sa_column=Column(REAL, nullable=False))
    y: float = Field(sa_column=Column(REAL, nullable=False))
    z: float = Field(sa_column=Column(REAL, nullable=False))


class Decision(SQLModel, table=True):
    """Append-only: what the owner decided about a photo, and what was so before.

    `field`: flag | kept | best. `batch` is one action of a person, undone as one; `undone` is the
    undoing's own number from the same sequence. The newest decision that is not undone counts.
    """

    __tablename__ = "decision"
    __table_args__ = (
        Index("decision_by_photo", "photo_id", "field", "id"),
        Index("decision_by_batch", "batch"),
        Index("decision_by_event", "event_id", "id"),
    )

    id: int = row_id()
    batch: int = Field(sa_column=Column(BigInteger, nullable=False))
    event_id: int = event_ref()
    photo_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("photo.id", ondelete="CASCADE"), nullable=False)
    )
    field: str = Field(sa_column=Column(Text, nullable=False))
    value: int = Field(sa_column=Column(SmallInteger, nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = moment(required=True)
    undone: int | None = Field(default=None, sa_column=Column(BigInteger))
