"""Visual clusters as the Scenes page and the API show them, and their own names."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import load_only
from sqlmodel import Session, col, select

from app.core.errors import BadInput, UnknownCluster
from app.storage.gallery import TILE
from app.storage.tables import Photo
from app.storage.tables_graph import Cluster, ClusterLevel

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Scene:
    """`cover`: None while its photo is away."""

    cluster: Cluster
    cover: Photo | None

    @property
    def name(self) -> str:
        return self.cluster.own_name or self.cluster.name


def scenes(session: Session, event_id: int, level: ClusterLevel | None = None) -> list[Scene]:
    """An event's clusters in order of time, chapters before their scenes; those without times last,
    by size."""
    query = select(Cluster, Photo).where(Cluster.event_id == event_id)
    if level is not None:
        query = query.where(Cluster.level == level)
    rows = session.exec(
        query.options(load_only(*TILE)).join(
            Photo, col(Photo.id) == col(Cluster.cover_id), isouter=True
        )
    ).all()
    made = [Scene(cluster, cover) for cluster, cover in rows]
    return sorted(made, key=_order)


def _order(scene: Scene) -> tuple[bool, float, int, int]:
    cluster = scene.cluster
    when = cluster.first_at.timestamp() if cluster.first_at else 0.0
    return (cluster.first_at is None, when, -cluster.size, cluster.id)


def scene_of(session: Session, event_id: int, cluster_id: int) -> Scene:
    """A cluster of the event. Raises UnknownCluster."""
    cluster = session.get(Cluster, cluster_id)
    if cluster is None or cluster.event_id != event_id:
        raise UnknownCluster(cluster_id)
    return Scene(cluster, None)


def rename(session: Session, cluster_id: int, name: str) -> Cluster:
    """Give a cluster the owner's name; an empty one gives back the name that was found for it.

    Raises UnknownCluster, BadInput.
    """
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        raise BadInput(f"A name has at most {LONGEST_NAME} characters.")
    if not name.isprintable():
        raise BadInput("A name can't hold control characters.")
    cluster = session.get(Cluster, cluster_id, with_for_update=True)
    if cluster is None:
        raise UnknownCluster(cluster_id)
    cluster.own_name = name or None
    session.add(cluster)
    session.flush()
    return cluster
