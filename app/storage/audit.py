"""The audit log: append-only and hash-chained (SECURITY.md 24).

`hash` = SHA-256(previous hash ‖ JSON array of moment, actor, action, object and result), so that
an entry changed or removed afterwards breaks the chain from there on. Callers name things, never
secrets: no token, no vector, no query string.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import Session, col, select

from app.storage.tables_access import Audit

_START = bytes(32)
_LOCK = 7_263_418_250_114_002  # any constant: one writer at a time, so that the chain has no forks
_MAX_TEXT = 200


def record(
    session: Session, actor: str, action: str, object_: str = "", result: str = "done"
) -> None:
    """Append an entry within the caller's transaction.

    Writers wait for each other until the end of that transaction, so call it last.
    """
    connection = session.connection()
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = session.exec(select(Audit.hash).order_by(col(Audit.id).desc()).limit(1)).first()
    entry = Audit(
        at=datetime.now(UTC),
        actor=_one_line(actor),
        action=_one_line(action),
        object=_one_line(object_),
        result=_one_line(result),
        previous=last or _START,
        hash=b"",
    )
    entry.hash = _hash(entry)
    session.add(entry)
    session.flush()


def first_broken(session: Session) -> int | None:
    """Id of the first entry that does not follow from the one before, None where all do."""
    previous = _START
    for entry in session.exec(select(Audit).order_by(col(Audit.id))):
        if entry.previous != previous or entry.hash != _hash(entry):
            return entry.id
        previous = entry.hash
    return None


def _hash(entry: Audit) -> bytes:
    moment = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    fields = [moment, entry.actor, entry.action, entry.object, entry.result]
    return hashlib.sha256(entry.previous + json.dumps(fields).encode()).digest()


def _one_line(value: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in value)
    return printable[:_MAX_TEXT]
