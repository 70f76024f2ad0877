"""Cross-site request forgery: the browser's own word on the origin, and a token (SECURITY.md 19)."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.core.errors import NotAllowed

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FIELD = "csrf_token"
HEADER = "x-csrf-token"


def masked(secret: str) -> str:
    """The token as a page carries it: different every time, so that compressing a page which also
    echoes input doesn't give it away (BREACH, Gluck, Harris and Prado 2013)."""
    raw = secret.encode()
    pad = secrets.token_bytes(len(raw))
    return base64.urlsafe_b64encode(pad + _xor(pad, raw)).decode()


def matches(shown: str, secret: str) -> bool:
    """Whether a token that came back is a masked form of the secret."""
    try:
        both = base64.urlsafe_b64decode(shown.encode("ascii"))
    except (binascii.Error, ValueError):
        return False
    half = len(both) // 2
    return hmac.compare_digest(_xor(both[:half], both[half:]), secret.encode())


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def same_origin(headers: Headers, scheme: str, address: str) -> bool:
    """Whether the Origin header names this server, exactly: under the host that was asked for, or
    under the address that the operator set (behind a proxy the two differ)."""
    origin = headers.get("origin")
    asked = f"{'https' if scheme in ('https', 'wss') else 'http'}://{headers.get('host', '')}"
    public = urlsplit(address)
    return origin is not None and origin in (asked, f"{public.scheme}://{public.netloc}")


def refuse_cross_site(headers: Headers, scheme: str, address: str) -> None:
    """Raise NotAllowed where the browser says that another site sent the request."""
    site = headers.get("sec-fetch-site")
    foreign = site is not None and site not in ("same-origin", "none")
    if not foreign and "origin" in headers and site != "same-origin":
        foreign = not same_origin(headers, scheme, address)
    if foreign:
        raise NotAllowed(
            "This request came from another site.", cure="Open the page here and try again."
        )


def require_token(shown: str, secret: str | None) -> None:
    """Raise NotAllowed unless the token fits the browser's secret."""
    if secret is None or not matches(shown, secret):
        raise NotAllowed("This form is too old.", cure="Reload the page and send it again.")
