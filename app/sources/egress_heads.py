"""Heads of requests to the egress proxy: a strict grammar, and what of it goes on. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from app.sources.addresses import WebAddress, parse_url

MAX_HEAD = 32_768
"""Bytes; a session token alone may be 16 kB."""
USER = "lane"

_REQUEST_LINE = re.compile(rb"([A-Z]{3,7}) ([\x21-\x7e]{1,16384}) HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ABSOLUTE = re.compile(r"(http://[^/?#\\]+)(/[^#]*)?", re.I)
_NOT_PASSED_ON = frozenset({b"host", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade"})


class Refused(Exception):
    """The client's request is answered with `status` and goes nowhere."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head. `target` is the whole second word; names of headers are lower-case."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]

    @classmethod
    def parse(cls, data: bytes) -> RequestHead:
        first, *lines = data.split(b"\r\n")
        request = _REQUEST_LINE.fullmatch(first)
        headers = [_HEADER.fullmatch(line) for line in lines]
        if request is None or None in headers:
            raise Refused(400, "not a request")
        pairs = [(match[1].lower(), match[2].strip()) for match in headers if match is not None]
        return cls(request[1].decode(), request[2].decode(), pairs)

    def values(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]

    def secret(self) -> str:
        """The password of Proxy-Authorization; "" where there is none that can be read."""
        scheme, _, encoded = b"".join(self.values(b"proxy-authorization")).partition(b" ")
        try:
            user, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return secret if scheme.lower() == b"basic" and user == USER else ""

    def address(self) -> WebAddress:
        """Where to connect to. Raises Refused, and what parse_url raises."""
        if self.method == "CONNECT":
            address = parse_url(f"https://{self.target}")
            if str(address) != f"{address.origin}/":
                raise Refused(400, "not an authority")
            return address
        match = _ABSOLUTE.fullmatch(self.target)
        if self.method not in ("GET", "HEAD") or match is None:
            raise Refused(403, "neither CONNECT nor a plain GET")
        if self.values(b"transfer-encoding") or set(self.values(b"content-length")) - {b"0"}:
            raise Refused(403, "no bodies")
        return parse_url(match[1])

    def for_origin(self, address: WebAddress) -> bytes:
        """The head as the origin gets it: what is signed stays as it was written."""
        match = _ABSOLUTE.fullmatch(self.target)
        path = (match and match[2]) or "/"
        named = {
            name.strip().lower()
            for value in self.values(b"connection")
            for name in value.split(b",")
        }
        lines = [f"{self.method} {path} HTTP/1.1".encode()]
        lines.append(b"host: " + address.origin.removeprefix("http://").encode())
        lines += [
            name + b": " + value
            for name, value in self.headers
            if name not in _NOT_PASSED_ON | named and not name.startswith(b"proxy-")
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n"
