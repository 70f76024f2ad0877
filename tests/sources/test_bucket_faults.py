"""Buckets: what goes wrong, and where no connection is made."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest

from app.core.errors import (
    BadInput,
    ClairError,
    PhotoRejected,
    SourceUnavailable,
)
from app.core.failures import CURES
from app.core.photos import Locator
from app.core.sources import SourceSpec, pairs
from app.sources.addresses import AddressPolicy
from app.sources.bucket_faults import _BY_CODE, _BY_STATUS
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.open import kind_of
from tests.origin import LOOPBACK, Answer, Listener, Origin, redirect
from tests.sources.bucket_sources import (
    HEADERS,
    QUICK,
    at,
    everything,
    names_in,
    opened,
    read,
)
from tests.sources.clouds import GcsServer

XML = b'<?xml version="1.0"?><Error><Code>%s</Code><Region>ap-south-1</Region></Error>'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=401), "unauthorised"),
        (Answer(XML % b"ExpiredToken", 400), "unauthorised"),
        (Answer(XML % b"SignatureDoesNotMatch", 403), "unauthorised"),
        (Answer(XML % b"AccessDenied", 403), "forbidden"),
        (Answer(status=403), "forbidden"),
        (Answer(XML % b"NoSuchKey", 404), "not-found"),
        (Answer(status=410), "gone"),
        (Answer(XML % b"InvalidObjectState", 403), "archived"),
        (Answer(XML % b"BlobArchived", 409), "archived"),
        (Answer(XML % b"AuthorizationHeaderMalformed", 400), "forbidden"),
        (Answer(XML % b"PermanentRedirect", 301), "forbidden"),
        (Answer(b"x" * 5000, status=418), "http-418"),
    ],
)
async def test_lasting_refusals_of_a_photo(answer: Answer, reason: str) -> None:
    caught = await fault_of_photo(answer)
    assert isinstance(caught, PhotoRejected)
    assert caught.reason == reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(XML % b"SlowDown", 503), "rate-limited"),
        (Answer(status=429), "rate-limited"),
        (Answer(status=500), "server-error"),
        (Answer(status=503), "server-error"),
        (Answer(status=408), "server-error"),
        (Answer(b"x" * 500, headers=HEADERS, announced=1000), "broken-off"),
        (Answer(b"x" * 1000, headers=HEADERS, cut=10), "broken-off"),
        (Answer(b"x" * 1000, headers=HEADERS, drip=(1, 0.05)), "too-slow"),
        (Answer(b"x" * 1_000_000, headers=HEADERS, drip=(500, 0.05)), "timeout"),
        (Answer(b"x", headers=HEADERS, delay=20), "timeout"),
    ],
)
async def test_passing_faults_of_a_photo(answer: Answer, reason: str) -> None:
    caught = await fault_of_photo(answer)
    assert isinstance(caught, SourceUnavailable)
    assert caught.reason == reason


async def fault_of_photo(answer: Answer) -> ClairError:
    with Origin({"/photos/1.jpg": answer}) as origin:
        async with opened(at(origin)) as source:
            with pytest.raises((PhotoRejected, SourceUnavailable)) as caught:
                await read(source, Locator("x", "s3://photos/1.jpg"))
    assert getattr(caught.value, "reason") in CURES or "418" in str(caught.value)  # noqa: B009
    return caught.value  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(XML % b"NoSuchBucket", 404), "no such bucket"),
        (Answer(XML % b"AccessDenied", 403), "s3:ListBucket"),
        (Answer(XML % b"InvalidAccessKeyId", 403), "valid access key"),
        (Answer(XML % b"AuthorizationHeaderMalformed", 400), "Set the region to ap-south-1"),
        (Answer(XML % b"PermanentRedirect", 301), "Set the region"),
        (Answer(b"{}"), "no listing"),
        (Answer(b""), "no listing"),
        (Answer(b"<ListBucketResult><Contents>"), "no listing"),
        (Answer(b"<!DOCTYPE a [<!ENTITY b 'x'>]><ListBucketResult>&b;&c;"), "no listing"),
    ],
)
async def test_what_is_wrong_with_a_bucket_is_said(answer: Answer, words: str) -> None:
    with Origin({"/photos": answer}) as origin:
        public = at(origin)
        keys = pairs({"access_key_id": "A", "secret_access_key": "B"})
        with pytest.raises(BadInput) as caught:
            await names_in(SourceSpec("s3", public.uri, public.options, keys))
        assert words in str(caught.value)
        assert caught.value.message.endswith(".")  # its cure follows on the same line
        with pytest.raises(BadInput) as without_keys:
            await names_in(public)
    if "403" in caught.value.message:
        assert without_keys.value.cure.startswith("Give the source credentials")


async def test_a_web_page_is_no_empty_bucket() -> None:
    with GcsServer() as console:
        console.refuse = Answer(b"<html>Sign in to your storage</html>", headers=HEADERS)
        async with opened(at(console)) as source:
            with pytest.raises(BadInput, match="no listing"):
                await everything(source)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=500), "server-error"),
        (Answer(XML % b"SlowDown", 503), "rate-limited"),
        (Answer(b"<ListBucketResult>", announced=1000), "broken-off"),
        (Answer(b"x", delay=20), "timeout"),
    ],
)
async def test_passing_faults_of_a_bucket(answer: Answer, reason: str) -> None:
    with Origin({"/photos": answer}) as origin:
        async with opened(at(origin)) as source:
            with pytest.raises(SourceUnavailable) as caught:
                await everything(source)
    assert caught.value.reason == reason


async def test_a_fault_that_passes_is_not_noticed() -> None:
    answer = Answer(status=503, then=Answer(status=500, then=Answer(b"ok", headers=HEADERS)))
    with Origin({"/photos/1.jpg": answer}) as origin:
        async with opened(at(origin)) as source:
            assert await read(source, Locator("x", "s3://photos/1.jpg")) == b"ok"


async def test_retries_are_few() -> None:
    with Origin({"/photos/1.jpg": Answer(status=503)}) as origin:
        async with opened(at(origin)) as source:
            with pytest.raises(SourceUnavailable):
                await read(source, Locator("x", "s3://photos/1.jpg"))
        assert origin.requests["/photos/1.jpg"] == 3


async def test_nobody_listens() -> None:
    with Origin() as origin:
        spec = at(origin)
    async with opened(spec) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await everything(source)
    assert caught.value.reason == "unreachable"


async def test_a_photo_that_is_too_large_is_not_read() -> None:
    limits = FetchLimits(max_bytes=1000)
    with Origin({"/photos/1.jpg": Answer(b"x" * 5000, headers=HEADERS)}) as origin:
        async with opened(at(origin), limits) as source:
            with pytest.raises(PhotoRejected) as caught:
                await read(source, Locator("x", "s3://photos/1.jpg"))
    assert caught.value.reason == "too-large"


async def test_at_most_so_many_at_once_for_a_storage() -> None:
    limits = FetchLimits(concurrency=20, per_host=3)
    answers = {f"/photos/{n}.jpg": Answer(b"x", headers=HEADERS, delay=0.02) for n in range(20)}
    with Origin(answers) as origin:
        async with opened(at(origin), limits) as source:
            entries = [Locator("x", f"s3://photos/{n}.jpg") for n in range(20)]
            await asyncio.gather(*(read(source, entry) for entry in entries))
        assert origin.most_at_once == 3


async def test_a_reader_that_stops_early_frees_its_slot() -> None:
    limits = FetchLimits(concurrency=1, per_host=1)
    with Origin({"/photos/1.jpg": Answer(b"x" * 5_000_000, headers=HEADERS)}) as origin:
        async with opened(at(origin), limits) as source:
            for _ in range(3):
                async with source.open(Locator("x", "s3://photos/1.jpg")) as stream:
                    async for _piece in stream.chunks():
                        break
        assert origin.requests["/photos/1.jpg"] == 3


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/1.jpg",
        "s3://photos/party-2/1.jpg",
        "s3://photos/party",
        "s3://photos/party/",
        "s3://photos/party/../1.jpg",
        "s3://photos/party/%2e%2e/1.jpg",
        "s3://photos/party//1.jpg",
        "s3://photos/party/%00.jpg",
        "https://elsewhere.example/1.jpg",
        "/etc/passwd",
        "",
    ],
)
async def test_only_what_lies_in_the_folder_is_opened(uri: str) -> None:
    with Origin() as origin:
        async with opened(at(origin, "party")) as source:
            with pytest.raises(PhotoRejected) as caught:
                await read(source, Locator("x", uri))
        assert not origin.requests
    assert caught.value.reason == "forbidden-address"


def test_every_reason_has_a_cure() -> None:
    reasons = set(_BY_CODE.values()) | set(_BY_STATUS.values())
    assert reasons - {"wrong-region"} <= set(CURES)
    assert {"bad-name", "archived", "no-identity"} <= set(CURES)


# Where it connects to


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "169.254.169.254"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_closed_endpoint_gets_no_connection(host: str, scheme: str) -> None:
    with Listener("127.0.0.2") as forbidden, Listener("127.0.0.1") as also:
        port = also.port if host == "localhost" else forbidden.port
        policy = AddressPolicy([ip_network("127.0.0.3/32")], [port])
        endpoint = pairs({"endpoint": f"{scheme}://{host}:{port}"})
        async with opened(SourceSpec("s3", "s3://photos", endpoint), policy=policy) as source:
            with pytest.raises(BadInput) as caught:
                await everything(source)
            assert "CLAIR_ALLOWED_CIDRS" in str(caught.value)
            with pytest.raises(PhotoRejected) as refused:
                await read(source, Locator("x", "s3://photos/1.jpg"))
            assert refused.value.reason == "forbidden-address"
        assert (forbidden.accepted, also.accepted) == (0, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_to_another_server(status: int) -> None:
    with Listener("127.0.0.2") as forbidden:
        away = redirect(f"http://127.0.0.2:{forbidden.port}/x", status)
        with Origin({"/photos": away, "/photos/1.jpg": away}) as origin:
            async with opened(at(origin)) as source:
                with pytest.raises(BadInput):
                    await everything(source)
                with pytest.raises(PhotoRejected) as caught:
                    await read(source, Locator("x", "s3://photos/1.jpg"))
        assert caught.value.reason in ("bad-redirect", "forbidden-address")
        assert forbidden.accepted == 0


async def test_the_bucket_may_stand_before_the_endpoints_name() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        assert host == "photos.storage.example"
        return ["127.0.0.1"]

    with Origin({"/1.jpg": Answer(b"x", headers=HEADERS)}) as origin:
        options = pairs(
            {"endpoint": f"http://storage.example:{origin.port}", "addressing": "virtual"}
        )
        spec = SourceSpec("s3", "s3://photos", options)
        async with (
            Fetcher(AddressPolicy(LOOPBACK), QUICK, resolve=resolve) as fetcher,
            SourceTools(fetcher) as tools,
        ):
            source = kind_of("s3").build(spec, tools)
            assert await read(source, Locator("x", "s3://photos/1.jpg")) == b"x"
        assert origin.seen[0][1]["Host"] == f"photos.storage.example:{origin.port}"
