"""Who may do what: one table, asked before every page, API route, media file and socket message.

A new kind of visitor is a new principal class with its Role; a new capability is a new Action with
its line in the table. A role that reaches only some objects (a guest's event, a photographer's
uploads) narrows in `_reaches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import NotAllowed, NotSignedIn


class Role(StrEnum):
    ANONYMOUS = "anonymous"
    READ_TOKEN = "token read"  # noqa: S105
    WRITE_TOKEN = "token write"  # noqa: S105
    OWNER = "owner"


class Action(StrEnum):
    CHECK_HEALTH = "check health"
    FETCH_ASSET = "fetch asset"
    SIGN_IN = "sign in"
    SIGN_OUT = "sign out"
    LIST_EVENTS = "list events"
    CREATE_EVENT = "create event"
    VIEW_EVENT = "view event"
    VIEW_PHOTO = "view photo"
    SEARCH = "search"
    VIEW_RUNS = "view runs"
    INGEST = "ingest"
    CONTROL_RUNS = "control runs"
    CHANGE_SOURCE = "change source"
    RE_POINT = "re-point source"
    CLEAR_VANISHED = "clear vanished"
    CURATE = "curate"
    DECIDE_FACES = "decide faces"
    WATCH = "watch"
    OPERATE = "operate"
    CHANGE_SETTINGS = "change settings"
    MANAGE_TOKENS = "manage tokens"


_EVERYBODY = frozenset(Role)
_READERS = frozenset({Role.READ_TOKEN, Role.WRITE_TOKEN, Role.OWNER})
_WRITERS = frozenset({Role.WRITE_TOKEN, Role.OWNER})
_OWNER = frozenset({Role.OWNER})

ALLOWED: dict[Action, frozenset[Role]] = {
    Action.CHECK_HEALTH: _EVERYBODY,
    Action.FETCH_ASSET: _EVERYBODY,
    Action.SIGN_IN: _EVERYBODY,
    Action.SIGN_OUT: _OWNER,
    Action.LIST_EVENTS: _READERS,
    Action.CREATE_EVENT: _WRITERS,
    Action.VIEW_EVENT: _READERS,
    Action.VIEW_PHOTO: _READERS,
    Action.SEARCH: _READERS,
    Action.VIEW_RUNS: _READERS,
    Action.INGEST: _WRITERS,
    Action.CONTROL_RUNS: _WRITERS,
    Action.CHANGE_SOURCE: _WRITERS,
    # The stored credentials go to wherever a source points: a token must not choose that place.
    Action.RE_POINT: _OWNER,
    # Nothing brings them back.
    Action.CLEAR_VANISHED: _OWNER,
    Action.CURATE: _WRITERS,
    Action.DECIDE_FACES: _OWNER,
    Action.WATCH: _OWNER,
    Action.OPERATE: _OWNER,
    Action.CHANGE_SETTINGS: _OWNER,
    Action.MANAGE_TOKENS: _OWNER,
}


@dataclass(frozen=True, slots=True)
class Anonymous:
    role: Role = Role.ANONYMOUS
    label: str = "anonymous"


@dataclass(frozen=True, slots=True)
class OwnerPrincipal:
    """A signed-in browser. `csrf` is the session's token, in the clear."""

    id: int
    name: str
    session_hash: bytes
    csrf: str
    role: Role = Role.OWNER

    @property
    def label(self) -> str:
        return f"owner {self.name}"


@dataclass(frozen=True, slots=True)
class TokenPrincipal:
    id: int
    name: str
    scope: str  # "read" | "write"

    @property
    def role(self) -> Role:
        return Role.WRITE_TOKEN if self.scope == "write" else Role.READ_TOKEN

    @property
    def label(self) -> str:
        return f"token {self.id} {self.name}"


Principal = Anonymous | OwnerPrincipal | TokenPrincipal


@dataclass(frozen=True, slots=True)
class Target:
    """What the action is about, as far as the address names it."""

    event: str | None = None
    photo: int | None = None
    run: int | None = None
    source: int | None = None
    group: int | None = None
    cluster: int | None = None
    token: int | None = None


def authorize(principal: Principal, action: Action, target: Target) -> None:
    """Return if the principal may perform the action on the target.

    Raises NotSignedIn where signing in could help, NotAllowed where it could not.
    """
    if principal.role in ALLOWED[action] and _reaches(principal, target):
        return
    if isinstance(principal, Anonymous):
        raise NotSignedIn
    raise NotAllowed(
        f"{principal.label.capitalize()} may not {action}.",
        cure="Use a token with the scope write."
        if principal.role is Role.READ_TOKEN and Role.WRITE_TOKEN in ALLOWED[action]
        else "Only the owner can, signed in with a browser.",
    )


def _reaches(principal: Principal, target: Target) -> bool:
    """Owners and their tokens reach every object of the installation."""
    return principal.role in _READERS or target == Target()
