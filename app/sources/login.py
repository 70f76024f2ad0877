"""Signing in to web servers: Basic (RFC 7617), Digest (RFC 7616) and Bearer (RFC 6750)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from app.core.errors import BadInput
from app.sources.addresses import WebAddress

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # RFC 9110, 5.6.2
_PART = re.compile(
    rf'(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD}))'
    rf"|(?P<scheme>{_WORD})"
)
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


@dataclass(slots=True)
class Challenge:
    """One way to sign in that a 401 offers (RFC 9110, 11.6.1). `scheme` and names in lower case."""

    scheme: str
    params: dict[str, str] = field(default_factory=dict)


def challenges_in(headers: tuple[str, ...]) -> list[Challenge]:
    """WWW-Authenticate headers → what they offer. What can't be read is passed over."""
    found: list[Challenge] = []
    for header in headers:
        for part in _PART.finditer(header):
            if part["scheme"]:
                found.append(Challenge(part["scheme"].lower()))
            elif found:
                quoted = part["quoted"]
                value = part["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1].params.setdefault(part["name"].lower(), value)
    return found


class Login(Protocol):
    """How requests are signed in."""

    def headers(self, method: str, address: WebAddress) -> dict[str, str]: ...

    def learn(self, challenges: tuple[str, ...]) -> bool:
        """After a 401: whether the same request with new `headers` may do better."""
        ...


class HeaderLogin:
    """The same headers every time; none for a place that needs no sign-in."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self._headers = headers or {}

    def headers(self, method: str, address: WebAddress) -> dict[str, str]:
        return self._headers

    def learn(self, challenges: tuple[str, ...]) -> bool:
        return False


class PasswordLogin:
    """A name and a password, by Digest where the server offers it, else by Basic.

    Over https the password goes along at once. Over http the server is asked first how it wants it,
    so that one which knows Digest never gets the password itself.
    """

    def __init__(self, user: str, password: str) -> None:
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in user + password):
            raise BadInput("The user name or password holds a control character.")
        self._user = user
        self._password = password
        self._basic: bool | None = None
        self._digest: Digest | None = None

    def headers(self, method: str, address: WebAddress) -> dict[str, str]:
        if self._digest is not None:
            return {"Authorization": self._digest.answer(method, address.path_and_query)}
        if self._basic or (self._basic is None and address.scheme == "https"):
            return basic(self._user, self._password)
        return {}

    def learn(self, challenges: tuple[str, ...]) -> bool:
        offered = challenges_in(challenges)
        for each in offered:
            if each.scheme == "digest" and Digest.can(each):
                self._digest = Digest(each, self._user, self._password)
                return True
        had = self._basic
        self._basic = any(each.scheme == "basic" for each in offered)
        self._digest = None
        return self._basic and not had


def basic(user: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


class Digest:
    """Answers to one Digest challenge, as many as are needed: each counts on (RFC 7616, 3.4)."""

    def __init__(self, challenge: Challenge, user: str, password: str) -> None:
        self._given = challenge.params
        self._user = user
        self._password = password
        self._count = 0
        self._algorithm, self._session = _algorithm(challenge)

    @staticmethod
    def can(challenge: Challenge) -> bool:
        """Whether it is of a kind that can be answered; auth-int alone is not."""
        params = challenge.params
        return (
            _algorithm(challenge)[0] in _HASHES
            and "nonce" in params
            and ("qop" not in params or "auth" in _qops(params))
        )

    def answer(self, method: str, target: str) -> str:
        """The Authorization header for a request to `target`, its path and query as sent."""
        given = self._given
        realm, nonce = given.get("realm", ""), given["nonce"]
        client_nonce = secrets.token_hex(16)
        secret = self._hash(f"{self._user}:{realm}:{self._password}")
        if self._session:
            secret = self._hash(f"{secret}:{nonce}:{client_nonce}")
        request = self._hash(f"{method}:{target}")
        said = {"realm": realm, "nonce": nonce, "uri": target}
        if "qop" in given:
            self._count += 1
            count = f"{self._count:08x}"
            response = self._hash(f"{secret}:{nonce}:{count}:{client_nonce}:auth:{request}")
            plain = {"qop": "auth", "nc": count}
        else:  # RFC 2069, which some cameras and NAS boxes still speak
            response = self._hash(f"{secret}:{nonce}:{request}")
            plain = {}
        if "qop" in given or self._session:
            said["cnonce"] = client_nonce
        said["response"] = response
        if "opaque" in given:
            said["opaque"] = given["opaque"]
        if "algorithm" in given:
            plain["algorithm"] = given["algorithm"]
        parts = [self._user_part(), *(f"{name}={_quoted(text)}" for name, text in said.items())]
        return "Digest " + ", ".join(parts + [f"{name}={text}" for name, text in plain.items()])

    def _user_part(self) -> str:
        if self._user.isascii() or self._given.get("charset", "").upper() != "UTF-8":
            return f"username={_quoted(self._user)}"
        return f"username*=UTF-8''{quote(self._user, safe='')}"

    def _hash(self, text: str) -> str:
        made = hashlib.new(_HASHES[self._algorithm], text.encode(), usedforsecurity=False)
        return made.hexdigest()


def _algorithm(challenge: Challenge) -> tuple[str, bool]:
    """(name, whether it is a session's)."""
    name = challenge.params.get("algorithm", "MD5").upper()
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _qops(params: dict[str, str]) -> list[str]:
    return [each.strip().lower() for each in params["qop"].split(",")]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
