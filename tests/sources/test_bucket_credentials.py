"""Buckets: which credentials are used, and what is said of broken ones."""

from __future__ import annotations

import pytest

from app.core.errors import (
    BadInput,
    PhotoRejected,
)
from app.core.sources import SourceSpec, pairs
from tests.origin import Origin
from tests.sources.bucket_sources import (
    assert_tells_no_secret,
    at,
    everything,
    names_in,
    on_azure,
    on_gcs,
    opened,
    read,
)
from tests.sources.clouds import AzureServer, GcsServer, S3Server, StandIn, error


async def test_credentials_that_are_wrong_from_the_start(locked: S3Server) -> None:
    locked.put("party/1.jpg", b"x")
    for wrong in (
        {"access_key_id": "AKIAWRONGWRONGWRONG0"},
        {"secret_access_key": "wrong/wrong/wrong/wrong/wrong/wrong/wrong"},
    ):
        credentials = pairs(locked.keys | wrong)
        spec = SourceSpec("s3", "s3://photos/party", at(locked).options, credentials)
        async with opened(spec) as source:
            with pytest.raises(BadInput, match="does not accept the credentials") as caught:
                await everything(source)
        assert "access key" in caught.value.cure
        assert_tells_no_secret(caught.value, spec)


async def test_credentials_that_end_in_mid_run(
    anywhere: tuple[S3Server | StandIn, SourceSpec],
) -> None:
    server, spec = anywhere
    for n in range(4):
        server.put(f"party/{n}.jpg", b"x")
    async with opened(spec) as source:
        found = await everything(source)
        assert await read(source, found[0]) == b"x"
        if isinstance(server, S3Server):
            server.forget_keys()
        else:
            server.refuse = error(401, "ExpiredToken")
        for entry in found:
            with pytest.raises(PhotoRejected) as caught:
                await read(source, entry)
            assert caught.value.reason == "unauthorised"
            assert_tells_no_secret(caught.value, spec)
        with pytest.raises(BadInput):
            await everything(source)


async def test_googles_token_ends_and_is_signed_anew() -> None:
    with GcsServer() as storage:
        storage.put("1.jpg", b"x")
        async with opened(on_gcs(storage)) as source:
            (entry,) = await everything(source)
            later = storage.now() + 7200
            storage.now = lambda: later
            with pytest.raises(PhotoRejected) as caught:
                await read(source, entry)
            assert caught.value.reason == "unauthorised"


async def test_a_sas_token_goes_to_the_storage_as_it_was_given() -> None:
    with AzureServer() as storage:
        storage.put("1 %.jpg", b"x")
        for token in (storage.sas, f"?{storage.sas}"):
            async with opened(on_azure(storage, sas_token=token)) as source:
                (entry,) = await everything(source)
                assert await read(source, entry) == b"x"


@pytest.mark.parametrize("server", [GcsServer, AzureServer])
async def test_what_is_public_needs_no_credentials(server: type[GcsServer | AzureServer]) -> None:
    with server() as storage:
        storage.put("1.jpg", b"x")
        keyed = on_gcs(storage) if isinstance(storage, GcsServer) else on_azure(storage)
        spec = SourceSpec(keyed.kind, keyed.uri, keyed.options)
        async with opened(spec) as source:
            with pytest.raises(BadInput):
                await everything(source)
            storage.public = True
            (entry,) = await everything(source)
            assert await read(source, entry) == b"x"
        assert not [headers for _, headers in storage.seen if "Authorization" in headers]


async def test_the_environment_lends_no_credentials(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor anything else that would change where or how a bucket is read."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAOPERATOR", "AWS_SECRET_ACCESS_KEY": "operators",
        "AWS_SESSION_TOKEN": "operators", "AWS_ENDPOINT": "http://127.0.0.2:9",
        "AWS_ENDPOINT_URL": "http://127.0.0.2:9", "AWS_REGION": "elsewhere-1",
        "AWS_SKIP_SIGNATURE": "false", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_S3_EXPRESS": "true", "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/passwd",
        "AWS_ALLOW_INVALID_CERTIFICATES": "true", "AWS_REQUEST_PAYER": "true",
        "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json", "GOOGLE_BEARER_TOKEN": "operators",
        "GOOGLE_BASE_URL": "http://127.0.0.2:9", "GOOGLE_SKIP_SIGNATURE": "false",
        "GOOGLE_BUCKET": "operators", "AZURE_STORAGE_ACCOUNT_NAME": "operators",
        "AZURE_STORAGE_ACCOUNT_KEY": "b3BlcmF0b3Jz", "AZURE_STORAGE_SAS_TOKEN": "sig=operators",
        "AZURE_STORAGE_TOKEN": "operators", "AZURE_STORAGE_ENDPOINT": "http://127.0.0.2:9",
        "AZURE_STORAGE_USE_EMULATOR": "true", "AZURE_CREDENTIAL_TYPE": "managed_identity",
        "AZURE_SKIP_SIGNATURE": "false", "AZURE_CONTAINER_NAME": "operators",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with GcsServer() as google, AzureServer() as azure, Origin() as seen:
        keyed = [on_gcs(google), on_azure(azure), on_azure(azure, sas_token=azure.sas)]
        for spec in keyed:
            (google if spec.kind == "gcs" else azure).put("1.jpg", b"x")
            assert await names_in(spec) == ["1.jpg"]
        google.public = azure.public = True
        s3.put("1.jpg", b"x")
        for spec in (*keyed, at(s3)):
            assert await names_in(SourceSpec(spec.kind, spec.uri, spec.options)) == ["1.jpg"]
        with pytest.raises(BadInput):
            await names_in(at(seen))
        for _, headers in [*seen.seen, google.seen[-1], azure.seen[-1]]:
            sent = {name.lower() for name in headers}
            assert not {"authorization", "x-amz-security-token", "x-amz-request-payer"} & sent


@pytest.mark.parametrize(
    ("kind", "uri", "options", "credentials"),
    [
        ("s3", "s3://photos", {}, {"access_key_id": "A"}),
        ("s3", "s3://photos", {}, {"secret_access_key": "SECRET"}),
        ("s3", "s3://photos", {}, {"session_token": "SECRET"}),
        ("s3", "s3://photos", {}, {"access_key_id": "A B", "secret_access_key": "SECRET"}),
        ("s3", "s3://photos", {}, {"access_key_id": "A\n", "secret_access_key": "SECRET\nx"}),
        ("s3", "s3://photos", {"region": "no/region"}, {}),
        ("s3", "s3://photos", {"region": "a.evil.example#"}, {}),
        ("s3", "s3://photos", {"endpoint": "minio.lan"}, {}),
        ("s3", "s3://photos", {"endpoint": "ftp://minio.lan"}, {}),
        ("s3", "s3://photos", {"endpoint": "https://key:SECRET@minio.lan"}, {}),
        ("s3", "s3://photos", {"endpoint": "https://minio.lan/?x=SECRET"}, {}),
        ("s3", "s3://photos", {"addressing": "sideways"}, {}),
        ("s3", "s3://photos", {"credentials_from": "elsewhere"}, {}),
        ("s3", "s3://photos", {"service_account_key": "x"}, {}),
        ("s3", "gs://photos", {}, {}),
        ("s3", "s3://key:SECRET@photos", {}, {}),
        ("gcs", "gs://photos", {}, {"service_account_key": "SECRET"}),
        ("gcs", "gs://photos", {}, {"service_account_key": '{"private_key": "SECRET"}'}),
        ("gcs", "gs://photos", {}, {"service_account_key": '["SECRET"]'}),
        ("gcs", "s3://photos", {}, {}),
        ("azure", "az://account1/photos", {}, {"account_key": "SECRET!"}),
        ("azure", "az://account1/photos", {}, {"sas_token": "SECRET"}),
        ("azure", "az://account1/photos", {}, {"account_key": "U0VDUkVU", "sas_token": "sig=x"}),
        ("azure", "az://account1", {}, {}),
        ("azure", "https://account1.blob.core.windows.net/photos?sv=1&sig=SECRET", {}, {}),
    ],
)  # fmt: skip
async def test_what_can_not_be_right_is_said_before_anything_is_asked(
    kind: str, uri: str, options: dict[str, str], credentials: dict[str, str]
) -> None:
    spec = SourceSpec(kind, uri, pairs(options), pairs(credentials))
    with pytest.raises(BadInput) as caught:
        async with opened(spec):
            pass
    assert "SECRET" not in f"{caught.value} {caught.value.__cause__!r}"
