"""Neighbours hop by hop over the stored edges. Light: the web process walks, workers build."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import BadInput
from app.storage.tables_graph import EdgeKind

MOST_HOPS = 4
MOST_NODES = 500


@dataclass(frozen=True, slots=True)
class Node:
    """A photo that was reached: in `depth` hops, from `parent`, over an edge of this weight."""

    photo_id: int
    depth: int
    parent: int
    weight: float


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two photos of the walk, src < dst, by whichever kind is the strongest."""

    src: int
    dst: int
    weight: float
    kind: str


@dataclass(frozen=True, slots=True)
class Walk:
    """`nodes` by depth, then the strongest first, without the start; `links` among them and it."""

    start: int
    nodes: list[Node]
    links: list[Link]


def walk(
    session: Session,
    photo_id: int,
    *,
    depth: int = 1,
    kinds: Collection[EdgeKind] = (EdgeKind.KNN,),
    limit: int = 50,
) -> Walk:
    """Breadth first from a photo, edges taken both ways; each hop adds its strongest photos first.

    Raises BadInput for more than MOST_HOPS hops or MOST_NODES photos.
    """
    if not 1 <= depth <= MOST_HOPS:
        raise BadInput(f"A walk is 1 to {MOST_HOPS} hops deep, not {depth}.")
    if not 1 <= limit <= MOST_NODES:
        raise BadInput(f"A walk has 1 to {MOST_NODES} photos, not {limit}.")
    reached = {photo_id: Node(photo_id, 0, photo_id, 1.0)}
    frontier = [photo_id]
    for hop in range(1, depth + 1):
        best: dict[int, Node] = {}
        for src, dst, weight, _ in _edges(session, frontier, kinds):
            if dst not in reached and (dst not in best or best[dst].weight < weight):
                best[dst] = Node(dst, hop, src, weight)
        strongest = sorted(best.values(), key=lambda node: (-node.weight, node.photo_id))
        frontier = []
        for node in strongest[: limit + 1 - len(reached)]:
            reached[node.photo_id] = node
            frontier.append(node.photo_id)
        if not frontier:
            break
    links: dict[tuple[int, int], Link] = {}
    for src, dst, weight, kind in _edges(session, list(reached), kinds):
        pair = (min(src, dst), max(src, dst))
        if dst in reached and (pair not in links or links[pair].weight < weight):
            links[pair] = Link(*pair, weight, kind)
    nodes = sorted(reached.values(), key=lambda node: (node.depth, -node.weight, node.photo_id))
    return Walk(photo_id, nodes[1:], [links[pair] for pair in sorted(links)])


def _edges(
    session: Session, frontier: list[int], kinds: Collection[EdgeKind]
) -> list[tuple[int, int, float, str]]:
    rows = session.connection().execute(
        text(
            "WITH here AS (SELECT id, event_id FROM photo WHERE id = ANY(:ids))"
            " SELECT e.src, e.dst, e.weight, e.kind FROM here JOIN edge e"
            "   ON e.event_id = here.event_id AND e.src = here.id AND e.kind = ANY(:kinds)"
            " UNION ALL SELECT e.dst, e.src, e.weight, e.kind FROM here JOIN edge e"
            "   ON e.dst = here.id AND e.kind = ANY(:kinds)"
        ),
        {"ids": frontier, "kinds": [kind.value for kind in kinds]},
    )
    return [(row[0], row[1], float(row[2]), row[3]) for row in rows]
