"""Listings of WebDAV servers: `207 Multi-Status` bodies of RFC 4918, read as they come."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import DefusedXMLParser

from app.sources.asking import bad_listing, byte_count

MAX_ELEMENT_DEPTH = 64
MAX_TEXT = 8192

_DAV = "{DAV:}"
_WANTED = {
    f"{_DAV}{name}": name
    for name in ("getetag", "getcontentlength", "getlastmodified", "getcontenttype")
}
PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<propfind xmlns="DAV:"><prop><resourcetype/><getetag/><getcontentlength/>'
    b"<getlastmodified/><getcontenttype/></prop></propfind>"
)
"""Asks for these properties only: servers compute others at a price."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of a listing, as the server wrote it. `status`: 200, unless the server refuses it.
    `etag` is in quotes and without its mark of weakness; `size` in bytes."""

    href: str
    collection: bool = False
    etag: str | None = None
    size: int | None = None
    modified: str | None = None
    content_type: str | None = None
    status: int = 200

    @property
    def version(self) -> str | None:
        """Changes with the content: the ETag, else the time of change with the size."""
        return version_of(self.etag, self.modified, self.size)


def version_of(etag: str | None, modified: str | None, size: int | None) -> str | None:
    if etag is not None:
        return etag
    return None if modified is None else f"{modified}, {size}"


def entity_tag(text: str | None) -> str | None:
    """An ETag as headers write it: some servers list it without its quotes, some only there call
    it weak."""
    text = (text or "").strip().removeprefix("W/")
    if not text:
        return None
    return text if text.startswith('"') else f'"{text}"'


class MultistatusReader:
    """Feed it the body; `take` gives the resources that are complete.

    Raises PhotoRejected(bad-listing) for what is no multistatus. There is no document type, no
    entity, no depth and no text beyond a bound that it would accept.
    """

    def __init__(self) -> None:
        self._target = _Target()
        self._parser = DefusedXMLParser(target=self._target, forbid_dtd=True)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except (ParseError, ValueError, LookupError) as error:
            raise _malformed() from error

    def close(self) -> None:
        try:
            self._parser.close()
        except (ParseError, ValueError, LookupError) as error:
            raise _malformed() from error

    def take(self) -> list[Resource]:
        found, self._target.found = self._target.found, []
        return found


class _Target:
    """What the parser tells: the state of one response at a time."""

    def __init__(self) -> None:
        self.found: list[Resource] = []
        self._open: list[str] = []
        self._text: list[str] | None = None
        self._length = 0
        self._begin()

    def _begin(self) -> None:
        self._href: str | None = None
        self._status = 200
        self._known: dict[str, str] = {}
        self._part: dict[str, str] = {}
        self._part_status = 200

    def start(self, tag: str, _: dict[str, str]) -> None:
        if not self._open and tag != f"{_DAV}multistatus":
            raise _malformed()
        if len(self._open) >= MAX_ELEMENT_DEPTH:
            raise bad_listing("The server's listing nests too deep.")
        parent = self._open[-1] if self._open else ""
        self._open.append(tag)
        if tag == f"{_DAV}response":
            self._begin()
        elif tag == f"{_DAV}propstat":
            self._part, self._part_status = {}, 200
        elif tag == f"{_DAV}collection" and parent == f"{_DAV}resourcetype":
            self._part["collection"] = "1"
        elif self._is_wanted(tag, parent):
            self._text, self._length = [], 0

    def data(self, text: str) -> None:
        if self._text is None:
            return
        self._length += len(text)
        if self._length > MAX_TEXT:
            raise bad_listing("The server's listing holds a property without end.")
        self._text.append(text)

    def end(self, tag: str) -> None:
        self._open.pop()
        parent = self._open[-1] if self._open else ""
        if tag == f"{_DAV}propstat" and self._part_status == 200:
            self._known |= self._part
        elif tag == f"{_DAV}response" and self._href:
            self.found.append(self._resource(self._href))
        if self._text is None or not self._is_wanted(tag, parent):
            return
        text, self._text = "".join(self._text).strip(), None
        if tag == f"{_DAV}href":
            self._href = self._href or text
        elif tag == f"{_DAV}status":
            self._take_status(parent, text)
        else:
            self._part[_WANTED[tag]] = text

    def close(self) -> None:
        return None

    @staticmethod
    def _is_wanted(tag: str, parent: str) -> bool:
        if tag in _WANTED:
            return parent == f"{_DAV}prop"
        if tag == f"{_DAV}href":  # locks and owners have some too
            return parent == f"{_DAV}response"
        return tag == f"{_DAV}status" and parent in (f"{_DAV}response", f"{_DAV}propstat")

    def _take_status(self, parent: str, text: str) -> None:
        words = text.split()  # HTTP/1.1 200 OK
        code = words[1] if len(words) > 1 else ""
        status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 200
        if parent == f"{_DAV}propstat":
            self._part_status = status
        else:
            self._status = status

    def _resource(self, href: str) -> Resource:
        known = self._known
        return Resource(
            href,
            "collection" in known,
            entity_tag(known.get("getetag")),
            byte_count(known.get("getcontentlength")),
            known.get("getlastmodified") or None,
            known.get("getcontenttype") or None,
            self._status,
        )


def _malformed() -> Exception:
    return bad_listing("The server's answer is not a WebDAV listing.")
