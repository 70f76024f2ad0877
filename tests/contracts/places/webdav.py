"""Folders on a real WebDAV server: WsgiDAV, with Digest, with Basic, and open to all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place

Environ = dict[str, Any]
USER, PASSWORD = "ada", "s3cret, “pass”: word"


class DavServer:
    """WsgiDAV on loopback. `shares`: paths and the folders that they serve. `users`: for each share
    the passwords by user; True lets everybody in. `requests` holds the WSGI environment of each
    request in order. `answer` may answer in the server's place: (status, headers, body) or None.
    """

    def __init__(
        self,
        shares: Mapping[str, Path],
        users: Mapping[str, dict[str, str] | bool],
        *,
        digest: bool = False,
    ) -> None:
        self.requests: list[Environ] = []
        self.answer: Callable[[Environ], tuple[str, dict[str, str], bytes] | None] = lambda _: None
        mapping = {
            share: who if who is True else {n: {"password": p} for n, p in dict(who).items()}
            for share, who in users.items()
        }
        self._app = WsgiDAVApp(
            {
                "provider_mapping": {
                    share: {"root": str(root), "readonly": True} for share, root in shares.items()
                },
                "simple_dc": {"user_mapping": mapping},
                "http_authenticator": {
                    "accept_basic": not digest,
                    "accept_digest": digest,
                    "default_to_digest": digest,
                },
                "verbose": 0,
                "logging": {"enable": False},
            }
        )
        self._server = wsgi.Server(("127.0.0.1", 0), self._serve, numthreads=8)
        self._server.expiration_interval = 0.05  # how soon it sees that it is to stop
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, name="webdav", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.bind_addr[1]}{path}"

    def set_password(self, share: str, user: str, password: str) -> None:
        controller = self._app.http_authenticator.get_domain_controller()
        controller.user_map[share] = {user: {"password": password}}

    def _serve(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        self.requests.append(dict(environ))
        answer = self.answer(environ)
        if answer is None:
            return self._app(environ, start_response)
        status, headers, body = answer
        start_response(status, [*headers.items(), ("Content-Length", str(len(body)))])
        return [body]


def fill(root: Path) -> Path:
    root.mkdir()
    for name, data in PHOTOS.items():
        (root / name).write_bytes(data)
    return root


def changer(root: Path) -> Callable[[str, bytes], None]:
    """Writes anew, a while later: modification times count in seconds on many servers."""

    def change(name: str, data: bytes) -> None:
        later = (root / name).stat().st_mtime + 60
        (root / name).write_bytes(data)
        os.utime(root / name, (later, later))

    return change


def _place(tmp_path: Path, held: ExitStack, *, digest: bool) -> Place:
    root = fill(tmp_path / "photos")
    users = {"/dav": {USER: PASSWORD}}
    server = held.enter_context(DavServer({"/dav": root}, users, digest=digest))
    options = (("user", USER),)

    def spec(path: str, password: str = PASSWORD) -> SourceSpec:
        return SourceSpec("webdav", server.url(path), options, (("password", password),))

    return Place(
        spec("/dav/"),
        gone=lambda name: (root / name).unlink(),
        change=changer(root),
        nowhere=spec("/dav/nowhere/"),
        locked=spec("/dav/", "not-the-password"),
    )


def with_digest(tmp_path: Path, held: ExitStack) -> Place:
    return _place(tmp_path, held, digest=True)


def with_basic(tmp_path: Path, held: ExitStack) -> Place:
    return _place(tmp_path, held, digest=False)


def open_to_all(tmp_path: Path, held: ExitStack) -> Place:
    root = fill(tmp_path / "photos")
    server = held.enter_context(DavServer({"/pictures": root}, {"*": True}))
    return Place(
        SourceSpec("webdav", server.url("/pictures").replace("http:", "dav:")),
        gone=lambda name: (root / name).unlink(),
        change=changer(root),
        nowhere=SourceSpec("webdav", server.url("/elsewhere/")),
    )


PLACES = {
    "webdav with digest": with_digest,
    "webdav with basic": with_basic,
    "webdav open to all": open_to_all,
}
