"""Which URLs may be fetched (SECURITY.md 9–12). Pure: nothing here resolves a name or connects.

A URL is taken apart by one strict grammar and put together again from its checked parts, so that
the HTTP client can't read it differently from the check. The check has two halves: `check_url`
looks at what is written, `check_address` at each IP address that a name turned out to have.

Private networks open only through the operator's CIDR list, and an address in that list may be
reached on every port: whoever names a NAS or a loopback origin means its service, whatever port
that has. Everything else stays on ports 80 and 443 and those that the operator adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import quote, urljoin

import idna
from yarl import URL

from app.core.errors import ForbiddenAddress, PhotoRejected
from app.sources.networks import Address, Network, lies_in, why_closed

MAX_URL = 8192
MOST_KNOWN = 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
OPEN_NETWORK = "To fetch from it, the operator adds its network to CLAIR_ALLOWED_CIDRS."
OPEN_PORT = "To allow the port, the operator adds it to CLAIR_EXTRA_PORTS."

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.S)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Characters that may stand in a path or query; "%" too, so that signed URLs keep their spelling.
_SAFE = "!$%&'()*+,/:;=?@[]~"
_SAFELY_SPELLED = re.compile(r"[A-Za-z0-9_.\-!$%&'()*+,/:;=?@\[\]~]*")


class BadAddress(PhotoRejected):
    """The text is not an http(s) URL that could ever be fetched."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__("bad-address", message, cure=cure)


class WebAddress(NamedTuple):
    """A checked URL in canonical spelling: lower-case ASCII host, no default port, no fragment.

    `ip` is set where the host is an address rather than a name. `port` is always filled in.
    """

    scheme: str
    host: str
    port: int
    path_and_query: str
    ip: Address | None

    def __str__(self) -> str:
        return f"{self.origin}{self.path_and_query}"

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if isinstance(self.ip, IPv6Address) else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def for_client(self) -> URL:
        """The same URL for aiohttp, which must not spell it anew."""
        return URL(str(self), encoded=True)


def parse_url(text: str, base: str | None = None) -> WebAddress:
    """Takes a URL apart, strictly; a relative one is resolved against `base`.

    Raises BadAddress for what is not an http(s) URL, ForbiddenAddress for spellings whose only use
    is to hide where they lead (userinfo, backslashes, control characters, odd IP spellings).
    """
    text = text.strip(" \t\r\n")
    if len(text) > MAX_URL:
        raise BadAddress(f"The address is longer than {MAX_URL} characters.")
    if _CONTROL.search(text):
        raise ForbiddenAddress("The address contains a backslash or a control character.")
    if base is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        text = _joined(base, text)
    match = _URL.fullmatch(text)
    if match is None:
        raise BadAddress(
            f"“{_short(text)}” is not a web address.", cure="It has to start with https://."
        )
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise BadAddress(f"Addresses that start with {scheme}:// can't be fetched.")
    host, port, ip = _authority(match["authority"], DEFAULT_PORTS[scheme])
    return WebAddress(scheme, host, port, _path_and_query(match["rest"]), ip)


def _joined(base: str, text: str) -> str:
    try:
        return urljoin(base, text)
    except ValueError as error:
        raise BadAddress(f"“{_short(text)}” is not a web address.") from error


@lru_cache(maxsize=1024)  # thousands of photos lie on one host
def _authority(text: str, default_port: int) -> tuple[str, int, Address | None]:
    if "@" in text:
        raise ForbiddenAddress(
            "The address carries a user name or password.", cure="Remove the part before the @."
        )
    match = _AUTHORITY.fullmatch(text)
    if match is None or not match["host"]:
        raise BadAddress(f"“{_short(text)}” is not the name of a server.")
    port = int(match["port"]) if match["port"] else default_port
    if not 1 <= port <= 65535:
        raise BadAddress(f"{port} is not a port.")
    host = match["host"]
    if host.startswith("["):
        ip: Address | None = _ipv6(host[1:-1])
        return str(ip), port, ip
    host, ip = _name(host)
    return host, port, ip


def _ipv6(text: str) -> IPv6Address:
    try:
        found = IPv6Address(text)
    except ValueError as error:
        raise BadAddress(f"[{_short(text)}] is not an IPv6 address.") from error
    if found.scope_id:
        raise ForbiddenAddress(f"[{_short(text)}] names a link-local address.")
    return found


def _name(host: str) -> tuple[str, Address | None]:
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadAddress(f"“{_short(host)}” is not the name of a server.") from error
    host = host.lower().removesuffix(".")
    if not host or len(host) > 253 or not _NAME.fullmatch(host):
        raise BadAddress(f"“{_short(host)}” is not the name of a server.")
    # The WHATWG "ends in a number" rule: what getaddrinfo might read as IPv4 has to be spelled as
    # four plain decimal numbers, or else 2130706433 and 0177.0.0.1 would be 127.0.0.1.
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            ip = IPv4Address(host)
        except ValueError as error:
            raise ForbiddenAddress(
                f"“{_short(host)}” is an unusual spelling of an IP address.",
                cure="Write it as four decimal numbers, like 192.0.2.1.",
            ) from error
        return str(ip), ip
    return host, None


def _path_and_query(rest: str) -> str:
    rest = rest.partition("#")[0]
    if not rest.startswith("/"):
        rest = f"/{rest}"
    if _SAFELY_SPELLED.fullmatch(rest):
        return rest
    # A lone surrogate comes from broken input; "replace" keeps it from being an exception.
    return quote(rest, safe=_SAFE, encoding="utf-8", errors="replace")


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class AddressPolicy:
    """What the operator allows. Immutable, shared by every fetch of a process."""

    def __init__(
        self, allowed_cidrs: Iterable[Network] = (), extra_ports: Iterable[int] = ()
    ) -> None:
        self.allowed_cidrs = tuple(allowed_cidrs)
        self.ports = frozenset(extra_ports) | frozenset(DEFAULT_PORTS.values())
        self._known_open: set[tuple[Address | str, int]] = set()

    def check_url(self, text: str, base: str | None = None) -> WebAddress:
        """Everything that can be said before a name is resolved.

        Raises BadAddress and ForbiddenAddress, the latter with what the operator would set.
        """
        address = parse_url(text, base)
        if address.ip is not None:
            self.check_address(address.host, address.port, address.host)
        elif address.port not in self.ports and not self.allowed_cidrs:
            raise self._wrong_port(address.port, address.host)
        return address

    def check_address(self, address: Address | str, port: int, host: str) -> None:
        """Whether one resolved address may be connected to. Raises ForbiddenAddress."""
        # Three gates ask of every photo, and a host has few addresses.
        if (address, port) in self._known_open:
            return
        self._check_address(address, port, host)
        if len(self._known_open) >= MOST_KNOWN:
            self._known_open.clear()
        self._known_open.add((address, port))

    def _check_address(self, address: Address | str, port: int, host: str) -> None:
        try:
            found = ip_address(address) if isinstance(address, str) else address
        except ValueError as error:
            raise ForbiddenAddress(f"{host} leads to no usable address.") from error
        if lies_in(found, self.allowed_cidrs):
            return
        reason = why_closed(found)
        if reason is not None:
            where = host if host == str(found) else f"{host} ({found})"
            raise ForbiddenAddress(f"{where} is {reason}.", cure=OPEN_NETWORK)
        if port not in self.ports:
            raise self._wrong_port(port, host)

    def _wrong_port(self, port: int, host: str) -> ForbiddenAddress:
        return ForbiddenAddress(
            f"Port {port} of {host} is not one that photos may be fetched from.", cure=OPEN_PORT
        )
