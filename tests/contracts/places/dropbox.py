"""A stand-in for the Dropbox API, version 2, after its documentation. It is not the real service."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place
from tests.sources.standin import Asked, Said, StandIn, said_json

BASE = "https://www.dropbox.com/scl/fo/5ulzmwlxnx9fdg2/AAB5Ytest"
LINK = f"{BASE}?rlkey=q3rqx0zvh1"
TOKEN = "sl.test-token"


class DropboxApi(StandIn):
    """`files`: path → (revision, bytes). `page`: the most entries on one page. `password`: the
    link's. Folders are those that hold something."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[int, bytes]] = {}
        self.page = 2000
        self.password: str | None = None
        self._listings: dict[str, list[dict[str, object]]] = {}

    def put(self, path: str, data: bytes) -> None:
        revision = self.files.get(path, (0, b""))[0]
        self.files[path] = (revision + 1, data)

    def respond(self, asked: Asked) -> Said:
        assert asked.method == "POST"
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return refusal("invalid_access_token/", 401)
        if asked.path == "/2/sharing/get_shared_link_file":
            argument = asked.headers["dropbox-api-arg"]
            assert argument.isascii()
            return self._file(json.loads(argument))
        body = json.loads(asked.body)
        if asked.path == "/2/files/list_folder":
            return self._list(body)
        assert asked.path == "/2/files/list_folder/continue"
        assert list(body) == ["cursor"]
        return self._page(body["cursor"])

    def _refused(self, url: str, password: str | None) -> Said | None:
        if url != LINK:
            return refusal("shared_link_not_found/")
        return refusal("shared_link_access_denied/") if password != self.password else None

    def _list(self, body: dict[str, object]) -> Said:
        shared = body["shared_link"]
        assert isinstance(shared, dict)
        assert not body.get("recursive")  # "Only non-recursive mode is supported for shared link."
        refused = self._refused(shared["url"], shared.get("password"))
        if refused is not None:
            return refused
        path = str(body["path"])
        inside = [each for each in self.files if each.startswith(f"{path}/")]
        if not inside and path:
            return refusal("path/not_found/")
        names = {each.removeprefix(f"{path}/").partition("/")[0] for each in inside}
        cursor = f"cursor-{len(self._listings)}"
        # The order is not promised: backwards is one.
        self._listings[cursor] = [self._entry(path, name) for name in sorted(names, reverse=True)]
        return self._page(cursor)

    def _page(self, cursor: str) -> Said:
        rest = self._listings[cursor]
        self._listings[cursor] = rest[self.page :]
        more = len(rest) > self.page
        return said_json({"entries": rest[: self.page], "cursor": cursor, "has_more": more})

    def _entry(self, path: str, name: str) -> dict[str, object]:
        if f"{path}/{name}" not in self.files:
            return {".tag": "folder", "name": name, "id": f"id:{name}"}
        return {".tag": "file", "name": name, "id": f"id:{name}"} | self._told(f"{path}/{name}")

    def _told(self, path: str) -> dict[str, object]:
        revision, data = self.files[path]
        return {"rev": f"01000000000{revision:04x}", "size": len(data)}

    def _file(self, argument: dict[str, str]) -> Said:
        refused = self._refused(argument["url"], argument.get("link_password"))
        if refused is not None:
            return refused
        path = argument["path"]
        if path not in self.files:
            return refusal("shared_link_not_found/")
        told = json.dumps({".tag": "file", "url": argument["url"], **self._told(path)})
        return Said(self.files[path][1], headers={"Dropbox-API-Result": told})

    def spec(self, link: str = LINK, *, token: str = TOKEN, password: str = "") -> SourceSpec:
        credentials = {"token": token, "password": password}
        return SourceSpec(
            "dropbox",
            link,
            (("api", self.url("/2")),),
            tuple((name, value) for name, value in credentials.items() if value),
        )


def refusal(summary: str, status: int = 409, **headers: str) -> Said:
    tag = summary.partition("/")[0]
    return said_json({"error_summary": f"{summary}..", "error": {".tag": tag}}, status, **headers)


def dropbox(_: Path, held: ExitStack) -> Place:
    api = held.enter_context(DropboxApi())
    api.page = 2
    api.password = "link-password"
    for name, data in PHOTOS.items():
        api.put(f"/{name}", data)
    return Place(
        api.spec(password="link-password"),
        gone=lambda name: api.files.__delitem__(f"/{name}"),
        change=lambda name, data: api.put(f"/{name}", data),
        nowhere=api.spec(f"{BASE}?rlkey=another", password="link-password"),
        locked=api.spec(token="sl.wrong-token", password="link-password"),
    )


PLACES = {"dropbox (stand-in)": dropbox}
