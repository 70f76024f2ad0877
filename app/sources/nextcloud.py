"""A folder that was shared by a public link of Nextcloud or ownCloud."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qsl, quote

from app.core.errors import BadInput, ClairError, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceField, SourceSpec
from app.sources.addresses import parse_url
from app.sources.asking import wrong_place
from app.sources.dav import DavFolder, folder_address, refused
from app.sources.kinds import Kind, SourceTools
from app.sources.login import HeaderLogin, basic
from app.sources.refusals import Refusal
from app.sources.walking import EXCLUDE, INCLUDE, Wanted, walk

_LINK = re.compile(
    r"(?P<server>https?://[^/?#]+(?:/[^?#]*?)??)(?:/index\.php)?/s/(?P<token>[A-Za-z0-9_-]{6,64})"
    r"(?:/(?:download|authenticate(?:/[a-z]+)?)?)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.IGNORECASE,
)
# Where the files behind a link are, and as whom they are asked for: Nextcloud from version 29 on,
# Nextcloud and ownCloud 10 of before, ownCloud Infinite Scale. The last comes last because a
# Nextcloud asks for an account there.
_WAYS = (
    ("/public.php/dav/files/{token}", "anonymous"),
    ("/public.php/webdav", "{token}"),
    ("/remote.php/dav/public-files/{token}", "public"),
)
# Where a Nextcloud does not hand its shares on to other clouds, only its own page may ask, and it
# says so with this header.
_HEADERS = {"X-Requested-With": "XMLHttpRequest"}


class NextcloudSource:
    """All photos behind a public link and below, each folder's by name.

    The key is the link with the photo's path. Which of the server's ways leads there is tried out
    once and remembered.
    """

    kind = "nextcloud"
    revalidates = False
    scales = False

    def __init__(self, spec: SourceSpec, tools: SourceTools) -> None:
        link = _parsed(spec.uri)
        if link is None:
            raise BadInput(
                f"{spec.uri} is no public link of a Nextcloud or ownCloud.",
                cure="It looks like https://cloud.example.org/s/TOKEN.",
            )
        self._link, self._server, self._token, self._path = link
        self._password = spec.credential("password") or ""
        self._fetcher = tools.fetcher
        self._wanted = Wanted(spec)
        self._found: DavFolder | None = None
        self._finding = asyncio.Lock()

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where the link leads nowhere or the password is wrong."""
        try:
            folder = await self._folder()
        except PhotoRejected as error:
            raise wrong_place(error) from error
        async for each in walk(folder.root(), partial(folder.look, wanted=self._wanted)):
            yield each

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[PhotoStream]:
        folder = await self._folder()
        async with folder.open(locator, unless) as stream:
            yield stream

    async def _folder(self) -> DavFolder:
        async with self._finding:
            if self._found is None:
                self._found = await self._find()
            return self._found

    async def _find(self) -> DavFolder:
        """The first way that leads to the share. Servers that don't know a way answer 404 or, being
        older, 500."""
        refusals: list[PhotoRejected] = []
        failure: SourceUnavailable | None = None
        for path, user in _WAYS:
            folder = self._way(path.format(token=self._token), user.format(token=self._token))
            try:
                await folder.listing(folder.base, depth=0)
            except PhotoRejected as error:
                last = path == _WAYS[-1][0]
                if error.reason == "forbidden-address" or (
                    error.reason == "unauthorised" and not last
                ):
                    raise
                refusals.append(error)
            except SourceUnavailable as error:
                if error.reason != "server-error":
                    raise
                failure = error
            else:
                return folder
        raise self._not_found(refusals, failure)

    def _not_found(
        self, refusals: list[PhotoRejected], failure: SourceUnavailable | None
    ) -> ClairError:
        if failure is not None and not refusals:
            return failure
        reasons = {error.reason for error in refusals}
        if "unauthorised" in reasons and "not-found" not in reasons:
            return refusals[-1]
        return PhotoRejected(
            "not-found",
            f"The link {self._link} leads to nothing.",
            cure="Check it in a browser: it may have expired, or its folder was moved.",
        )

    def _way(self, path: str, user: str) -> DavFolder:
        # The name goes along even without a password: a server that is asked without any answers
        # 503 where the share has gone.
        return DavFolder(
            self._fetcher,
            self._server + path + self._path,
            HeaderLogin(basic(user, self._password)),
            shown=folder_address(self._link + self._path),
            headers=_HEADERS,
            explain=self._explain,
        )

    def _explain(self, refusal: Refusal) -> ClairError | None:
        if refusal.status != 401:
            return refused(refusal)
        if self._password:
            message = f"The server refuses the password of {self._link}, or the link has expired."
            cure = "Check both in a browser, and give the password again."
        else:
            message = f"The link {self._link} wants a password, or has expired."
            cure = "Check it in a browser, and give the password of the share."
        return PhotoRejected("unauthorised", message, cure=cure)


def _parsed(uri: str) -> tuple[str, str, str, str] | None:
    """(link, server, token, escaped path within the share or ""), or None."""
    match = _LINK.fullmatch(uri.strip())
    if match is None:
        return None
    try:
        server = parse_url(match["server"])
    except PhotoRejected as error:
        raise wrong_place(error) from error
    if f".{server.host}".endswith(".dropbox.com"):
        return None
    address = str(server).rstrip("/")
    given = dict(parse_qsl(match["query"] or ""))
    path = (given.get("path") or given.get("dir") or "").strip("/")
    token = match["token"]
    return f"{address}/s/{token}", address, token, f"/{quote(path)}" if path else ""


def _recognise(uri: str) -> str | None:
    link = _parsed(uri)
    if link is None:
        return None
    return f"All photos behind the public link {link[0]} and below."


NEXTCLOUD = Kind(
    "nextcloud",
    "A public link of Nextcloud or ownCloud",
    "https://cloud.example.org/s/Kx7TqWZ3mPdN2Ls",
    _recognise,
    NextcloudSource,
    (
        SourceField("password", "Password", "Of the link, where it has one.", True),
        INCLUDE,
        EXCLUDE,
    ),
)
