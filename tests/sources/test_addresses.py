"""What may be fetched, decided without any network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ForbiddenAddress, PhotoRejected
from app.sources.addresses import AddressPolicy, BadAddress, parse_url
from app.sources.networks import why_closed
from tests.sources.forms import HIDDEN_LOOPBACK

OPEN = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808",
        "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255"]  # fmt: skip
CLOSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::808:808", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1",
    "2001:20::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
    "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700::5efe:808:808",
]  # fmt: skip


@pytest.mark.parametrize("text", OPEN)
def test_the_internet_is_open(text: str) -> None:
    assert why_closed(ip_address(text)) is None


@pytest.mark.parametrize("text", CLOSED)
def test_every_other_place_is_closed(text: str) -> None:
    assert why_closed(ip_address(text))
    policy = AddressPolicy()
    with pytest.raises(ForbiddenAddress, match="CLAIR_ALLOWED_CIDRS"):
        policy.check_address(text, 443, "host.example")


@given(st.ip_addresses(v=4))
def test_whatever_the_standard_library_calls_private_is_closed(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert why_closed(address)
        assert why_closed(IPv6Address(f"::ffff:{address}"))
        assert why_closed(IPv6Address(int(IPv6Address("64:ff9b::")) + int(address)))


@given(st.ip_addresses(v=6))
def test_whatever_the_standard_library_calls_private_in_ipv6_is_closed(
    address: IPv6Address,
) -> None:
    if address.ipv4_mapped is None and (not address.is_global or address.is_multicast):
        assert why_closed(address)


@pytest.mark.parametrize("host", HIDDEN_LOOPBACK)
def test_no_spelling_of_loopback_passes_the_check(host: str) -> None:
    with pytest.raises(PhotoRejected):
        AddressPolicy().check_url(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/", "file:///etc/passwd", "gopher://host/", "javascript:alert(1)", "data:,x",
        "http:host", "http:///path", "//host/path", "host/path", "", "http://", "http://[::1",
        "http://[1.2.3.4]/", "http://ho st/", "http://host:99999/", "http://host:0/",
        "http://host:port/", "http://-a-/", "http://a..b/", "http://" + "a" * 9000, "http://%31/",
        "http://host:80:90/", "http://.../",
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_a_bad_address(url: str) -> None:
    with pytest.raises(BadAddress) as caught:
        AddressPolicy().check_url(url)
    assert caught.value.reason == "bad-address"


@pytest.mark.parametrize(
    "url",
    [
        "http://user@host/", "http://user:pass@host/", "http://a\\@b/", "http://host\\path/",
        "http://host/a\nb", "http://ho\x00st/", "http://host/\r\nX: y", "http://host\t/",
        "http://host:8080/", "https://host:22/", "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_tricks_are_forbidden(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        AddressPolicy().check_url(url)


def test_an_allowed_network_opens_all_its_ports_and_nothing_else() -> None:
    policy = AddressPolicy([ip_network("192.168.1.0/24")])
    policy.check_url("http://192.168.1.7:5000/a.jpg")
    policy.check_address("::ffff:192.168.1.7", 5000, "nas")
    policy.check_url("http://nas.lan:5000/a.jpg")  # decided once the name is resolved
    with pytest.raises(ForbiddenAddress, match="CLAIR_EXTRA_PORTS"):
        policy.check_address("8.8.8.8", 5000, "nas.lan")
    with pytest.raises(ForbiddenAddress):
        policy.check_url("http://192.168.2.7/a.jpg")
    with pytest.raises(ForbiddenAddress):
        policy.check_address("127.0.0.1", 80, "nas.lan")


def test_an_extra_port_opens_on_the_internet_only() -> None:
    policy = AddressPolicy(extra_ports=[8443])
    policy.check_url("https://host.example:8443/")
    policy.check_address("8.8.8.8", 8443, "host.example")
    with pytest.raises(ForbiddenAddress):
        policy.check_address("10.0.0.1", 8443, "host.example")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("HTTP://Example.COM:80/A?b=C#frag", "http://example.com/A?b=C"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com.", "https://example.com/"),
        ("https://exämple.com/ü", "https://xn--exmple-cua.com/%C3%BC"),
        ("https://h.com/a b.jpg", "https://h.com/a%20b.jpg"),
        ("https://h.com/a%2fb?sig=%2B%27&x", "https://h.com/a%2fb?sig=%2B%27&x"),
        ("https://h.com?q=1", "https://h.com/?q=1"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("  https://h.com/x \n", "https://h.com/x"),
        ("http://h.com:8080/", "http://h.com:8080/"),
    ],
)
def test_canonical_spelling(written: str, canonical: str) -> None:
    assert str(parse_url(written)) == canonical


@pytest.mark.parametrize(
    ("relative", "absolute"),
    [
        ("b.jpg", "https://h.com/list/b.jpg"),
        ("/b.jpg", "https://h.com/b.jpg"),
        ("../b.jpg", "https://h.com/b.jpg"),
        ("//other.com/b.jpg", "https://other.com/b.jpg"),
        ("?n=2", "https://h.com/list/index.txt?n=2"),
    ],
)
def test_relative_addresses(relative: str, absolute: str) -> None:
    assert str(parse_url(relative, "https://h.com/list/index.txt")) == absolute


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_refusal(text: str) -> None:
    for candidate in (text, f"http://{text}", f"https://host.com/{text}"):
        try:
            once = str(parse_url(candidate))
        except PhotoRejected:
            continue
        assert str(parse_url(once)) == once
        assert once.isascii()
        assert parse_url(once).for_client().human_repr()


@given(st.text(alphabet="0123456789abcdefx.①②", min_size=1, max_size=20))
def test_a_host_that_ends_in_a_number_is_a_plain_address(host: str) -> None:
    try:
        found = parse_url(f"http://{host}/")
    except PhotoRejected:
        return
    if found.host.rpartition(".")[2].isdigit():
        assert found.ip is not None
