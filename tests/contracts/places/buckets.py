"""Buckets: moto's S3 server, and stand-ins of Google Cloud Storage and Azure Blob Storage."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from app.core.sources import Pairs, SourceSpec, pairs
from tests.contracts.places import PHOTOS, Place
from tests.sources.clouds import REGION, AzureServer, GcsServer, S3Server


def s3(_: Path, held: ExitStack) -> Place:
    server = held.enter_context(S3Server(locked=True))
    wrong = pairs({**server.keys, "secret_access_key": "wrong-secret-wrong-secret"})
    return _place(server, _s3(server, "wedding"), _s3(server, "wedding", "nowhere"), wrong)


def s3_public(_: Path, held: ExitStack) -> Place:
    server = held.enter_context(S3Server())
    return _place(server, _s3(server), _s3(server, "", "nowhere"))


def _s3(server: S3Server, folder: str = "", bucket: str = "photos") -> SourceSpec:
    options = pairs({"endpoint": server.url, "region": REGION})
    return SourceSpec("s3", f"s3://{bucket}/{folder}", options, pairs(server.keys))


def gcs(_: Path, held: ExitStack) -> Place:
    server = held.enter_context(GcsServer(page=2))
    options, keys = pairs({"endpoint": server.url("")}), pairs({"service_account_key": server.key})
    other = GcsServer().key
    return _place(
        server,
        SourceSpec("gcs", "gs://photos/wedding/", options, keys),
        SourceSpec("gcs", "gs://nowhere", options, keys),
        pairs({"service_account_key": other}),
    )


def azure(_: Path, held: ExitStack) -> Place:
    server = held.enter_context(AzureServer(page=2))
    options = pairs({"endpoint": server.url(server.namespace)})
    keys = pairs({"account_key": server.key})
    return _place(
        server,
        SourceSpec("azure", "az://account1/photos/wedding", options, keys),
        SourceSpec("azure", "az://account1/nowhere", options, keys),
        pairs({"account_key": "d3JvbmcgYnV0IG5vdCBicm9rZW4="}),
    )


def azure_by_sas(_: Path, held: ExitStack) -> Place:
    server = held.enter_context(AzureServer())
    options = pairs({"endpoint": server.url(server.namespace)})
    url = "https://account1.blob.core.windows.net"
    return _place(
        server,
        SourceSpec("azure", f"{url}/photos", options, pairs({"sas_token": server.sas})),
        SourceSpec("azure", f"{url}/nowhere", options, pairs({"sas_token": server.sas})),
        pairs({"sas_token": "sv=2024-11-04&sp=rl&sr=c&sig=wrongwrong"}),
    )


def _place(
    server: S3Server | GcsServer | AzureServer,
    spec: SourceSpec,
    nowhere: SourceSpec,
    wrong: Pairs = (),
) -> Place:
    folder = "wedding/" if "wedding" in spec.uri else ""
    for name, data in PHOTOS.items():
        server.put(folder + name, data)
    if folder:
        server.put("wedding-2/other.jpg", b"a neighbour")
    locked = SourceSpec(spec.kind, spec.uri, spec.options, wrong) if wrong else None
    return Place(
        spec,
        gone=lambda name: server.delete(folder + name),
        change=lambda name, data: server.put(folder + name, data),
        nowhere=nowhere,
        locked=locked,
    )


PLACES = {
    "s3": s3,
    "s3 public": s3_public,
    "gcs": gcs,
    "azure": azure,
    "azure by sas": azure_by_sas,
}
