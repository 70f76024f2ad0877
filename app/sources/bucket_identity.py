"""The machine's own cloud identity, for buckets that it may read without a key.

The metadata services lie at link-local addresses that nothing else may reach (SECURITY.md 10).
They are asked here and nowhere else, by fixed addresses and a fetcher of its own that lives for one
question; neither the egress proxy nor the process's fetcher is opened to them. What they answer
goes to the cloud's own storage only, which bucket_stores.py sees to.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits

# AWS, Google and Azure serve a machine's identity at the first; AWS a container's at the others.
INSTANCE = "http://169.254.169.254"
TASK = "http://169.254.170.2"
NETWORKS = tuple(
    ip_network(each) for each in ("169.254.169.254", "169.254.170.2", "169.254.170.23")
)
LIMITS = FetchLimits(connect_seconds=2.0, total_seconds=5.0, attempts=2, redirects=0)
MAX_ANSWER = 65_536
RENEWED_BEFORE = timedelta(minutes=5)

Credential = dict[str, Any]
"""What obstore's credential providers return, with `expires_at`."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a metadata service; raises SourceUnavailable."""

    fetcher: Fetcher

    async def text(self, url: str, headers: dict[str, str], method: str = "GET") -> str:
        parts = b""
        try:
            async with self.fetcher.open(url, headers=headers, method=method) as stream:
                async for chunk in stream.chunks():
                    parts += chunk
                    if len(parts) > MAX_ANSWER:
                        raise _no_identity()
        except (PhotoRejected, SourceUnavailable):
            raise _no_identity() from None
        return parts.decode("utf-8", "replace")

    async def json(self, url: str, headers: dict[str, str]) -> dict[str, Any]:
        try:
            found = json.loads(await self.text(url, headers))
        except ValueError:
            raise _no_identity() from None
        if not isinstance(found, dict):
            raise _no_identity()
        return found


class InstanceIdentity:
    """A credential provider for obstore that is asked beforehand: `ready` renews what `__call__`
    hands out, so that a failure is ours to word."""

    def __init__(self, find: Callable[[Ask], Awaitable[Credential]]) -> None:
        self._find = find
        self._held: Credential | None = None
        self._renewing = asyncio.Lock()

    async def ready(self) -> None:
        """Raises SourceUnavailable where the machine has no identity or does not tell it."""
        async with self._renewing:
            held = self._held
            if held is not None and held["expires_at"] - datetime.now(UTC) > RENEWED_BEFORE:
                return
            async with Fetcher(AddressPolicy(NETWORKS), LIMITS) as fetcher:
                try:
                    self._held = await self._find(Ask(fetcher))
                except (KeyError, TypeError, ValueError, OSError):
                    raise _no_identity() from None

    def __call__(self) -> Credential:
        if self._held is None:
            raise _no_identity()
        return self._held


async def aws_identity(ask: Ask) -> Credential:
    """The role of the container (ECS, EKS Pod Identity), else of the machine (IMDSv2)."""
    found = await _aws_container(ask)
    if found is None:
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
        token = await ask.text(f"{INSTANCE}/latest/api/token", ttl, "PUT")
        headers = {"X-aws-ec2-metadata-token": token.strip()}
        roles = f"{INSTANCE}/latest/meta-data/iam/security-credentials/"
        role = (await ask.text(roles, headers)).strip().partition("\n")[0]
        found = await ask.json(roles + role, headers)
    return {
        "access_key_id": str(found["AccessKeyId"]),
        "secret_access_key": str(found["SecretAccessKey"]),
        "token": str(found["Token"]),
        "expires_at": datetime.fromisoformat(found["Expiration"]).astimezone(UTC),
    }


async def _aws_container(ask: Ask) -> dict[str, Any] | None:
    relative = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    url = f"{TASK}{relative}" if relative else ""
    url = url or os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if not url:
        return None
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    path = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    if path:
        token = await asyncio.to_thread(lambda: Path(path).read_text("utf-8").strip())
    return await ask.json(url, {"Authorization": token} if token else {})


async def google_identity(ask: Ask) -> Credential:
    """The service account of the machine or, on GKE, of the workload."""
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    found = await ask.json(INSTANCE + path, {"Metadata-Flavor": "Google"})
    expires = datetime.now(UTC) + timedelta(seconds=int(found["expires_in"]))
    return {"token": str(found["access_token"]), "expires_at": expires}


async def azure_identity(ask: Ask) -> Credential:
    """The managed identity of the machine."""
    query = "api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
    url = f"{INSTANCE}/metadata/identity/oauth2/token?{query}"
    found = await ask.json(url, {"Metadata": "true"})
    expires = datetime.fromtimestamp(int(found["expires_on"]), UTC)
    return {"token": str(found["access_token"]), "expires_at": expires}


def _no_identity() -> SourceUnavailable:
    return SourceUnavailable(
        "no-identity",
        "This machine's cloud identity could not be asked for.",
        cure="Give the machine a role that may read the bucket, or the source keys.",
    )
