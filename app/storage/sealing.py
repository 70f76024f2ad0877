"""Credentials of sources: encrypted at rest, readable only with the installation's secret key.

Fernet (AES-128-CBC and HMAC-SHA-256) under a key derived by HKDF (RFC 5869) from the secret key, so
that the secret can serve other purposes without any of them weakening another.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from app.core.errors import BadInput, HomeUnusable
from app.core.sources import Pairs, SourceSpec, pairs
from app.storage.tables import Source
from app.storage.tables_access import Installation

KEY_FILE = "secret.key"
_PURPOSE = b"clairvision source credentials v1"
_CHECK = "sealing key check"


def secret_key(home: Path, configured: str | None) -> str:
    """The installation's secret: the configured one, else that of the home folder, made if missing.

    Raises HomeUnusable.
    """
    if configured:
        return configured
    path = home / KEY_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Two processes that start at once must end up with the same key.
        mine = path.with_name(f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        if not path.exists():
            descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
            try:
                os.link(mine, path)
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return path.read_text("ascii").strip()
    except OSError as error:
        raise HomeUnusable(
            f"The secret key {path} can't be read or made: {error.strerror}.",
            cure="Set CLAIR_SECRET_KEY, or make the home folder writable.",
        ) from error


class Sealer:
    """Seals credentials and opens them again."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), 32, None, _PURPOSE).derive(secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, credentials: Mapping[str, str]) -> bytes | None:
        """None where there is nothing to keep."""
        kept = dict(pairs(credentials))
        return self._fernet.encrypt(json.dumps(kept).encode()) if kept else None

    def unseal(self, sealed: bytes | None) -> Pairs:
        """Raises BadInput where they were sealed with another key."""
        if sealed is None:
            return ()
        try:
            return pairs(json.loads(self._fernet.decrypt(bytes(sealed))))
        except InvalidToken as error:
            raise BadInput(
                "Stored credentials were encrypted with another secret key.",
                cure="Give every process the same CLAIR_SECRET_KEY, or enter the credentials again.",
            ) from error

    def spec(self, source: Source) -> SourceSpec:
        """What a stored source is opened with. Raises BadInput as `unseal`."""
        return SourceSpec(
            source.kind, source.uri, pairs(source.options), self.unseal(source.sealed)
        )

    def check(self, session: Session) -> None:
        """Makes sure that this process seals with the installation's key; the first one decides.

        Raises BadInput where it is another.
        """
        session.connection().execute(
            insert(Installation)
            .values(name=_CHECK, value=self._fernet.encrypt(_PURPOSE))
            .on_conflict_do_nothing()
        )
        row = session.get(Installation, _CHECK)
        assert row is not None  # noqa: S101 - it was inserted above
        try:
            self._fernet.decrypt(bytes(row.value))
        except InvalidToken as error:
            raise BadInput(
                "The secret key of this process is not the installation's.",
                cure="Set the same CLAIR_SECRET_KEY on every machine that shares the database.",
            ) from error

    def adopt(self, session: Session) -> None:
        """Make this key the installation's. What another one sealed can't be read any more."""
        session.connection().execute(delete(Installation).where(col(Installation.name) == _CHECK))
        session.expire_all()
        self.check(session)
