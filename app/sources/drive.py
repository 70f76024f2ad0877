"""A shared folder on Google Drive, read by the Drive API, version 3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from app.core.errors import BadInput, ClairError, PhotoRejected, SourceUnavailable
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
    wrong_place,
)
from app.sources.http import HttpStream
from app.sources.kinds import Kind, SourceTools
from app.sources.refusals import Refusal
from app.sources.rows import parse_time
from app.sources.walking import EXCLUDE, INCLUDE, Folder, Found, Wanted, is_hidden, shown, walk

API = "https://www.googleapis.com/drive/v3"
PAGE_SIZE = 1000
MAX_PAGES = 1000
"""Of one folder: a million files, as many as one may hold."""

_FOLDER = "application/vnd.google-apps.folder"
_SHORTCUT = "application/vnd.google-apps.shortcut"
_FILE = (
    "id,name,mimeType,md5Checksum,size,resourceKey,imageMediaMetadata(time),"
    "shortcutDetails(targetId,targetMimeType,targetResourceKey)"
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_LINK = re.compile(r"https?://drive\.google\.com/(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?")
_FOLDER_PATH = re.compile(r"drive/(?:u/\d+/)?(?:mobile/)?folders/(?P<id>[A-Za-z0-9_-]+)/?")
_PHOTO = re.compile(r"https://drive\.google\.com/file/d/(?P<id>[A-Za-z0-9_-]+)/view")
# Reasons in the body of a 403 (developers.google.com/drive/api/guides/handle-errors).
_TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_USED_UP = frozenset({"dailyLimitExceeded", "downloadQuotaExceeded", "quotaExceeded"})
_CREDENTIAL = frozenset(
    {
        "accessNotConfigured", "insufficientPermissions", "dailyLimitExceededUnreg", "keyInvalid",
        "keyExpired", "ipRefererBlocked", "authError", "API_KEY_INVALID", "SERVICE_DISABLED",
        "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED",
        "CONSUMER_INVALID", "CONSUMER_SUSPENDED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    }
)  # fmt: skip
USED_UP_SECONDS = 3600.0
"""Until a spent quota is worth another try; Google's come back once a day."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A file or folder of a listing. `address`: its id, with "/" and its resource key if any."""

    id: str
    name: str
    media: str
    address: str
    md5: str | None
    size: int | None
    time: str | None
    target: _Item | None = None


class DriveSource:
    """All photos in a Drive folder and below, by name.

    The key is the photo's address on Drive, which holds its id: it stays when the photo is renamed
    or moved, and a photo that lies in two folders is one. The path is the title. Its version is the
    MD5 of its bytes, which Drive lists.
    """

    kind = "drive"
    revalidates = False
    scales = False

    def __init__(self, spec: SourceSpec, tools: SourceTools) -> None:
        link = _parsed(spec.uri)
        if link is None:
            raise BadInput(
                f"{spec.uri} is no folder of Google Drive.",
                cure="It looks like https://drive.google.com/drive/folders/ID.",
            )
        self._address = link
        self._api = api_address(spec, API)
        self._sign_in = _sign_in(spec)
        self._fetcher = tools.fetcher
        self._wanted = Wanted(spec)

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where the folder or the credential is wrong, SourceUnavailable where
        Drive fails or asks to slow down."""
        try:
            base = await self._get(self._address)
        except PhotoRejected as error:
            raise wrong_place(error) from error
        if base.media != _FOLDER:
            raise BadInput("The link leads to a file.", cure="Give the link of its folder.")
        seen: set[str] = {base.id}

        async def look(folder: Folder) -> AsyncIterator[Found | Folder]:
            async for item in self._children(folder.address):
                async for each in self._entries(folder, item, seen):
                    yield each

        async for each in walk(Folder("", self._address, _folder_uri(base.id)), look):
            yield each

    async def _entries(
        self, folder: Folder, item: _Item, seen: set[str]
    ) -> AsyncIterator[Found | Folder]:
        """A photo or folder that was not seen before; nothing for other files."""
        if is_hidden(item.name):
            return
        real = item.target or item
        path = f"{folder.path}/{item.name}" if folder.path else item.name
        is_folder = real.media == _FOLDER
        if real.id in seen or not (is_folder or self._wanted(path, real.media)):
            return
        seen.add(real.id)
        if is_folder:
            yield folder.below(item.name, real.address, _folder_uri(real.id))
            return
        uri = _photo_uri(real.address)
        if item.target is not None:  # only the photo's own entry has its size and MD5
            try:
                real = await self._get(real.address)
            except PhotoRejected as error:
                if error.reason == "unauthorised":
                    raise
                yield BadEntry(_photo_uri(real.id), uri, error.reason, error.message)
                return
        yield Locator(
            key=_photo_uri(real.id),
            uri=uri,
            title=shown(path),
            taken_at=parse_time(real.time),
            version=real.md5,
            size=real.size,
        )

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[PhotoStream]:
        match = _PHOTO.match(locator.uri)
        if match is None:
            raise PhotoRejected("bad-address", f"{locator.uri} is no photo on Google Drive.")
        key = dict(parse_qsl(locator.uri.partition("?")[2])).get("resourcekey")
        address = f"{match['id']}/{key}" if key and _ID.fullmatch(key) else match["id"]
        url = f"{self._api}/files/{match['id']}?alt=media&supportsAllDrives=true"
        headers = self._headers(address)
        async with self._fetcher.open(url, headers=headers, explain=_explain) as stream:
            yield _Hashed(stream, locator.version)

    async def _children(self, address: str) -> AsyncIterator[_Item]:
        query = {
            "q": f"'{address.partition('/')[0]}' in parents and trashed=false",
            "pageSize": str(PAGE_SIZE),
            "orderBy": "name",
            "fields": f"nextPageToken,files({_FILE})",
            "supportsAllDrives": "true",
            "includeItemsFromAllDrives": "true",
        }
        for _ in range(MAX_PAGES):
            url = f"{self._api}/files?{urlencode(query)}"
            page = await ask_json(self._fetcher, url, _explain, headers=self._headers(address))
            files = page.get("files")
            if not isinstance(files, list):
                raise bad_listing("Google Drive's answer holds no files.")
            for each in files:
                yield _item(each)
            token = page.get("nextPageToken")
            if not isinstance(token, str) or not token:
                return
            query["pageToken"] = token
        raise bad_listing("The folder's listing does not end.")

    async def _get(self, address: str) -> _Item:
        query = urlencode({"fields": _FILE, "supportsAllDrives": "true"})
        url = f"{self._api}/files/{address.partition('/')[0]}?{query}"
        found = await ask_json(self._fetcher, url, _explain, headers=self._headers(address))
        return _item(found)

    def _headers(self, address: str) -> dict[str, str]:
        """Link-shared things of before 2021 open only to those who show their resource keys."""
        keys = ",".join(sorted({each for each in (self._address, address) if "/" in each}))
        return {**self._sign_in, **({"X-Goog-Drive-Resource-Keys": keys} if keys else {})}


class _Hashed:
    """A download whose `version` is at its end the MD5 of what came, as Drive lists it; until then
    the one that was listed. A download itself doesn't say which version it is."""

    def __init__(self, stream: HttpStream, listed: str | None) -> None:
        self.version = listed
        self.size = stream.size
        self._stream = stream

    async def chunks(self) -> AsyncIterator[bytes]:
        made = hashlib.md5(usedforsecurity=False)
        async for chunk in self._stream.chunks():
            made.update(chunk)
            yield chunk
        self.version = made.hexdigest()


def _sign_in(spec: SourceSpec) -> dict[str, str]:
    api_key = checked_secret("API key", spec.credential("api_key"))
    token = checked_secret("token", spec.credential("token"))
    if (api_key is None) == (token is None):
        raise BadInput(
            "Google Drive wants an API key or a token, and one of them only.",
            cure="An API key opens folders that anyone with the link may see; a token its owner's.",
        )
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    return {"X-Goog-Api-Key": api_key or ""}


def _explain(refusal: Refusal) -> ClairError | None:
    """Google's own words are left out: some name the key that was sent."""
    reasons = _reasons(refusal.json())
    if refusal.status == 403 and reasons & _TOO_FAST:
        return SourceUnavailable(
            "rate-limited", "Google Drive asks to slow down.", after=refusal.after
        )
    if refusal.status == 403 and reasons & _USED_UP:
        return SourceUnavailable(
            "quota-exceeded", "Google Drive's quota is used up.", after=USED_UP_SECONDS
        )
    if refusal.status == 401 or reasons & _CREDENTIAL:
        why = f" ({min(reasons & _CREDENTIAL)})" if reasons & _CREDENTIAL else ""
        return PhotoRejected(
            "unauthorised",
            f"Google Drive does not accept the API key or token{why}.",
            cure="Check that it is right, not expired, and that the Drive API is enabled for it.",
        )
    if refusal.status == 403:
        return PhotoRejected(
            "forbidden",
            f"Google Drive refuses to hand it out ({min(reasons, default='forbidden')}).",
            cure="Share the folder so that anyone with the link may view and download.",
        )
    if refusal.status == 404:
        return PhotoRejected(
            "not-found",
            "Google Drive has no such file or folder, or the credential may not see it.",
            cure="Share it with anyone who has the link, or use a token of its owner.",
        )
    return None


def _reasons(body: dict[str, object]) -> set[str]:
    """Reasons of an error, of its older form (errors) and of its newer one (details)."""
    error = body.get("error")
    if not isinstance(error, dict):
        return set()
    listed: list[object] = []
    for part in (error.get("errors"), error.get("details")):
        listed += part if isinstance(part, list) else []
    found = {each.get("reason") for each in listed if isinstance(each, dict)}
    return {each for each in found if isinstance(each, str) and _ID.fullmatch(each)}


def _item(found: object) -> _Item:
    """Raises PhotoRejected(bad-listing) for what is no file of the API."""
    if not isinstance(found, dict):
        raise bad_listing("Google Drive's answer holds something else than files.")
    details = found.get("shortcutDetails")
    target = None
    if found.get("mimeType") == _SHORTCUT and isinstance(details, dict):
        target = _item(
            {
                "id": details.get("targetId"),
                "mimeType": details.get("targetMimeType"),
                "resourceKey": details.get("targetResourceKey"),
                "name": found.get("name"),
            }
        )
    name, media, number = found.get("name"), found.get("mimeType"), found.get("id")
    if not (isinstance(number, str) and _ID.fullmatch(number) and isinstance(name, str)):
        raise bad_listing("Google Drive's answer holds a file without id or name.")
    key, md5 = found.get("resourceKey"), found.get("md5Checksum")
    image = found.get("imageMediaMetadata")
    time = image.get("time") if isinstance(image, dict) else None
    return _Item(
        number,
        name,
        media if isinstance(media, str) else "",
        f"{number}/{key}" if isinstance(key, str) and _ID.fullmatch(key) else number,
        md5 if isinstance(md5, str) and _MD5.fullmatch(md5) else None,
        byte_count(found.get("size")),
        time if isinstance(time, str) else None,
        target,
    )


def _folder_uri(number: str) -> str:
    return f"https://drive.google.com/drive/folders/{number}"


def _photo_uri(address: str) -> str:
    number, _, key = address.partition("/")
    return f"https://drive.google.com/file/d/{number}/view" + (f"?resourcekey={key}" if key else "")


def _parsed(uri: str) -> str | None:
    """The folder's id, with "/" and its resource key if any; None for another service's address."""
    match = _LINK.fullmatch(uri.strip())
    if match is None:
        return None
    given = dict(parse_qsl(match["query"] or ""))
    path = _FOLDER_PATH.fullmatch(match["path"])
    number = path["id"] if path else given.get("id", "")
    if not _ID.fullmatch(number) or (path is None and match["path"] not in ("open", "folderview")):
        raise BadInput(
            "That link leads to something else on Google Drive than a folder.",
            cure="Give the link of the folder: https://drive.google.com/drive/folders/ID.",
        )
    key = given.get("resourcekey", "")
    return f"{number}/{key}" if _ID.fullmatch(key) else number


def _recognise(uri: str) -> str | None:
    address = _parsed(uri)
    if address is None:
        return None
    return f"All photos in the Google Drive folder {address.partition('/')[0]} and below."


DRIVE = Kind(
    "drive",
    "A Google Drive folder",
    "https://drive.google.com/drive/folders/1dyUEebJaFnWa3Z4n0BFMVAXQ7mfUH11g",
    _recognise,
    DriveSource,
    (
        SourceField("api_key", "API key", "For folders that anyone with the link may see.", True),
        SourceField("token", "Token", "An OAuth token that may read the folder's files.", True),
        API_ADDRESS,
        INCLUDE,
        EXCLUDE,
    ),
)
