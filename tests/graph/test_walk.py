"""Walks over stored edges."""

from __future__ import annotations

import numpy as np
import pytest

from app.core.errors import BadInput
from app.graph.walk import walk
from app.storage.copying import copy_columns
from app.storage.engine import session_scope
from app.storage.tables_graph import EdgeKind
from tests.factories import index_photos, make_photos


@pytest.fixture
def chain(engine):
    """Photos 0 → 1 → 2 → 3 → 4, each edge weaker than the one before, and 5 → 0."""
    made = make_photos(engine, 6)
    index_photos(engine, made)
    ids = np.array(made.photo_ids)
    add(engine, made, ids[[0, 1, 2, 3, 5]], ids[[1, 2, 3, 4, 0]], [0.9, 0.8, 0.7, 0.6, 0.5])
    return made


def add(engine, made, src, dst, weights, kind=EdgeKind.KNN):
    with session_scope(engine) as session:
        copy_columns(
            session,
            "edge",
            {
                "event_id": made.event_id,
                "kind": kind.value,
                "src": np.array(src, np.int64),
                "dst": np.array(dst, np.int64),
                "model": np.full(len(weights), made.model, np.int16),
                "weight": np.array(weights, np.float32),
            },
        )


def reached(session, made, start, **options):
    found = walk(session, made.photo_ids[start], **options)
    return [(made.photo_ids.index(node.photo_id), node.depth) for node in found.nodes]


def test_hop_by_hop_both_ways_the_strongest_first(engine, chain):
    with session_scope(engine) as session:
        assert reached(session, chain, 0) == [(1, 1), (5, 1)]
        assert reached(session, chain, 0, depth=2) == [(1, 1), (5, 1), (2, 2)]
        assert reached(session, chain, 2, depth=4) == [(1, 1), (3, 1), (0, 2), (4, 2), (5, 3)]


def test_the_limit_keeps_the_strongest_of_the_nearest(engine, chain):
    with session_scope(engine) as session:
        assert reached(session, chain, 0, limit=1) == [(1, 1)]
        assert reached(session, chain, 0, depth=4, limit=2) == [(1, 1), (5, 1)]


def test_it_tells_how_it_came_and_all_edges_among_what_it_found(engine, chain):
    ids = chain.photo_ids
    add(engine, chain, [ids[1], ids[5]], [ids[5], ids[1]], [0.4, 0.45])
    with session_scope(engine) as session:
        found = walk(session, ids[0], depth=2)
    parents = {node.photo_id: node.parent for node in found.nodes}
    assert parents == {ids[1]: ids[0], ids[5]: ids[0], ids[2]: ids[1]}
    links = {(link.src, link.dst): link.weight for link in found.links}
    assert links == pytest.approx(
        {
            (ids[0], ids[1]): 0.9,
            (ids[0], ids[5]): 0.5,
            (ids[1], ids[2]): 0.8,
            (ids[1], ids[5]): 0.45,  # of two that lead to and fro, the stronger
        }
    )


def test_only_the_kinds_that_are_asked_for(engine, chain):
    other = make_photos(engine, 1, event="Elsewhere")
    index_photos(engine, other)
    ids, away = chain.photo_ids, other.photo_ids[0]
    add(engine, chain, [ids[4]], [away], [0.3], EdgeKind.ACROSS)
    with session_scope(engine) as session:
        assert [n.photo_id for n in walk(session, ids[4]).nodes] == [ids[3]]
        across = walk(session, ids[4], kinds=[EdgeKind.ACROSS])
        assert [n.photo_id for n in across.nodes] == [away]
        back = walk(session, away, depth=2, kinds=list(EdgeKind))
        assert [n.photo_id for n in back.nodes] == [ids[4], ids[3]]


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": 5}, {"limit": 0}, {"limit": 501}])
def test_walks_have_bounds(engine, chain, wrong):
    with session_scope(engine) as session, pytest.raises(BadInput):
        walk(session, chain.photo_ids[0], **wrong)
