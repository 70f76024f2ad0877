"""Public links: WsgiDAV under the paths and sign-in rules that Nextcloud and ownCloud document."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from app.core.sources import SourceSpec
from tests.contracts.places import Place
from tests.contracts.places.webdav import DavServer, Environ, changer, fill

TOKEN = "kx7tqwz3mpdn2ls"  # WsgiDAV knows shares in lower case only
PASSWORD = "four words and 1 digit"
NEW = f"/public.php/dav/files/{TOKEN}"
OLD = "/public.php/webdav"
INFINITE = f"/remote.php/dav/public-files/{TOKEN}"


# What each server says of the ways that it does not know, and of shares that it does not know:
# Nextcloud asks for a sign-in, one of before 29 stumbles over the newer way.
_SAID = {
    NEW: {"/": "401 Unauthorized"},
    OLD: {"/public.php/dav": "500 Internal Server Error", "/": "401 Unauthorized"},
    INFINITE: {"/public.php": "405 Method Not Allowed", "/": "404 Not Found"},
}


def shared(held: ExitStack, root: Path, way: str, password: str = "") -> DavServer:
    """A server that knows one of the three ways to the share."""
    user = {NEW: "anonymous", OLD: TOKEN, INFINITE: "public"}[way]
    server = held.enter_context(DavServer({way: root}, {way: {user: password}}))

    def answer(environ: Environ) -> tuple[str, dict[str, str], bytes] | None:
        path = environ["PATH_INFO"]
        if path.startswith(way):
            return None
        said = next(status for start, status in _SAID[way].items() if path.startswith(start))
        return said, {"WWW-Authenticate": 'Basic realm="x"'}, b""

    server.answer = answer
    return server


def _place(tmp_path: Path, held: ExitStack, way: str, password: str = "") -> Place:
    root = fill(tmp_path / "photos")
    server = shared(held, root, way, password)
    credentials = (("password", password),) if password else ()
    return Place(
        SourceSpec("nextcloud", server.url(f"/s/{TOKEN}"), (), credentials),
        gone=lambda name: (root / name).unlink(),
        change=changer(root),
        nowhere=SourceSpec("nextcloud", server.url("/s/NoSuchShareHere"), (), credentials),
        locked=SourceSpec(
            "nextcloud", server.url(f"/s/{TOKEN}"), (), (("password", "not-the-password"),)
        ),
    )


def new(tmp_path: Path, held: ExitStack) -> Place:
    return _place(tmp_path, held, NEW, PASSWORD)


def old(tmp_path: Path, held: ExitStack) -> Place:
    return _place(tmp_path, held, OLD)


def infinite_scale(tmp_path: Path, held: ExitStack) -> Place:
    return _place(tmp_path, held, INFINITE, PASSWORD)


PLACES = {
    "nextcloud link": new,
    "nextcloud link of before 29": old,
    "owncloud infinite scale link": infinite_scale,
}
