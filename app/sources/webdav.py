"""A folder on a WebDAV server: Nextcloud and ownCloud accounts, NAS boxes, web servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial

from app.core.errors import BadInput
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceField, SourceSpec
from app.sources.asking import checked_secret
from app.sources.dav import DavFolder
from app.sources.kinds import Kind, SourceTools
from app.sources.login import HeaderLogin, Login, PasswordLogin
from app.sources.suffixes import LIST_SUFFIXES
from app.sources.walking import EXCLUDE, INCLUDE, Wanted, walk

_SCHEMES = {"dav": "http", "davs": "https", "webdav": "http", "webdavs": "https"}
# Where servers have their WebDAV: Nextcloud and ownCloud, Seafile, Apache's and nginx's examples.
_PATH = re.compile(
    r"https?://[^/?#]+(/[^?#]*)?/(remote|public)\.php/(web)?dav(/|$)"
    r"|https?://[^/?#]+/(web|seaf)?dav(/|$)",
    re.IGNORECASE,
)


class WebDavSource:
    """All photos in a folder on a WebDAV server and below, each folder's by name.

    The key is the photo's URL.
    """

    kind = "webdav"
    revalidates = False
    scales = False

    def __init__(self, spec: SourceSpec, tools: SourceTools) -> None:
        self._folder = DavFolder(tools.fetcher, web_address(spec.uri), _login(spec))
        self._wanted = Wanted(spec)

    def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where the folder is none or refused, SourceUnavailable where it fails."""
        return walk(self._folder.root(), partial(self._folder.look, wanted=self._wanted))

    def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AbstractAsyncContextManager[PhotoStream]:
        return self._folder.open(locator, unless)


def web_address(uri: str) -> str:
    """dav:// and davs:// as http:// and https://."""
    scheme, separator, rest = uri.strip().partition("://")
    return _SCHEMES.get(scheme.lower(), scheme) + separator + rest


def _login(spec: SourceSpec) -> Login:
    user, password = spec.option("user"), spec.credential("password")
    token = checked_secret("token", spec.credential("token"))
    if token is not None:
        if password is not None:
            raise BadInput("Give a password or a token, not both.")
        return HeaderLogin({"Authorization": f"Bearer {token}"})
    if password is None and not user:
        return HeaderLogin()
    if password is None or not user:
        raise BadInput("A sign-in takes a user and a password.", cure="Give both, or neither.")
    return PasswordLogin(user, password)


def _recognise(uri: str) -> str | None:
    scheme = uri.partition("://")[0].lower()
    url = web_address(uri)
    if scheme not in _SCHEMES and not _PATH.match(url):
        return None
    if url.lower().endswith(tuple(LIST_SUFFIXES)):
        return None
    return f"All photos in the WebDAV folder {url} and below."


WEBDAV = Kind(
    "webdav",
    "A WebDAV folder",
    "https://cloud.example.org/remote.php/dav/files/ada/Wedding/",
    _recognise,
    WebDavSource,
    (
        SourceField("user", "User name", "Of the account that may read the folder."),
        SourceField(
            "password", "Password", "An app password of its own is best: it can be revoked.", True
        ),
        SourceField("token", "Token", "A bearer token, in place of user and password.", True),
        INCLUDE,
        EXCLUDE,
    ),
)
