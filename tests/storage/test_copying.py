"""Whole columns through binary COPY and back."""

import numpy as np
import pytest
from sqlalchemy import text

from app.storage.copying import copy_columns, read_columns
from app.storage.engine import session_scope

EDGES = {"src": "i8", "dst": "i8", "model": "i2", "weight": "f4"}


def edges(count):
    random = np.random.default_rng(1)
    return {
        "event_id": 7,
        "kind": "knn",
        "src": np.arange(count, dtype=np.int64),
        "dst": np.arange(count, dtype=np.int64) + 2**40,
        "model": np.full(count, -3, np.int16),
        "weight": random.normal(size=count).astype(np.float32),
    }


@pytest.mark.parametrize("count", [0, 1, 250_001])
def test_columns_come_back_as_they_were(engine, count):
    written = edges(count)
    with session_scope(engine) as session:
        copy_columns(session, "edge", written)
        found = read_columns(
            session,
            "SELECT src, dst, model, weight FROM edge WHERE kind = %(kind)s AND event_id = %(e)s"
            " ORDER BY src",
            EDGES,
            {"kind": "knn", "e": 7},
        )
    for name, column in found.items():
        assert column.dtype == np.dtype(EDGES[name])
        np.testing.assert_array_equal(column, written[name])


def test_they_are_part_of_the_transaction(engine):
    with session_scope(engine) as session:
        copy_columns(session, "edge", edges(3))
        session.rollback()
        assert session.connection().execute(text("SELECT count(*) FROM edge")).scalar_one() == 0


def test_a_parameter_is_no_part_of_the_statement(engine):
    with session_scope(engine) as session:
        found = read_columns(
            session, "SELECT length(%(word)s)", {"n": "i4"}, {"word": "'); DROP TABLE edge; --"}
        )
    assert found["n"].tolist() == [23]


@pytest.mark.parametrize("query", ["SELECT 1::int8", "SELECT NULL::int4", "SELECT 1, 2"])
def test_other_types_than_announced_are_refused(engine, query):
    with session_scope(engine) as session, pytest.raises(TypeError):
        read_columns(session, query, {"n": "i4"}, {})
