"""Binary COPY through the transaction of a session: rows one by one, or whole columns as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from sqlmodel import Session

from app.storage.engine import service_error

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_CHUNK_ROWS = 100_000


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
    try:
        with (
            _driver(session).cursor() as cursor,
            cursor.copy(_copy_in(table, columns)) as copy,
        ):
            copy.set_types(list(types))
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise service_error(error) from error


def copy_columns(
    session: Session, table: str, columns: Mapping[str, NDArray[Any] | int | str]
) -> None:
    """COPY whole columns into a table: arrays of one length, or one value for all rows.

    An array's dtype must be that of its column (int16, int32, int64, float32, float64 or bool).
    About twenty times as fast as `copy_rows`; no column may hold NULL. Raises ServiceDown or
    DiskFull.
    """
    count = max((len(c) for c in columns.values() if isinstance(c, np.ndarray)), default=0)
    if not count:
        return
    fields: list[tuple[str, Any]] = [("fields", ">i2")]
    filled: dict[str, Any] = {"fields": len(columns)}
    for name, column in columns.items():
        values = _encoded(column)
        fields += [(f"{name} bytes", ">i4"), (name, values.dtype)]
        filled[f"{name} bytes"], filled[name] = values.dtype.itemsize, values
    try:
        with (
            _driver(session).cursor() as cursor,
            cursor.copy(_copy_in(table, list(columns))) as copy,
        ):
            copy.write(_SIGNATURE)
            for start in range(0, count, _CHUNK_ROWS):
                rows = np.empty(min(_CHUNK_ROWS, count - start), np.dtype(fields))
                for name, value in filled.items():
                    one = not isinstance(value, np.ndarray) or value.ndim == 0
                    rows[name] = value if one else value[start : start + len(rows)]
                copy.write(rows.tobytes())
            copy.write(_END)
    except psycopg.OperationalError as error:
        raise service_error(error) from error


def read_columns(
    session: Session, query: str, dtypes: Mapping[str, str], parameters: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """The result of a query as arrays, by COPY in binary: about ten times as fast as by rows.

    `dtypes` names the columns in their order, each with its numpy dtype, which must be as wide as
    the column's type ("i2", "i4", "i8", "f4", "f8", or "V<n>" for n bytes as they are). No column may
    be NULL. `parameters` stand in the query as %(name)s. Raises ServiceDown.
    """
    row: list[tuple[str, str]] = [("", ">i2")]
    for name, dtype in dtypes.items():
        wide = dtype if dtype.startswith("V") else f">{dtype}"
        row += [(f"{name} bytes", ">i4"), (name, wide)]
    row[0] = ("fields", ">i2")
    kind = np.dtype(row)
    parts: list[bytes] = []
    statement = f"COPY ({query}) TO STDOUT (FORMAT BINARY)"
    try:
        with (
            psycopg.ClientCursor(_driver(session)) as cursor,
            cursor.copy(statement, parameters) as copy,
        ):
            parts = [bytes(part) for part in copy]
    except psycopg.OperationalError as error:
        raise service_error(error) from error
    data = b"".join(parts)
    body = len(data) - len(_SIGNATURE) - len(_END)
    if body % kind.itemsize:
        raise TypeError(f"the rows of {query!r} are not of {dict(dtypes)}")
    rows = np.frombuffer(data, kind, body // kind.itemsize, len(_SIGNATURE))
    for name, dtype in dtypes.items():
        if len(rows) and np.any(rows[f"{name} bytes"] != np.dtype(dtype).itemsize):
            raise TypeError(f"column {name} is not of type {dtype}, or holds NULL")
    return {
        name: rows[name].copy() if dtype.startswith("V") else rows[name].astype(dtype)
        for name, dtype in dtypes.items()
    }


def _encoded(column: NDArray[Any] | int | str) -> NDArray[Any]:
    """In PostgreSQL's byte order; one value as an array without dimensions."""
    if isinstance(column, str):
        return np.array(column.encode(), f"S{len(column.encode())}")
    values = np.asarray(column) if isinstance(column, np.ndarray) else np.array(column, np.int64)
    return values.astype(values.dtype.newbyteorder(">"))


def _copy_in(table: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def _driver(session: Session) -> psycopg.Connection[Any]:
    connection = session.connection().connection.driver_connection
    assert connection is not None  # noqa: S101 - a session's connection always has its driver's
    return cast(psycopg.Connection[Any], connection)
