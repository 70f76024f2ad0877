"""A stand-in for the Drive API, version 3, after its documentation. It is not the real service."""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place
from tests.sources.standin import Asked, Said, StandIn, said_json

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
ROOT = "1RootFolder_of-the-Wedding"
API_KEY, TOKEN = "AIzaSyTest-key_123", "ya29.test-token"


@dataclass
class DriveFile:
    """`key`: its resource key, without which it is not found. `more`: further fields."""

    name: str
    parent: str
    data: bytes = b""
    media: str = "image/jpeg"
    key: str | None = None
    more: dict[str, object] = field(default_factory=dict)


class DriveApi(StandIn):
    """`files` by id. `page`: the most files on one page, whatever is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, DriveFile] = {ROOT: DriveFile("Wedding", "", media=FOLDER)}
        self.page = 1000

    def respond(self, asked: Asked) -> Said:
        refusal = _refused(asked)
        if refusal is not None:
            return refusal
        match = re.fullmatch(r"/drive/v3/files(?:/([A-Za-z0-9_-]+))?", asked.path)
        if match is None:
            return Said(status=404)
        if match[1] is None:
            return self._list(asked)
        file = self._visible(match[1], asked)
        if file is None:
            return error(404, "notFound", f"File not found: {match[1]}.")
        if asked.query.get("alt") == "media":
            return Said(file.data, headers={"Content-Type": file.media})
        return said_json(self._resource(match[1], asked.query["fields"]))

    def _visible(self, number: str, asked: Asked) -> DriveFile | None:
        file = self.files.get(number)
        shown = asked.headers.get("x-goog-drive-resource-keys", "").split(",")
        return None if file is None or (file.key and f"{number}/{file.key}" not in shown) else file

    def _list(self, asked: Asked) -> Said:
        query = asked.query
        match = re.fullmatch(r"'([^']+)' in parents and trashed=false", query["q"])
        assert match is not None
        assert int(query["pageSize"]) <= 1000
        assert query["orderBy"] == "name"
        assert (query["supportsAllDrives"], query["includeItemsFromAllDrives"]) == ("true", "true")
        if self._visible(match[1], asked) is None:
            return error(404, "notFound", "File not found: .")
        found = [number for number, file in self.files.items() if file.parent == match[1]]
        found.sort(key=lambda number: self.files[number].name)
        start = int(query.get("pageToken", "0").removeprefix("page-") or 0)
        end = start + min(self.page, int(query["pageSize"]))
        fields = re.fullmatch(r"nextPageToken,files\((.*)\)", query["fields"])
        assert fields is not None
        page: dict[str, object] = {
            "files": [self._resource(number, fields[1]) for number in found[start:end]]
        }
        if end < len(found):
            page["nextPageToken"] = f"page-{end}"
        return said_json(page)

    def _resource(self, number: str, fields: str) -> dict[str, object]:
        file = self.files[number]
        known: dict[str, object] = {"id": number, "name": file.name, "mimeType": file.media}
        if file.key:
            known["resourceKey"] = file.key
        if not file.media.startswith("application/vnd.google-apps."):
            known["md5Checksum"] = hashlib.md5(file.data).hexdigest()
            known["size"] = str(len(file.data))
        known |= file.more
        wanted = set(re.sub(r"\([^)]*\)", "", fields).split(","))
        return {name: value for name, value in known.items() if name in wanted}

    def spec(self, link: str = "", *, secret: str = API_KEY, **options: str) -> SourceSpec:
        return SourceSpec(
            "drive",
            link or f"https://drive.google.com/drive/folders/{ROOT}",
            (("api", self.url("/drive/v3")), *options.items()),
            (("api_key" if secret.startswith("AIza") else "token", secret),),
        )


def error(status: int, reason: str, message: str, **headers: str) -> Said:
    told = [{"domain": "global", "reason": reason, "message": message}]
    body = {"error": {"errors": told, "code": status, "message": message}}
    return said_json(body, status, **headers)


def _refused(asked: Asked) -> Said | None:
    key, token = asked.headers.get("x-goog-api-key"), asked.headers.get("authorization")
    assert "key" not in asked.query
    if key is not None and key != API_KEY:
        message = "API key not valid. Please pass a valid API key."
        details = [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
        told = [{"message": message, "domain": "global", "reason": "badRequest"}]
        body = {"code": 400, "message": message, "errors": told, "details": details}
        return said_json({"error": body}, 400)
    if token is not None and token != f"Bearer {TOKEN}":
        return error(401, "authError", "Invalid Credentials")
    if key is None and token is None:
        return error(403, "forbidden", "Method doesn't allow unregistered callers.")
    return None


def drive(_: Path, held: ExitStack) -> Place:
    api = held.enter_context(DriveApi())
    api.page = 2
    ids = {name: f"1id-of-{name.partition('.')[0]}_{n}" for n, name in enumerate(PHOTOS)}
    for name, data in PHOTOS.items():
        api.files[ids[name]] = DriveFile(name, ROOT, data)

    def change(name: str, data: bytes) -> None:
        api.files[ids[name]].data = data

    return Place(
        api.spec(),
        gone=lambda name: api.files.__delitem__(ids[name]),
        change=change,
        nowhere=api.spec("https://drive.google.com/drive/folders/1NoSuchFolder"),
        locked=api.spec(secret="AIza-wrong-key"),
    )


PLACES = {"google drive (stand-in)": drive}
