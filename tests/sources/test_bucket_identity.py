"""Buckets that are read with the machine's own identity; the metadata service is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.core.errors import BadInput, SourceUnavailable
from app.core.photos import Locator
from app.core.sources import SourceSpec, pairs
from app.sources import bucket_identity
from app.sources.addresses import AddressPolicy
from app.sources.bucket_identity import InstanceIdentity, azure_identity, google_identity
from app.sources.http import Fetcher
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.open import kind_of
from tests.origin import LOOPBACK, Answer, Listener, Origin, redirect
from tests.sources.clouds import REGION, GcsServer, S3Server

ROLES = "/latest/meta-data/iam/security-credentials/"
BY_INSTANCE = pairs({"credentials_from": "instance"})


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """The service that every cloud has at a link-local address."""
    for name in ("RELATIVE_URI", "FULL_URI"):
        monkeypatch.delenv(f"AWS_CONTAINER_CREDENTIALS_{name}", raising=False)
    for name in ("TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"AWS_CONTAINER_AUTHORIZATION_{name}", raising=False)
    with Origin(host="127.0.0.9") as origin:
        monkeypatch.setattr(bucket_identity, "INSTANCE", origin.url(""))
        monkeypatch.setattr(bucket_identity, "TASK", origin.url(""))
        monkeypatch.setattr(bucket_identity, "NETWORKS", LOOPBACK)
        yield origin


def aws_answer(keys: dict[str, str], lasts: timedelta) -> Answer:
    expires = datetime.now(UTC) + lasts
    body = {
        "Code": "Success",
        "AccessKeyId": keys["access_key_id"],
        "SecretAccessKey": keys["secret_access_key"],
        "Token": keys["session_token"],
        "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
    }
    return Answer(json.dumps(body).encode())


def serve_role(
    metadata: Origin, keys: Callable[[], dict[str, str]], lasts: timedelta = timedelta(hours=6)
) -> None:
    """As IMDSv2 does: nothing without a token that was asked for by PUT."""

    def token(request):
        right = (
            request.method == "PUT" and "X-aws-ec2-metadata-token-ttl-seconds" in request.headers
        )
        return Answer(b"the-token") if right else Answer(status=405)

    def guarded(answer):
        def respond(request):
            known = request.headers.get("X-aws-ec2-metadata-token") == "the-token"
            return answer() if known else Answer(status=401)

        return respond

    metadata.answers["/latest/api/token"] = token
    metadata.answers[ROLES] = guarded(lambda: Answer(b"photo-reader\n"))
    metadata.answers[f"{ROLES}photo-reader"] = guarded(lambda: aws_answer(keys(), lasts))


def assumed(server: S3Server) -> dict[str, str]:
    """Temporary keys of a role, from moto's STS."""
    with server.open_door():
        return server.assume_role()


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Amazon's own endpoint, as far as the source can tell."""
    with S3Server(locked=True) as server:
        server.put("1.jpg", b"x")
        monkeypatch.setattr("app.sources.bucket_stores.AMAZON", server.url)
        yield server


async def read_with_identity(spec: SourceSpec, times: int = 1) -> list[bytes]:
    async with (
        Fetcher(AddressPolicy(LOOPBACK)) as fetcher,
        SourceTools(fetcher, instance_credentials=True) as tools,
    ):
        source = kind_of(spec.kind).build(spec, tools)
        entries = [entry async for entry in source.discover()]
        assert entries
        read = []
        for entry in entries * times:
            assert isinstance(entry, Locator)
            async with source.open(entry) as stream:
                read.append(await read_photo(stream, 1000))
        return read


S3_SPEC = SourceSpec("s3", "s3://photos", pairs(dict(BY_INSTANCE) | {"region": REGION}))


async def test_the_machines_role_opens_a_bucket(metadata: Origin, locked: S3Server) -> None:
    keys = assumed(locked)
    serve_role(metadata, lambda: keys)
    assert await read_with_identity(S3_SPEC, times=3) == [b"x"] * 3
    assert metadata.requests[f"{ROLES}photo-reader"] == 1, "kept while it lasts"


async def test_keys_are_renewed_before_they_end(metadata: Origin, locked: S3Server) -> None:
    made: list[dict[str, str]] = []

    def keys() -> dict[str, str]:
        made.append(assumed(locked))
        return made[-1]

    serve_role(metadata, keys, timedelta(minutes=4))
    assert await read_with_identity(S3_SPEC, times=2) == [b"x"] * 2
    assert len(made) == 3


async def test_the_role_of_a_container_comes_first(
    metadata: Origin, locked: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    keys = assumed(locked)

    def respond(request):
        right = request.headers.get("Authorization") == "task-token"
        return aws_answer(keys, timedelta(hours=1)) if right else Answer(status=403)

    metadata.answers["/v2/credentials/1"] = respond
    (tmp_path / "token").write_text("task-token\n")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")
    assert await read_with_identity(S3_SPEC) == [b"x"]
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url("/v2/credentials/1"))
    assert await read_with_identity(S3_SPEC) == [b"x"]


async def test_googles_service_account_opens_a_bucket(
    metadata: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.sources.bucket_stores import _ServiceAccount

    with GcsServer() as server:
        server.put("1.jpg", b"x")
        token = _ServiceAccount.parse(server.key)()["token"]

        def respond(request):
            right = request.headers.get("Metadata-Flavor") == "Google"
            body = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
            return Answer(json.dumps(body).encode()) if right else Answer(status=403)

        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        metadata.answers[path] = respond
        monkeypatch.setattr("app.sources.bucket_stores.GOOGLE", server.url(""))
        spec = SourceSpec("gcs", "gs://photos", BY_INSTANCE)
        assert await read_with_identity(spec, times=2) == [b"x"] * 2
        assert metadata.requests[path] == 1


async def test_azures_managed_identity(metadata: Origin) -> None:
    def respond(request):
        query = "api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
        right = request.headers.get("Metadata") == "true" and request.raw_path.endswith(query)
        body = {"access_token": "abc", "expires_on": "1900000000", "token_type": "Bearer"}
        return Answer(json.dumps(body).encode()) if right else Answer(status=400)

    metadata.answers["/metadata/identity/oauth2/token"] = respond
    identity = InstanceIdentity(azure_identity)
    await identity.ready()
    expires = datetime.fromtimestamp(1_900_000_000, UTC)
    assert identity() == {"token": "abc", "expires_at": expires}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404),
        Answer(status=500),
        Answer(b"no json"),
        Answer(b"[]"),
        Answer(b"{}"),
        Answer(b'{"access_token": 1, "expires_in": "soon"}'),
        Answer(b"{" + b" " * 100_000 + b"}"),
        redirect("/elsewhere"),
    ],
)
async def test_a_metadata_service_that_has_no_identity(metadata: Origin, answer: Answer) -> None:
    metadata.answers["/computeMetadata/v1/instance/service-accounts/default/token"] = answer
    with pytest.raises(SourceUnavailable) as caught:
        await InstanceIdentity(google_identity).ready()
    assert caught.value.reason == "no-identity"
    assert "/elsewhere" not in metadata.requests


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
async def test_a_source_says_so_where_there_is_none(metadata: Origin, kind: str) -> None:
    uri = {"s3": "s3://photos", "gcs": "gs://photos", "azure": "az://account1/photos"}[kind]
    with pytest.raises(SourceUnavailable) as caught:
        await read_with_identity(SourceSpec(kind, uri, BY_INSTANCE))
    assert caught.value.reason == "no-identity"


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
async def test_only_where_the_operator_and_the_address_allow_it(kind: str) -> None:
    uri = {"s3": "s3://photos", "gcs": "gs://photos", "azure": "az://account1/photos"}[kind]
    keys = {"s3": "access_key_id", "gcs": "service_account_key", "azure": "sas_token"}[kind]
    elsewhere = pairs({**dict(BY_INSTANCE), "endpoint": "https://storage.evil.example"})
    async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher:
        for allowed, options, credentials, words in (
            (False, BY_INSTANCE, (), "CLAIR_INSTANCE_CREDENTIALS"),
            (True, elsewhere, (), "Remove the endpoint"),
            (True, BY_INSTANCE, ((keys, "x"),), "Remove the keys"),
        ):
            tools = SourceTools(fetcher, instance_credentials=allowed)
            with pytest.raises(BadInput, match=words):
                kind_of(kind).build(SourceSpec(kind, uri, options, credentials), tools)


async def test_the_metadata_service_stays_closed_to_everything_else() -> None:
    """The hole is the identity's own: neither sources nor the proxy get any further by it."""
    with Listener("127.0.0.9") as service:
        policy = AddressPolicy(extra_ports=[service.port])
        endpoint = pairs({"endpoint": f"http://127.0.0.9:{service.port}"})
        async with (
            Fetcher(policy) as fetcher,
            SourceTools(fetcher, instance_credentials=True) as tools,
        ):
            source = kind_of("s3").build(SourceSpec("s3", "s3://photos", endpoint), tools)
            with pytest.raises(BadInput):
                _ = [entry async for entry in source.discover()]
            metadata = pairs({"endpoint": "http://169.254.169.254"})
            source = kind_of("s3").build(SourceSpec("s3", "s3://photos", metadata), tools)
            with pytest.raises(BadInput):
                _ = [entry async for entry in source.discover()]
        assert service.accepted == 0
