"""Binary COPY through the transaction of a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql
from sqlmodel import Session

from app.storage.engine import service_error


def copy_rows(
    session: Session,
    table: str,
    columns: Sequence[str],
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """COPY rows into a table in binary, inside the session's transaction.

    `types` are PostgreSQL's names of the columns' types: binary COPY converts nothing. Raises
    ServiceDown or DiskFull: the driver is used directly here, so SQLAlchemy does not wrap its errors.
    """
    connection = session.connection().connection.driver_connection
    assert connection is not None  # noqa: S101 - a session's connection always has its driver's
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(types))
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise service_error(error) from error
