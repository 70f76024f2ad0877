"""From what is stored of a bucket to obstore's clients of it, whatever the cloud.

obstore's constructors read the environment (AWS_…, GOOGLE_…, AZURE_…). What they could find there
is overruled one by one: a source gets the keys that it was given, the machine's own identity where
operator and owner both say so, or none.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from obstore.store import AzureStore, GCSStore, S3Store

from app.core.errors import BadInput, PhotoRejected
from app.core.sources import SourceField, SourceSpec
from app.sources.addresses import WebAddress, parse_url
from app.sources.asking import checked_secret
from app.sources.bucket_identity import (
    Ask,
    Credential,
    InstanceIdentity,
    aws_identity,
    azure_identity,
    google_identity,
)
from app.sources.bucket_places import BucketPlace, azure_place, gcs_place, s3_place
from app.sources.http import USER_AGENT, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.walking import EXCLUDE, INCLUDE

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

AMAZON = "https://s3.{region}.amazonaws.com{end}"
GOOGLE = "https://storage.googleapis.com"
RETRIES = 2
RETRY_SECONDS = 10
TOKEN_LIFE = timedelta(hours=1)
"""Google's longest for a token that a service account signs itself."""
READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"
FOREVER: datetime | None = None

ENDPOINT = SourceField(
    "endpoint",
    "Endpoint",
    "The storage's address where it is not the cloud's own, with http(s)://.",
    leads=True,
)
CREDENTIALS_FROM = SourceField(
    "credentials_from",
    "Credentials",
    "keys: the ones given here, or none for what is public. instance: this machine's own identity.",
    choices=("keys", "instance"),
)
S3_FIELDS = (
    SourceField("region", "Region", "Where the bucket lies. Empty: us-east-1."),
    ENDPOINT,
    SourceField(
        "addressing",
        "Bucket in",
        "path: after the endpoint, which nearly all storages take. virtual: before its name.",
        choices=("path", "virtual"),
    ),
    INCLUDE,
    EXCLUDE,
    CREDENTIALS_FROM,
    SourceField("access_key_id", "Access key id", "Empty for a public bucket.", secret=True),
    SourceField("secret_access_key", "Secret access key", "Its other half.", secret=True),
    SourceField("session_token", "Session token", "Only with temporary keys.", secret=True),
)
GCS_FIELDS = (
    ENDPOINT,
    INCLUDE,
    EXCLUDE,
    CREDENTIALS_FROM,
    SourceField(
        "service_account_key",
        "Service account key",
        "The JSON file's whole text. Empty for a public bucket.",
        secret=True,
    ),
)
AZURE_FIELDS = (
    ENDPOINT,
    INCLUDE,
    EXCLUDE,
    CREDENTIALS_FROM,
    SourceField("account_key", "Account key", "Opens the whole account.", secret=True),
    SourceField("sas_token", "SAS token", "With list and read; safer than the key.", secret=True),
)

_REGION = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that can be opened. `make` builds a client of it; `cures` say what the owner can do
    about a fault of the whole source."""

    place: BucketPlace
    endpoint: WebAddress
    make: Callable[[ClientConfig, RetryConfig], ObjectStore] = field(repr=False)
    identity: InstanceIdentity | None
    cures: dict[str, str]


def client_options(limits: FetchLimits, proxy_url: str, endpoint: WebAddress) -> ClientConfig:
    """All that a client may do: everything else is the proxy's to refuse."""
    return {
        "proxy_url": proxy_url,
        "allow_http": endpoint.scheme == "http",
        "connect_timeout": timedelta(seconds=limits.connect_seconds),
        "timeout": timedelta(seconds=limits.total_seconds),
        "pool_idle_timeout": timedelta(seconds=30),
        "pool_max_idle_per_host": str(limits.per_host),
        "user_agent": USER_AGENT,
    }


def retry_config(limits: FetchLimits) -> RetryConfig:
    """A couple of quick tries; longer waits are the ledger's."""
    return {
        "max_retries": min(RETRIES, limits.attempts - 1),
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(seconds=limits.first_backoff_seconds),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }


def s3_bucket(spec: SourceSpec, tools: SourceTools) -> Bucket:
    """Raises BadInput, as the two below."""
    place = _place(s3_place(spec.uri), "s3://bucket/folder")
    region = spec.option("region", "us-east-1")
    if not _REGION.fullmatch(region):
        raise BadInput(f"“{region[:40]}” is not a region.", cure="Regions look like eu-central-1.")
    endpoint = _endpoint(
        spec, AMAZON.format(region=region, end=".cn" if region.startswith("cn-") else "")
    )
    if spec.option("addressing") == "virtual":
        endpoint = _address(
            f"{endpoint.scheme}://{place.bucket}.{str(endpoint).partition('://')[2]}"
        )
    identity = _identity(spec, tools, aws_identity)
    key, secret, token = (
        checked_secret(name.replace("_", " "), spec.credential(name))
        for name in ("access_key_id", "secret_access_key", "session_token")
    )
    if (key is None) is not (secret is None) or (key is None and token is not None):
        raise BadInput(
            "An access key has two halves, and one is missing.",
            cure="Give the access key id and the secret access key, or neither.",
        )
    fixed = {
        "access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": FOREVER,
    }  # fmt: skip
    config: Any = {
        "region": region,
        "endpoint": str(endpoint).rstrip("/"),
        "virtual_hosted_style_request": spec.option("addressing") == "virtual",
        "skip_signature": identity is None and key is None,
        "s3_express": False,
        "request_payer": False,
    }

    def make(client: ClientConfig, retry: RetryConfig) -> ObjectStore:
        provider: Any = identity or (lambda: fixed)
        return S3Store(
            place.bucket,
            config=config,
            client_options=client,
            retry_config=retry,
            credential_provider=provider,
        )

    return Bucket(place, endpoint, make, identity, _cures(config, {
        "unauthorised": "Give the source a valid access key.",
        "forbidden": "Its key needs s3:ListBucket on the bucket and s3:GetObject on the objects.",
        "wrong-region": "Set the region to the bucket's own.",
        "bad-listing": "Check the endpoint: it has to be that of an S3-compatible storage.",
    }))  # fmt: skip


def gcs_bucket(spec: SourceSpec, tools: SourceTools) -> Bucket:
    place = _place(gcs_place(spec.uri), "gs://bucket/folder")
    endpoint = _endpoint(spec, GOOGLE)
    identity = _identity(spec, tools, google_identity)
    text = spec.credential("service_account_key")
    account = None if text is None else _ServiceAccount.parse(text)
    config: Any = {
        "base_url": str(endpoint).rstrip("/"),
        "skip_signature": identity is None and account is None,
    }

    def make(client: ClientConfig, retry: RetryConfig) -> ObjectStore:
        provider: Any = identity or account or (lambda: {"token": "", "expires_at": FOREVER})
        return GCSStore(
            place.bucket,
            config=config,
            client_options=client,
            retry_config=retry,
            credential_provider=provider,
        )

    return Bucket(place, endpoint, make, identity, _cures(config, {
        "unauthorised": "Give the source a service account key that is valid.",
        "forbidden": "Its service account needs the role Storage Object Viewer on the bucket.",
        "bad-listing": "Check the endpoint: it has to be that of Google Cloud Storage.",
    }))  # fmt: skip


def azure_bucket(spec: SourceSpec, tools: SourceTools) -> Bucket:
    place = _place(azure_place(spec.uri), "az://account/container/folder")
    endpoint = _endpoint(spec, f"https://{place.host}")
    identity = _identity(spec, tools, azure_identity)
    key = checked_secret("account key", spec.credential("account_key"))
    sas = checked_secret("SAS token", spec.credential("sas_token"))
    if key is not None and sas is not None:
        raise BadInput("There are two credentials.", cure="Give the account key or the SAS token.")
    fixed: Credential = {"token": "", "expires_at": FOREVER}
    if key is not None:
        fixed = {"access_key": _base64(key), "expires_at": FOREVER}
    elif sas is not None:
        fixed = {"sas_token": _sas_pairs(sas), "expires_at": FOREVER}
    config: Any = {
        "account_name": place.account,
        "endpoint": str(endpoint).rstrip("/"),
        "skip_signature": identity is None and key is None and sas is None,
        "credential_type": "auto",
        "use_emulator": False,
    }

    def make(client: ClientConfig, retry: RetryConfig) -> ObjectStore:
        provider: Any = identity or (lambda: fixed)
        return AzureStore(
            place.bucket,
            config=config,
            client_options=client,
            retry_config=retry,
            credential_provider=provider,
        )

    return Bucket(place, endpoint, make, identity, _cures(config, {
        "unauthorised": "Give the source a SAS token or account key that is valid.",
        "forbidden": "It needs the rights to list and to read, like Storage Blob Data Reader.",
        "bad-listing": "Check the endpoint: it has to be that of Azure Blob Storage.",
    }))  # fmt: skip


def _cures(config: dict[str, Any], cures: dict[str, str]) -> dict[str, str]:
    if not config["skip_signature"]:
        return cures
    closed = "Give the source credentials, or let the public list and read it."
    return cures | {"unauthorised": closed, "forbidden": closed}


def _place(place: BucketPlace | None, form: str) -> BucketPlace:
    if place is None:
        raise BadInput("This is not the address of such a bucket.", cure=f"Write {form}.")
    return place


def _endpoint(spec: SourceSpec, usual: str) -> WebAddress:
    address = _address(spec.option("endpoint", usual))
    if "?" in address.path_and_query:
        raise BadInput("The endpoint holds a question mark.", cure="Give it up to there.")
    return address


def _address(text: str) -> WebAddress:
    try:
        return parse_url(text)
    except PhotoRejected as error:
        raise BadInput(f"The endpoint can't be used: {error.message}", cure=error.cure) from error


def _identity(
    spec: SourceSpec, tools: SourceTools, find: Callable[[Ask], Awaitable[Credential]]
) -> InstanceIdentity | None:
    if spec.option("credentials_from", "keys") != "instance":
        return None
    if not tools.instance_credentials:
        raise BadInput(
            "This machine's own identity may not be used for sources.",
            cure="The operator allows it by CLAIR_INSTANCE_CREDENTIALS; or give the source keys.",
        )
    if spec.credentials:
        raise BadInput("There are two kinds of credentials.", cure="Remove the keys.")
    if spec.option("endpoint"):
        # A token of the machine would open its cloud to whoever runs that endpoint.
        raise BadInput(
            "This machine's own identity goes to its cloud's own storage only.",
            cure="Remove the endpoint, or give the source keys.",
        )
    return InstanceIdentity(find)


@dataclass(frozen=True, slots=True)
class _ServiceAccount:
    """Signs its own tokens for reading (RFC 7523 as Google takes it, AIP-4111)."""

    email: str
    key_id: str
    key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> _ServiceAccount:
        """Raises BadInput, which tells nothing of the text."""
        unreadable = BadInput(
            "The service account key can't be read.",
            cure="Paste the whole JSON file that Google offered when the key was made.",
        )
        try:
            found = json.loads(text)
            key = serialization.load_pem_private_key(found["private_key"].encode(), None)
            email, key_id = str(found["client_email"]), str(found.get("private_key_id", ""))
        except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
            raise unreadable from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise unreadable
        return cls(email, key_id, key)

    def __call__(self) -> Credential:
        now = datetime.now(UTC)
        expires = now + TOKEN_LIFE
        head = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        claims = {
            "iss": self.email,
            "sub": self.email,
            "scope": READ_ONLY,
            "iat": int(now.timestamp()),
            "exp": int(expires.timestamp()),
        }
        signed = b".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return {"token": (signed + b"." + _url64(signature)).decode(), "expires_at": expires}


def _url64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _base64(key: str) -> str:
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        raise BadInput(
            "The account key can't be read.", cure="Copy it again, to its last character."
        ) from None
    return key


def _sas_pairs(token: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in token.lstrip("?").split("&") if part]
    pairs = [(unquote(name), unquote(value)) for name, _, value in parts]
    if not any(name == "sig" and value for name, value in pairs):
        raise BadInput(
            "The SAS token can't be read.", cure="Copy all that follows the question mark."
        )
    return pairs
