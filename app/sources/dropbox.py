"""A folder that was shared by a Dropbox link, read by the Dropbox API, version 2."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, quote, unquote, urlencode

from app.core.errors import (
    BadInput,
    ClairError,
    ForbiddenAddress,
    NotModified,
    PhotoRejected,
    SourceUnavailable,
)
from app.core.marks import HOME_MARK
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceField, SourceSpec
from app.sources.asking import (
    API_ADDRESS,
    api_address,
    ask_json,
    bad_listing,
    byte_count,
    checked_secret,
)
from app.sources.kinds import Kind, SourceTools
from app.sources.refusals import Refusal, json_object
from app.sources.walking import EXCLUDE, INCLUDE, Folder, Found, Wanted, is_hidden, joined, walk

API = "https://api.dropboxapi.com/2"
CONTENT = "https://content.dropboxapi.com/2"
PAGE_SIZE = 2000
MAX_PAGES = 500
"""Of one folder, whose photos are held to be sorted."""

_LINK = re.compile(
    r"https?://(?:www\.)?dropbox\.com/(?P<share>(?:scl/fo|sh)/[\w-]+/[\w-]+)(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.ASCII,
)


class DropboxSource:
    """All photos behind a Dropbox link and below, each folder's by name.

    The key is the link with the photo's path, without what opens it: the link's own key may be
    renewed. The version is Dropbox's revision.
    """

    kind = "dropbox"
    revalidates = False
    scales = False

    def __init__(self, spec: SourceSpec, tools: SourceTools) -> None:
        link = _parsed(spec.uri)
        if link is None:
            raise BadInput(
                f"{spec.uri} is no link to a folder on Dropbox.",
                cure="It looks like https://www.dropbox.com/scl/fo/…?rlkey=….",
            )
        self._base, self._link, self._path = link
        token = checked_secret("token", spec.credential("token"))
        if token is None:
            raise BadInput(
                "Dropbox wants a token.",
                cure="Make an app on dropbox.com/developers, and give its access token.",
            )
        self._sign_in = {"Authorization": f"Bearer {token}"}
        self._password = spec.credential("password")
        self._api = api_address(spec, API)
        self._content = api_address(spec, CONTENT)
        self._fetcher = tools.fetcher
        self._wanted = Wanted(spec)

    def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where the link or the token is wrong, SourceUnavailable where Dropbox
        fails or asks to slow down."""
        return walk(Folder("", self._path, self._base + quote(self._path)), self._look)

    async def _look(self, folder: Folder) -> AsyncIterator[Found | Folder]:
        # A listing by link can't be recursive, and its order is not promised.
        kept: list[tuple[str, dict[str, object]]] = []
        async for entry in self._entries(folder.address):
            name = entry.get("name")
            if not isinstance(name, str) or not name:
                raise bad_listing("Dropbox's answer holds a file without a name.")
            if name == HOME_MARK:
                return  # our own thumbnails are no photos of an event
            tag = entry.get(".tag")
            if (tag == "folder" and not is_hidden(name)) or (
                tag == "file" and self._wanted(joined(folder.path, name))
            ):
                kept.append((name, entry))
        for name, entry in sorted(kept, key=lambda each: each[0]):
            address = f"{folder.address}/{name}"
            uri = self._base + quote(address, errors="replace")
            if entry[".tag"] == "folder":
                yield folder.below(name, address, uri)
                continue
            yield Locator(key=uri, uri=uri, version=_rev(entry), size=byte_count(entry.get("size")))

    async def _entries(self, path: str) -> AsyncIterator[dict[str, object]]:
        shared: dict[str, object] = {"url": self._link}
        if self._password is not None:
            shared["password"] = self._password
        asked: dict[str, object] = {
            "path": path,
            "shared_link": shared,
            "limit": PAGE_SIZE,
            "include_non_downloadable_files": False,
        }
        url = f"{self._api}/files/list_folder"
        for _ in range(MAX_PAGES):
            page = await ask_json(self._fetcher, url, _explain, headers=self._sign_in, body=asked)
            entries = page.get("entries")
            if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
                raise bad_listing("Dropbox's answer holds no entries.")
            for entry in entries:
                yield entry
            if page.get("has_more") is not True:
                return
            url, asked = f"{self._api}/files/list_folder/continue", {"cursor": page.get("cursor")}
        raise bad_listing("The folder's listing does not end.")

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[PhotoStream]:
        path = unquote(locator.uri.removeprefix(self._base))
        if not locator.uri.startswith(f"{self._base}/"):
            raise ForbiddenAddress(f"{locator.uri} lies outside {self._base}.")
        asked = {"url": self._link, "path": path}
        if self._password is not None:
            asked["link_password"] = self._password
        headers = {**self._sign_in, "Dropbox-API-Arg": _header(asked)}
        url = f"{self._content}/sharing/get_shared_link_file"
        asked_for = self._fetcher.open(
            url, headers=headers, method="POST", body=b"", explain=_explain
        )
        async with asked_for as stream:
            told = json_object(stream.headers.get("Dropbox-API-Result", "").encode()) or {}
            version = _rev(told) or locator.version
            if unless is not None and version == unless:
                raise NotModified
            stream.version = version
            yield stream


def _header(asked: dict[str, str]) -> str:
    """JSON that may stand in a header: ASCII without control characters (0x7f is one)."""
    return json.dumps(asked).replace("\x7f", "\\u007f")


def _rev(entry: dict[str, object]) -> str | None:
    rev = entry.get("rev")
    return rev if isinstance(rev, str) and re.fullmatch(r"[0-9A-Za-z_-]{1,128}", rev) else None


def _explain(refusal: Refusal) -> ClairError | None:
    """Dropbox's own words are left out, but for its summary: some repeat what was sent."""
    summary = refusal.json().get("error_summary")
    summary = summary if isinstance(summary, str) else ""
    if refusal.status == 401 or (refusal.status == 400 and b"OAuth" in refusal.body):
        return _unauthorised(summary)
    if refusal.status == 400 and b"uthorization" in refusal.body:
        return _unauthorised(summary)
    if refusal.status != 409:
        return None
    short = f" ({re.sub('[^a-z_/]', '', summary)[:80].strip('/')})"
    if "reset" in summary:
        return SourceUnavailable("server-error", "Dropbox lost its place in the listing.")
    if "not_found" in summary:
        return PhotoRejected(
            "not-found",
            f"Dropbox has no such link, folder or file{short}.",
            cure="Check the link in a browser: it may have expired.",
        )
    if "not_folder" in summary or "unsupported_link_type" in summary:
        return bad_listing(f"The link leads to no folder{short}.")
    return PhotoRejected(
        "forbidden",
        f"Dropbox refuses to hand it out{short}.",
        cure="Check who may see and download the link, and its password.",
    )


def _unauthorised(summary: str) -> PhotoRejected:
    if "missing_scope" in summary:
        return PhotoRejected(
            "unauthorised",
            "The token lacks a permission.",
            cure="It needs files.metadata.read and sharing.read. Tick them, then make a new token.",
        )
    what = "has expired" if "expired_access_token" in summary else "is not accepted"
    return PhotoRejected(
        "unauthorised", f"The Dropbox token {what}.", cure="Make a new one, and give it here."
    )


def _parsed(uri: str) -> tuple[str, str, str] | None:
    """(address without its key, link for the API, path within the share), or None."""
    match = _LINK.fullmatch(uri.strip())
    if match is None:
        return None
    base = f"https://www.dropbox.com/{match['share']}"
    key = dict(parse_qsl(match["query"] or "")).get("rlkey")
    link = f"{base}?{urlencode({'rlkey': key})}" if key else base
    return base, link, unquote(match["path"] or "").rstrip("/")


def _recognise(uri: str) -> str | None:
    link = _parsed(uri)
    if link is None:
        return None
    return f"All photos behind the Dropbox link {link[0]} and below."


DROPBOX = Kind(
    "dropbox",
    "A Dropbox folder link",
    "https://www.dropbox.com/scl/fo/5ulzmwlxnx9fdg2/AAB5Y?rlkey=q3rqx0zvh1",
    _recognise,
    DropboxSource,
    (
        SourceField("token", "Token", "An access token of a Dropbox app of yours.", True),
        SourceField("password", "Password", "Of the link, where it has one.", True),
        API_ADDRESS,
        INCLUDE,
        EXCLUDE,
    ),
)
