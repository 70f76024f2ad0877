"""Driver errors become deliberate ones at the border, whichever way the driver was reached."""

import psycopg
import pytest
from sqlalchemy import text

from app.core.errors import DiskFull, Overloaded, ServiceDown
from app.storage.copying import copy_rows
from app.storage.engine import make_engine, service_error, session_scope


def kill(engine, pid):
    with session_scope(engine) as session:
        session.connection().execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


@pytest.mark.parametrize("how", ["statement", "copy"])
def test_a_connection_that_breaks_is_the_services_fault(engine, how):
    def break_off() -> None:
        with session_scope(engine) as session:
            kill(engine, session.connection().execute(text("SELECT pg_backend_pid()")).scalar_one())
            if how == "statement":
                session.connection().execute(text("SELECT 1"))
            else:
                copy_rows(session, "worker", ("name",), ("text",), [("x",)])

    with pytest.raises(ServiceDown):
        break_off()
    with session_scope(engine) as session:  # the next one works again
        assert session.connection().execute(text("SELECT 1")).scalar_one() == 1


def test_a_server_that_is_not_there():
    engine = make_engine("postgresql://nobody:x@127.0.0.1:9/none")
    with pytest.raises(ServiceDown), session_scope(engine) as session:
        session.connection()


def test_a_used_up_pool_is_overload(database_url):
    engine = make_engine(database_url, pool_size=1)
    engine.pool._timeout = 0.1
    with session_scope(engine) as one, session_scope(engine) as two:
        one.connection(), two.connection()
        with pytest.raises(Overloaded), session_scope(engine) as three:
            three.connection()
    engine.dispose()


def test_a_full_disk_is_said_as_such():
    assert isinstance(service_error(psycopg.errors.DiskFull()), DiskFull)
