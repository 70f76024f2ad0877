"""Which links of a gallery page lead to its next page, and which to pages of single photos."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_NEXT_WORDS = frozenset(
    ("next", "next page", "older", "older posts", "older entries", "older photos", "more photos",
     "more", "load more", "show more", "weiter", "nächste", "nächste seite", "ältere beiträge",
     "suivant", "suivante", "page suivante", "siguiente", "página siguiente", "successivo",
     "successiva", "volgende", "próximo", "próxima", "następna", "次へ", "下一页")
)  # fmt: skip
_NEXT_SIGNS = frozenset("›»>→⟩❯▶")
_NEXT_CLASS = re.compile(r"(?:^|[\s_-])next(?:[\s_-]|$)")
_PAGE_PARAMETERS = frozenset(("page", "paged", "pg", "p", "pageno", "pagenum", "seite", "pagina"))
_PAGE_IN_PATH = re.compile(r"[-_/]?(?:page|seite|pagina|index|p)?[-_/]?\d{0,9}$", re.I)
_PAGE_NUMBER = re.compile(r"/(?:page|seite|pagina)[-_/]?(\d{1,6})/?$", re.I)
_SCRIPT = re.compile(r"\.(?:html?|php|aspx?|jsp)$", re.I)
# A link to one of these is a download or a film, not the page of a photo.
_NO_PAGE = re.compile(
    r"\.(?:zip|rar|7z|tar|t?gz|pdf|docx?|xlsx?|mp[34]|m4[av]|mov|avi|webm|ogg|wav|css|js|json|xml"
    r"|rss|atom|ics|svg|ico)$",
    re.I,
)


@dataclass(slots=True)
class NextLinks:
    """Gathers a page's links to its next one; `best` is the surest that belongs to the gallery.

    `url` is the page's own address.
    """

    url: str
    _found: list[tuple[int, str]] = field(default_factory=list)

    def relation(self, url: str) -> None:
        """A link that says so itself: rel=next in the page or in the response's Link header."""
        self._found.append((0, url))

    def anchor(self, url: str, text: str, label: str, classes: str) -> None:
        """A link that people would follow; `label` is its aria-label or title."""
        if any(_says_next(each) for each in (text, label)) or _NEXT_CLASS.search(classes.lower()):
            self._found.append((1, url))
        elif _number(url) == _number(self.url) + 1:
            self._found.append((2, url))

    @property
    def best(self) -> str | None:
        for _, url in sorted(self._found, key=lambda each: each[0]):
            if url != self.url and same_host(url, self.url) and _continues(self.url, url):
                return url
        return None


def _says_next(text: str) -> bool:
    words = re.sub(r"[^\w]+", " ", text[:80].lower()).strip()
    if words:
        return words in _NEXT_WORDS
    signs = set(text.strip()[:4])
    return bool(signs) and signs <= _NEXT_SIGNS


def _number(url: str) -> int:
    """The number of a page of many, by its query or path; the first page mostly has none."""
    parts = urlsplit(url)
    named = _PAGE_NUMBER.search(parts.path)
    if named:
        return int(named[1])
    for name, value in parse_qsl(parts.query):
        if name.lower() in _PAGE_PARAMETERS and re.fullmatch(r"[0-9]{1,6}", value):
            return int(value)
    return 1


def _continues(page: str, other: str) -> bool:
    """Whether `other` can be another page of the same gallery. The “next” of a blog's entry is the
    next entry, and that of an album the next album: neither belongs to it."""
    here, there = urlsplit(page), urlsplit(other)
    if here.path == there.path:
        return here.query != there.query
    if _listing(here.path) == _listing(there.path):
        return True
    folder = here.path.rstrip("/") + "/"
    return folder != "/" and there.path.startswith(folder)


def _listing(path: str) -> str:
    """A path without what numbers its pages: /a/index.html, /a/page/2/ and /a/p3 are one."""
    path = _SCRIPT.sub("", unquote(path).rstrip("/"))
    return _PAGE_IN_PATH.sub("", path).rstrip("/")


def same_host(one: str, other: str) -> bool:
    """Whether two canonical addresses are of one host; http and https may differ."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.hostname, _port(first.port)) == (second.hostname, _port(second.port))


def _port(port: int | None) -> int | None:
    return None if port in (80, 443) else port


def path_of_url(uri: str) -> str:
    """The path of an address as somebody wrote it, which may be no valid one."""
    rest = uri.partition("#")[0].partition("?")[0].partition("://")[2]
    return "/" + rest.partition("/")[2]


def is_detail(page: str, link: str) -> bool:
    """Whether a thumbnail's link may be the page of its photo: on the same host, below the
    gallery's page or beside it."""
    if link == page or not same_host(page, link):
        return False
    here, there = urlsplit(page), urlsplit(link)
    if _NO_PAGE.search(there.path) or (here.path == there.path and here.query == there.query):
        return False
    around = here.path.rstrip("/").rpartition("/")[0] + "/"
    return there.path.startswith(around) and bool(there.path != around or there.query)
