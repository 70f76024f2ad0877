"""Storages for the tests of buckets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.core.sources import SourceSpec
from tests.sources.bucket_sources import at, on_azure, on_gcs
from tests.sources.clouds import AzureServer, GcsServer, S3Server, StandIn


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def locked() -> Iterator[S3Server]:
    with S3Server(locked=True) as server:
        yield server


@pytest.fixture(params=["s3", "gcs", "azure"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[tuple[S3Server | StandIn, SourceSpec]]:
    """A storage and the spec of its folder "party"."""
    if request.param == "s3":
        with S3Server(locked=True) as server:
            yield server, at(server, "party")
    elif request.param == "gcs":
        with GcsServer(page=3) as google:
            yield google, on_gcs(google, "party")
    else:
        with AzureServer(page=3) as azure:
            yield azure, on_azure(azure, "party")
