"""The egress proxy: what obstore's own connections may reach, counted on the forbidden port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from obstore.exceptions import BaseError

from app.core.errors import ForbiddenAddress
from app.sources.addresses import AddressPolicy, parse_url
from app.sources.egress import EgressProxy
from app.sources.networks import Address
from tests.origin import LOOPBACK, Answer, Listener, Origin, has_ipv6_loopback, redirect
from tests.sources.forms import HIDDEN_LOOPBACK
from tests.sources.lanes import ENOUGH, HEADERS, authorised, got, open_lane, said, status_of, store

ONLY_ONE = [ip_network("127.0.0.1/32")]


@pytest.fixture
def forbidden() -> Iterator[Listener]:
    """A listening port of this machine that nobody may reach."""
    with Listener("127.0.0.2") as listener:
        yield listener


# The library keeps to it


@pytest.fixture
def proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, forbidden: Listener
) -> Iterator[Listener]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_PROXY_URL"):
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, f"http://127.0.0.2:{forbidden.port}")
    for name in ("NO_PROXY", "no_proxy", "AWS_PROXY_EXCLUDES"):
        monkeypatch.setenv(name, "*,127.0.0.1,127.0.0.0/8,localhost")
    yield forbidden
    assert forbidden.accepted == 0


async def test_obstore_uses_it_for_http_whatever_the_environment_says(
    proxies_of_the_environment: Listener,
) -> None:
    with Origin({"/photos/a.jpg": Answer(b"photo", headers=HEADERS)}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = proxy.lane([parse_url(origin.url("/"))], ENOUGH)
            opened = store(origin.url(""), lane)
            assert await got(opened) == b"photo"
            assert await got(opened) == b"photo"
            assert proxy.clients
        _, headers = origin.seen[0]
        assert headers["Host"] == f"127.0.0.1:{origin.port}"
        assert not [name for name in headers if name.lower().startswith("proxy-")]


async def test_obstore_uses_it_for_https_whatever_the_environment_says(
    tmp_path: Path, proxies_of_the_environment: Listener
) -> None:
    async with (
        tls_origin(tmp_path, b"photo") as (port, certificate),
        EgressProxy(AddressPolicy(LOOPBACK)) as proxy,
    ):
        lane = proxy.lane([parse_url(f"https://127.0.0.1:{port}/")], ENOUGH)
        opened = store(f"https://127.0.0.1:{port}", lane, root_certificate=certificate)
        assert await got(opened) == b"photo"
        assert proxy.clients
        # The certificate is still obstore's to check.
        distrustful = store(f"https://127.0.0.1:{port}", lane)
        with pytest.raises(BaseError, match="InvalidCertificate"):
            await got(distrustful)


@asynccontextmanager
async def tls_origin(tmp_path: Path, body: bytes) -> AsyncIterator[tuple[int, str]]:
    """A server of one answer, and the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (tmp_path / "both.pem").write_bytes(
        certificate
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
            writer.write(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
            writer.write(body)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], certificate.decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_a_redirect_leaves_the_lane_for_nowhere(forbidden: Listener, host: str) -> None:
    with Origin({"/photos/a.jpg": redirect(f"http://{host}:{forbidden.port}/x")}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = proxy.lane([parse_url(origin.url("/"))], ENOUGH)
            with pytest.raises(BaseError):
                await got(store(origin.url(""), lane))
    assert forbidden.accepted == 0


# Addresses


async def test_hundreds_of_forms_make_no_connection() -> None:
    with ExitStack() as held:
        hosts = ["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"]
        listeners = [held.enter_context(Listener(host)) for host in hosts]
        ports = [listener.port for listener in listeners]
        forms = [*HIDDEN_LOOPBACK, "localhost", "LOCALHOST.", "ip6-localhost", "169.254.169.254"]
        async with EgressProxy(AddressPolicy(extra_ports=ports)) as proxy:
            lane = open_lane(proxy)
            for form in forms:
                for port in ports:
                    for first in (f"CONNECT {form}:{port}", f"GET http://{form}:{port}/a.jpg"):
                        assert await status_of(lane, first) in (400, 403, 502), form
        assert [listener.accepted for listener in listeners] == [0] * len(listeners)


def resolver(*answers: str) -> Callable[[str, int], object]:
    async def resolve(host: str, port: int) -> list[str]:
        return list(answers)

    return resolve


@pytest.mark.parametrize(
    "answers",
    [
        ("127.0.0.2",),
        ("::ffff:127.0.0.2",),
        ("0.0.0.0",),
        ("::1",),
        ("169.254.169.254",),
        ("fe80::1%lo",),
        ("x",),
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.2", "127.0.0.1"),
    ],
    ids=",".join,
)
@pytest.mark.parametrize("method", ["CONNECT", "GET"])
async def test_a_name_that_leads_to_a_closed_address_is_refused(
    forbidden: Listener, answers: tuple[str, ...], method: str
) -> None:
    policy = AddressPolicy(ONLY_ONE, [forbidden.port])
    async with EgressProxy(policy, resolver(*answers)) as proxy:  # type: ignore[arg-type]
        lane = open_lane(proxy)
        target = f"photos.example:{forbidden.port}"
        first = f"CONNECT {target}" if method == "CONNECT" else f"GET http://{target}/"
        assert await status_of(lane, first) == 403
        assert isinstance(lane.fault, ForbiddenAddress)
    assert forbidden.accepted == 0


async def test_a_name_is_resolved_once_for_a_connection(forbidden: Listener) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    with Origin({"/photos/a.jpg": Answer(b"open", headers=HEADERS)}) as origin:
        policy = AddressPolicy(ONLY_ONE, [forbidden.port])
        async with EgressProxy(policy, rebinding) as proxy:
            url = f"http://rebind.example:{origin.port}"
            lane = proxy.lane([parse_url(url)], ENOUGH)
            assert await got(store(url, lane)) == b"open"
            assert asked == ["rebind.example"]
            with pytest.raises(BaseError):
                await got(store(url, lane))
        assert origin.requests == {"/photos/a.jpg": 1}
        assert origin.seen[0][1]["Host"] == f"rebind.example:{origin.port}"


async def test_the_peer_is_checked_before_anything_is_sent() -> None:
    class Fickle(AddressPolicy):
        checks = 0

        def check_address(self, address: Address | str, port: int, host: str) -> None:
            self.checks += 1
            if self.checks > 2:  # the address as written, as resolved; then the peer
                raise ForbiddenAddress("The peer is another.")

    with Origin({"/photos/a.jpg": Answer(b"x", headers=HEADERS)}) as origin:
        async with EgressProxy(Fickle(ONLY_ONE)) as proxy:
            lane = open_lane(proxy)
            assert await status_of(lane, f"GET http://127.0.0.1:{origin.port}/photos/a.jpg") == 403
        assert not origin.requests


@pytest.mark.parametrize("port", [22, 8080])
async def test_ports_are_the_operators_to_open(port: int) -> None:
    async with EgressProxy(AddressPolicy(), resolver("93.184.216.34")) as proxy:  # type: ignore[arg-type]
        lane = open_lane(proxy)
        assert await status_of(lane, f"CONNECT photos.example:{port}") == 403
        assert "CLAIR_EXTRA_PORTS" in str(lane.fault)


# Lanes


async def test_nobody_without_a_secret(forbidden: Listener) -> None:
    policy = AddressPolicy(LOOPBACK)
    target = f"127.0.0.2:{forbidden.port}".encode()
    async with EgressProxy(policy) as proxy:
        lane = open_lane(proxy)
        right = authorised(lane)
        wrong = [
            b"",
            right[:-6] + b"\r\n",
            right.replace(b"Basic", b"Bearer"),
            b"Proxy-Authorization: Basic " + base64.b64encode(b"lane:") + b"\r\n",
            b"Proxy-Authorization: Basic \xff\r\n",
            b"Proxy-Authorization: Basic " + base64.b64encode(b"\xff\xfe") + b"\r\n",
        ]
        for header in wrong:
            for first in (b"CONNECT " + target, b"GET http://" + target + b"/"):
                answer = await said(lane, first + b" HTTP/1.1\r\n" + header + b"\r\n")
                assert answer.startswith(b"HTTP/1.1 407 ")
                assert lane.mark.encode() not in answer
    assert forbidden.accepted == 0


async def test_a_lane_ends_with_its_holder(forbidden: Listener) -> None:
    async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
        lane = open_lane(proxy)
        request = b"CONNECT 127.0.0.2:80 HTTP/1.1\r\n" + authorised(lane) + b"\r\n"
        other = open_lane(proxy)
        del lane
        gc.collect()
        assert (await said(other, request)).startswith(b"HTTP/1.1 407 ")


async def test_a_lane_leads_to_its_own_origins_only(forbidden: Listener) -> None:
    with Origin({"/": Answer(b"x")}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = proxy.lane([parse_url(origin.url("/"))], ENOUGH)
            for first in (
                f"GET http://127.0.0.2:{forbidden.port}/",
                f"GET http://127.0.0.1:{forbidden.port}/",
                f"GET http://127.0.0.2:{origin.port}/",
                f"GET http://localhost:{origin.port}/",
                f"CONNECT 127.0.0.1:{origin.port}",  # http is not https
            ):
                lane.fault = None
                assert await status_of(lane, first) == 403
                assert isinstance(lane.fault, ForbiddenAddress)
            assert not origin.requests
    assert forbidden.accepted == 0


async def test_its_secret_is_not_shown() -> None:
    async with EgressProxy(AddressPolicy()) as proxy:
        lane = proxy.lane([], ENOUGH)
        assert str(urlsplit(lane.url).password) not in repr(lane)
