"""Digest against the vectors of its RFC, and challenges in every spelling."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.addresses import parse_url
from app.sources.login import Digest, PasswordLogin, challenges_in

# RFC 7616, 3.9.1.
VECTORS = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}
CLIENT_NONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize("algorithm", VECTORS)
def test_the_examples_of_the_rfc(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: CLIENT_NONCE)
    (challenge,) = challenges_in((CHALLENGE.format(algorithm=algorithm),))
    sent = Digest(challenge, "Mufasa", "Circle of Life").answer("GET", "/dir/index.html")
    (said,) = challenges_in((sent,))
    assert said.params["response"] == VECTORS[algorithm]
    assert said.params["nc"] == "00000001"
    assert said.params["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    assert said.params["username"] == "Mufasa"


def test_the_example_of_rfc_2069_with_its_erratum() -> None:
    header = (
        'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    (challenge,) = challenges_in((header,))
    sent = Digest(challenge, "Mufasa", "CircleOfLife").answer("GET", "/dir/index.html")
    (said,) = challenges_in((sent,))
    assert said.params["response"] == "1949323746fe6a43ef61f9606e7febea"
    assert "qop" not in said.params


HTTP, HTTPS = parse_url("http://nas.local/dav/"), parse_url("https://nas.local/dav/")


def test_the_password_goes_along_at_once_over_https_only() -> None:
    assert PasswordLogin("ada", "pw").headers("GET", HTTP) == {}
    assert PasswordLogin("ada", "pw").headers("GET", HTTPS) == {"Authorization": "Basic YWRhOnB3"}


def test_what_a_401_teaches() -> None:
    login = PasswordLogin("ada", "pw")
    assert login.learn(('Basic realm="x"',))
    assert login.headers("GET", HTTP) == {"Authorization": "Basic YWRhOnB3"}
    assert not login.learn(('Basic realm="x"',))  # it was wrong, and stays wrong
    assert login.learn(('Basic realm="x", Digest realm="y", nonce="n", qop="auth"',))
    assert login.headers("GET", HTTP)["Authorization"].startswith("Digest ")
    for impossible in (
        (), ("Negotiate",), ('Digest realm="x", qop="auth"',),
        ('Digest realm="x", nonce="n", qop="auth-int"',),
        ('Digest realm="x", nonce="n", qop="auth", algorithm=ROT13',),
    ):  # fmt: skip
        other = PasswordLogin("ada", "pw")
        assert not other.learn(impossible)
        assert other.headers("GET", HTTP) == {}


def test_several_challenges_in_one_header() -> None:
    header = (
        'Negotiate YIIabc==, Basic realm="a \\"quoted\\", realm", '
        'DIGEST Realm=plain,nonce="x,y" , qop=auth'
    )
    found = challenges_in((header, "Bearer"))
    assert [each.scheme for each in found][-3:] == ["basic", "digest", "bearer"]
    assert found[-3].params == {"realm": 'a "quoted", realm'}
    assert found[-2].params == {"realm": "plain", "nonce": "x,y", "qop": "auth"}


def test_names_beyond_ascii() -> None:
    (challenge,) = challenges_in(('Digest realm="x", nonce="n", qop="auth", charset=UTF-8',))
    assert "username*=UTF-8''J%C3%A4s%C3%B8n" in Digest(challenge, "Jäsøn", "pw").answer("GET", "/")


@given(st.text(max_size=200))
def test_any_challenge_is_read_or_passed_over(header: str) -> None:
    login = PasswordLogin("ada", 'p"w')
    login.learn((header, f"Digest {header}", f'Digest nonce="{header}"'))
    assert isinstance(login.headers("GET", HTTP), dict)
