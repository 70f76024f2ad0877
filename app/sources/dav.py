"""A folder on a WebDAV server (RFC 4918): listed folder by folder, opened file by file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from app.core.errors import BadInput, ClairError, ForbiddenAddress, PhotoRejected
from app.core.marks import HOME_MARK
from app.core.photos import BadEntry, Locator
from app.sources.addresses import WebAddress, parse_url
from app.sources.asking import COMPRESSED, MAX_PAGE_BYTES, bad_listing
from app.sources.http import Fetcher, HttpStream
from app.sources.login import Login
from app.sources.multistatus import (
    PROPFIND,
    MultistatusReader,
    Resource,
    entity_tag,
    version_of,
)
from app.sources.refusals import Explain, Refusal
from app.sources.walking import Folder, Found, Wanted, is_hidden, joined

MAX_MEMBERS = 100_000
"""Photos and folders in one folder, which are held to be sorted."""

_LISTING = {"Content-Type": "application/xml; charset=utf-8", **COMPRESSED}
# What may stand in a path besides letters and digits. "+" and ";" are escaped, for there are
# servers that read a space and a parameter in them.
_SAFE = "!$'()*,:@&="


class _SignInAgain(ClairError):
    """The server told how to sign in: the same request may do better now."""


@dataclass(frozen=True, slots=True)
class Member:
    """A direct member of a listed folder. `name` is for people, `segment` stands in addresses."""

    name: str
    segment: str
    resource: Resource


class DavFolder:
    """`base`: the address that is asked; `shown`: the one that people are shown in its place, and
    that keys begin with. Both end with "/"."""

    def __init__(
        self,
        fetcher: Fetcher,
        base: str,
        login: Login,
        *,
        shown: str | None = None,
        headers: Mapping[str, str] | None = None,
        explain: Explain | None = None,
    ) -> None:
        self.base = folder_address(base)
        self.shown = self.base if shown is None else shown
        self._host = parse_url(self.base).host
        self._path = parse_url(self.base).path_and_query
        self._fetcher = fetcher
        self._login = login
        self._headers = dict(headers or {})
        self._explain = explain or refused

    def root(self) -> Folder:
        return Folder("", "", self.shown)

    async def look(self, folder: Folder, wanted: Wanted) -> AsyncIterator[Found | Folder]:
        """The photos and folders of one folder, by name. Raises PhotoRejected where the server
        refuses it or answers with something else, SourceUnavailable where it fails."""
        members: list[Member] = []
        async for each in self._members(folder):
            if isinstance(each, BadEntry):
                yield each
                continue
            if each.name == HOME_MARK:
                return  # our own thumbnails are no photos of an event
            path = joined(folder.path, each.name)
            found = each.resource
            is_folder = found.collection and not is_hidden(each.name)
            if is_folder or not each.name or wanted(path, found.content_type):
                members.append(each)
            if len(members) > MAX_MEMBERS:
                raise bad_listing(f"The folder holds more than {MAX_MEMBERS:,} photos.")
        for each in sorted(members, key=lambda member: member.name):
            yield self._entry(folder, each)

    def _entry(self, folder: Folder, member: Member) -> Found | Folder:
        found = member.resource
        address = folder.address + member.segment
        uri = self.shown + address if address else self.shown.removesuffix("/")
        if found.collection:
            return folder.below(member.name, f"{address}/", f"{uri}/")
        if found.status >= 400:
            message = f"The server lists it with status {found.status}."
            return BadEntry(uri, uri, "forbidden", message)
        return Locator(key=uri, uri=uri, version=found.version, size=found.size)

    async def _members(self, folder: Folder) -> AsyncIterator[Member | BadEntry]:
        """Direct members only, the folder itself where it is no folder but a photo. A listing that
        goes deeper or repeats itself changes nothing."""
        here = self._path + folder.address
        seen: set[str] = set()
        url = self.base + folder.address
        for found in await self.listing(url):
            segments = self._segments(found.href, url)
            if found.status in (404, 410):
                continue  # it went away while the server made the list
            if segments is None:
                message = "The server lists something that lies elsewhere."
                yield BadEntry(found.href[:500], found.href[:500], "outside-folder", message)
                continue
            path = "/".join(segments)
            if path.rstrip("/") == here.rstrip("/"):
                if not found.collection and not folder.address and found.size is not None:
                    yield Member("", "", found)
                continue
            segment = path.removeprefix(here).rstrip("/")
            if not path.startswith(here) or "/" in segment or segment in seen:
                continue
            seen.add(segment)
            yield Member(_decoded(segment), segment, found)

    async def listing(self, url: str, depth: int = 1) -> list[Resource]:
        """What the server says of `url`, and with depth 1 of its members."""
        headers = {**_LISTING, "Depth": str(depth)}
        # Read at once: the fetcher's deadline must not run while the photos are being stored.
        async with self._request("PROPFIND", url, headers, PROPFIND) as stream:
            reader = MultistatusReader()
            found: list[Resource] = []
            total = 0
            async for chunk in stream.chunks():
                total += len(chunk)
                if total > MAX_PAGE_BYTES:
                    raise bad_listing(f"The listing is larger than {MAX_PAGE_BYTES // 10**6} MB.")
                reader.feed(chunk)
                found += reader.take()
            reader.close()
            return found + reader.take()

    def _segments(self, href: str, listed_at: str) -> list[str] | None:
        """The path of an href in one spelling, from the server's root; None where it leads out."""
        try:
            address = parse_url(href, listed_at)
        except PhotoRejected:
            return None
        segments = _canonical(address.path_and_query.partition("?")[0])
        if address.host != self._host or segments is None:
            return None
        inside = "/".join([*segments, ""]).startswith(self._path)
        return segments if inside else None

    @asynccontextmanager
    async def open(self, locator: Locator, unless: str | None) -> AsyncIterator[HttpStream]:
        """A photo of this folder. Its version is the one that a listing would state."""
        url = self.base + self.address_of(locator)
        headers = {}
        if unless is not None and unless.startswith('"') and unless.isascii():
            headers = {"If-None-Match": unless} if unless.isprintable() else {}
        async with self._request("GET", url.removesuffix("/"), headers) as stream:
            modified = stream.headers.get("Last-Modified")
            by_time = version_of(None, modified, stream.size)
            tag = entity_tag(stream.headers.get("ETag"))
            listed_by_time = locator.version is not None and not locator.version.startswith('"')
            stream.version = by_time if listed_by_time or tag is None else tag
            yield stream

    def address_of(self, locator: Locator) -> str:
        """Relative to the base. Raises ForbiddenAddress for what lies elsewhere: a sign-in must
        not go there."""
        if locator.uri == self.shown.removesuffix("/"):
            return ""
        address = locator.uri.removeprefix(self.shown)
        if address == locator.uri or _canonical(address) != address.split("/"):
            raise ForbiddenAddress(f"{locator.uri} lies outside {self.shown}.")
        return address

    @asynccontextmanager
    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[HttpStream]:
        async with AsyncExitStack() as held:
            yield await self._answered(held, method, url, headers, body)

    async def _answered(
        self,
        held: AsyncExitStack,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> HttpStream:
        address = self._fetcher.policy.check_url(url)
        may_learn = True

        def explain(refusal: Refusal) -> ClairError | None:
            if refusal.status == 401 and may_learn and self._login.learn(refusal.challenges):
                return _SignInAgain("The server asks for a sign-in.")
            return self._explain(refusal)

        async def answer() -> HttpStream:
            signed = self._login.headers(method, address)
            sent = {**self._headers, **headers, **signed}
            asked = self._fetcher.open(url, headers=sent, method=method, body=body, explain=explain)
            return await held.enter_async_context(asked)

        try:
            return await answer()
        except _SignInAgain:
            may_learn = False
            return await answer()


def refused(refusal: Refusal) -> ClairError | None:
    """What statuses mean on a WebDAV server; None for those that mean the same everywhere."""
    address = refusal.address
    if refusal.status == 404:
        return PhotoRejected("not-found", f"There is nothing at {address}.")
    if refusal.status == 401:
        return PhotoRejected(
            "unauthorised",
            f"The server does not accept the sign-in for {address}.",
            cure="Check the user name and password of the source.",
        )
    if refusal.status in (301, 302, 303, 307, 308):
        return PhotoRejected(
            "bad-redirect",
            f"{address} is to be found at {refusal.location[:500] or 'another address'}.",
            cure="Give that address.",
        )
    if refusal.status in (400, 405, 415, 501):
        return PhotoRejected(
            "bad-listing",
            f"{address} is no WebDAV folder ({refusal.status}).",
            cure="Check the address: Nextcloud's ends with /remote.php/dav/files/USER/.",
        )
    return None


def folder_address(url: str) -> str:
    """A folder's URL in one spelling, ending with "/". Raises BadInput where it can't be one."""
    try:
        address: WebAddress = parse_url(url)
    except PhotoRejected as error:
        raise BadInput(error.message, cure=error.cure) from error
    path, query, _ = address.path_and_query.partition("?")
    segments = _canonical(path)
    if query or segments is None:
        raise BadInput(f"{url} is not the address of a folder.", cure="Give it without a “?”.")
    return address.origin + "/".join(segments).rstrip("/") + "/"


def _canonical(path: str) -> list[str] | None:
    """A path's segments, each escaped in one way; None where it climbs."""
    segments = [
        quote(unquote_to_bytes(segment), safe=_SAFE)
        for segment in path.encode("utf-8", "replace").decode().split("/")
    ]
    if any(segment in (".", "..") for segment in segments):
        return None
    return segments


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment).decode("utf-8", "replace")
