"""Owners, their sessions, one-time welcome links and API tokens (SECURITY.md 14, 17).

Secrets are 256 random bits; only their SHA-256 is kept. Passwords are kept as argon2id hashes.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import text
from sqlmodel import Session, col, delete, func, select

from app.core.errors import BadInput, Conflict, NotAllowed
from app.storage.tables_access import ApiToken, Owner, OwnerSession, WelcomeLink

SESSION_DAYS = 14
WELCOME_HOURS = 24
SCOPES = ("read", "write")
TOKEN_START = "clv_"  # noqa: S105 - the part that is no secret
MIN_PASSWORD, MAX_PASSWORD = 10, 1024
MAX_NAME = 80

_TOUCH_EVERY = timedelta(minutes=1)  # last-used moments are written at most this often
_OWNERS_LOCK = 7_263_418_250_114_003

# 19 MiB, 2 passes, 1 lane: the OWASP Password Storage Cheat Sheet's argon2id minimum. Two at a
# time, so that a burst of sign-ins can't take the web process past its memory budget.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_hashing = threading.BoundedSemaphore(2)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that holds. `extended`: its lifetime was moved on just now."""

    owner_id: int
    owner_name: str
    session_hash: bytes
    csrf: str
    extended: bool


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _now() -> datetime:
    return datetime.now(UTC)


# Owners and passwords


def has_owner(session: Session) -> bool:
    """Whether anybody can sign in yet."""
    return session.exec(select(func.count()).select_from(Owner)).one() > 0


def first_owner(session: Session) -> Owner | None:
    """The owner who was made first."""
    return session.exec(select(Owner).order_by(col(Owner.id)).limit(1)).first()


def check_password(session: Session, name: str, password: str) -> Owner | None:
    """The owner of this name if the password is hers, else None, in the same time for any name."""
    owner = session.exec(select(Owner).where(Owner.name == name.strip())).first()
    stored = owner.password_hash if owner else _nobodys_hash()
    right = len(password) <= MAX_PASSWORD and _verified(stored, password)
    if owner is None or not right:
        return None
    if _hasher.check_needs_rehash(owner.password_hash):
        owner.password_hash = _hashed(password)
        session.add(owner)
    return owner


def change_password(session: Session, owner_id: int, current: str, new: str) -> None:
    """Set a new password and end every session of the owner. Raises NotAllowed, BadInput."""
    owner = session.get(Owner, owner_id)
    if owner is None or not (
        len(current) <= MAX_PASSWORD and _verified(owner.password_hash, current)
    ):
        raise NotAllowed("The current password is wrong.", cure="Type it again.")
    _set_password(session, owner, new)


def _set_password(session: Session, owner: Owner, password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadInput(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.", cure="Choose another."
        )
    owner.password_hash = _hashed(password)
    session.add(owner)
    session.flush()
    session.exec(delete(OwnerSession).where(col(OwnerSession.owner_id) == owner.id))


def _hashed(password: str) -> str:
    with _hashing:
        return _hasher.hash(password)


def _verified(stored: str, password: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys_hash() -> str:
    return _hashed(secrets.token_urlsafe())


# Welcome links


def make_welcome_link(session: Session, *, reset: bool = False) -> str:
    """The secret of a link that works once within 24 hours; older unused links stop working.

    It makes the first owner; with `reset` it gives an existing owner a new password instead.
    Raises Conflict where there is an owner already and `reset` was not asked for.
    """
    if has_owner(session) and not reset:
        raise Conflict("There is an owner already.", cure="Sign in, or ask for a password reset.")
    secret = secrets.token_urlsafe(32)
    session.exec(delete(WelcomeLink).where(col(WelcomeLink.used_at).is_(None)))
    expires = _now() + timedelta(hours=WELCOME_HOURS)
    session.add(WelcomeLink(secret_hash=digest(secret), expires_at=expires))
    session.flush()
    return secret


def welcome_is_valid(session: Session, secret: str) -> bool:
    """Whether a welcome link can still be used."""
    link = session.get(WelcomeLink, digest(secret))
    return link is not None and link.used_at is None and link.expires_at > _now()


def use_welcome_link(session: Session, secret: str, name: str, password: str) -> Owner:
    """Make the first owner, or set an existing owner's password; the link is spent.

    Raises NotAllowed for a link that is unknown, spent or too old, BadInput for a bad name or
    password (the link then stays good).
    """
    session.connection().execute(
        text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _OWNERS_LOCK}
    )
    link = session.get(WelcomeLink, digest(secret), with_for_update=True)
    if link is None or link.used_at is not None or link.expires_at <= _now():
        raise NotAllowed(
            "This link was used already or is older than a day.",
            cure="Run `clairvision owner-link` on the server for a new one (`--reset` for a new password).",
        )
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME:
        raise BadInput(f"A name has 1 to {MAX_NAME} characters.", cure="Choose another.")
    owner = session.exec(select(Owner).where(Owner.name == name)).first()
    if owner is None and has_owner(session):
        raise BadInput(f"There is no owner “{name}”.", cure="Use the name chosen at the start.")
    owner = owner or Owner(name=name, password_hash="")
    _set_password(session, owner, password)
    link.used_at = _now()
    session.add(link)
    session.flush()
    return owner


# Sessions


def start_session(session: Session, owner: Owner, *, replaces: bytes | None = None) -> str:
    """A new session and its cookie secret; the browser's former session ends (rotation)."""
    if replaces is not None:
        end_session(session, replaces)
    session.exec(delete(OwnerSession).where(col(OwnerSession.expires_at) < _now()))
    secret = secrets.token_urlsafe(32)
    session.add(
        OwnerSession(
            secret_hash=digest(secret),
            owner_id=owner.id,
            csrf=secrets.token_urlsafe(32),
            expires_at=_now() + timedelta(days=SESSION_DAYS),
        )
    )
    session.flush()
    return secret


def find_session(session: Session, secret_hash: bytes) -> SignedIn | None:
    """The session whose cookie secret has this digest, moved on by 14 days once a minute."""
    row = session.exec(
        select(OwnerSession, Owner.name)
        .join(Owner, col(Owner.id) == col(OwnerSession.owner_id))
        .where(OwnerSession.secret_hash == secret_hash, col(OwnerSession.expires_at) > _now())
    ).first()
    if row is None:
        return None
    found, name = row
    now = _now()
    extended = now - found.seen_at > _TOUCH_EVERY
    if extended:
        found.seen_at = now
        found.expires_at = now + timedelta(days=SESSION_DAYS)
        session.add(found)
    return SignedIn(found.owner_id, name, found.secret_hash, found.csrf, extended)


def end_session(session: Session, secret_hash: bytes) -> None:
    """Sign one browser out."""
    session.exec(delete(OwnerSession).where(col(OwnerSession.secret_hash) == secret_hash))


def live_sessions(session: Session, hashes: set[bytes]) -> set[bytes]:
    """Those of the sessions that still hold."""
    return set(
        session.exec(
            select(OwnerSession.secret_hash).where(
                col(OwnerSession.secret_hash).in_(hashes), col(OwnerSession.expires_at) > _now()
            )
        )
    )


# API tokens


def create_token(session: Session, name: str, scope: str) -> tuple[ApiToken, str]:
    """A new token and its text, which is shown this once. Raises BadInput."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME:
        raise BadInput(f"A token's name has 1 to {MAX_NAME} characters.", cure="Choose another.")
    if scope not in SCOPES:
        raise BadInput(f"A token's scope is {' or '.join(SCOPES)}, not “{scope}”.")
    prefix = TOKEN_START + secrets.token_hex(4)
    plain = f"{prefix}_{secrets.token_urlsafe(32)}"
    token = ApiToken(name=name, scope=scope, prefix=prefix, secret_hash=digest(plain))
    session.add(token)
    session.flush()
    session.refresh(token)
    return token, plain


def find_token(session: Session, plain: str) -> ApiToken | None:
    """The token of this text unless revoked; its last use is noted at most once a minute."""
    if not plain.startswith(TOKEN_START):
        return None
    token = session.exec(
        select(ApiToken).where(
            ApiToken.secret_hash == digest(plain), col(ApiToken.revoked_at).is_(None)
        )
    ).first()
    if token and (token.last_used_at is None or _now() - token.last_used_at > _TOUCH_EVERY):
        token.last_used_at = _now()
        session.add(token)
    return token


def tokens(session: Session) -> list[ApiToken]:
    """Every token that works, the newest first."""
    return list(
        session.exec(
            select(ApiToken)
            .where(col(ApiToken.revoked_at).is_(None))
            .order_by(col(ApiToken.id).desc())
        )
    )


def revoke_token(session: Session, token_id: int) -> ApiToken:
    """Stop a token from working, at once. Raises BadInput where there is none."""
    token = session.get(ApiToken, token_id)
    if token is None or token.revoked_at is not None:
        raise BadInput("There is no such token.", cure="It may have been revoked already.")
    token.revoked_at = _now()
    session.add(token)
    session.flush()
    return token
