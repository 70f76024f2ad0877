"""Storages on loopback.

`S3Server` is moto's server, which checks signatures and permissions. `GcsServer` and `AzureServer`
are stand-ins of our own: they speak the part of the documented REST APIs that reading needs, check
the credential as the real ones do, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import urllib.request
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import boto3
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import get_canned_acl, s3_backends
from moto.server import ThreadedMotoServer

from tests.origin import Answer, Origin

REGION = "eu-central-1"
_READER = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
        ],
    }
)


class S3Server:
    """A bucket "photos" on moto. With `locked`, only `keys` open it, and only for reading."""

    def __init__(self, *, locked: bool = False) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._locked = locked
        self.keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._post("reset", b"")
        self.client = self._client("s3")
        self.client.create_bucket(
            Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        if self._locked:
            self._make_keys()
        return self

    def __exit__(self, *_: object) -> None:
        self._post("reset-auth", b"inf")
        self._server.stop()

    def put(self, name: str, data: bytes) -> None:
        with self.open_door():
            acl = "private" if self._locked else "public-read"
            self.client.put_object(Bucket="photos", Key=name, Body=data, ACL=acl)

    def fill(self, names: list[str]) -> None:
        """Many objects at once, behind the server's back, for moto takes 16 ms over each."""
        for name in names:
            made = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("photos", name, name.encode())
            made.set_acl(get_canned_acl("public-read"))

    def delete(self, name: str) -> None:
        with self.open_door():
            self.client.delete_object(Bucket="photos", Key=name)

    def open_door(self) -> OpenDoor:
        """Lets the test itself do what its keys may not."""
        return OpenDoor(self)

    def check_credentials(self, on: bool) -> None:
        self._post("reset-auth", b"0" if on else b"inf")

    def forget_keys(self) -> None:
        """As if they had been revoked."""
        with self.open_door():
            self._client("iam").delete_access_key(
                UserName="reader", AccessKeyId=self.keys["access_key_id"]
            )

    def assume_role(self) -> dict[str, str]:
        """Temporary keys with the rights of the reader."""
        iam = self._client("iam")
        role = f"role-{uuid.uuid4()}"
        iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=_READER)
        arn = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/{role}"
        made = self._client("sts").assume_role(RoleArn=arn, RoleSessionName="reader")["Credentials"]
        return {
            "access_key_id": made["AccessKeyId"],
            "secret_access_key": made["SecretAccessKey"],
            "session_token": made["SessionToken"],
        }

    @property
    def locked(self) -> bool:
        return self._locked

    def _make_keys(self) -> None:
        iam = self._client("iam")
        iam.create_user(UserName="reader")
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=_READER)
        made = iam.create_access_key(UserName="reader")["AccessKey"]
        self.keys = {
            "access_key_id": made["AccessKeyId"],
            "secret_access_key": made["SecretAccessKey"],
        }
        self.check_credentials(True)

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name=REGION,
        )

    def _post(self, action: str, body: bytes) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/{action}", body, {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(request).close()


class OpenDoor:
    def __init__(self, server: S3Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        if self._server.locked:
            self._server.check_credentials(False)

    def __exit__(self, *_: object) -> None:
        if self._server.locked:
            self._server.check_credentials(True)


class StandIn(Origin):
    """Objects by name, with an ETag each; listed in order, `page` at a time."""

    namespace = ""

    def __init__(self, *, page: int = 1000) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.page = page
        self.refuse: Answer | None = None
        self.public = False
        self.pages = 0

    def put(self, name: str, data: bytes) -> None:
        self.objects[name] = data

    def delete(self, name: str) -> None:
        del self.objects[name]

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.refuse is not None:
            return await self._send(request, self.refuse)
        path, _, query = request.raw_path.partition("?")
        fields = dict(parse_qsl(query, keep_blank_values=True))
        answer = None if self.public else self.refusal(request, fields)
        start = f"{self.namespace}/photos"
        path = unquote(path)
        if answer is None and path.rstrip("/") == start:
            self.pages += 1
            answer = self.listing(fields)
        elif answer is None and path.startswith(f"{start}/"):
            answer = self.object(request, path[len(start) + 1 :])
        return await self._send(request, answer or error(404, "NoSuchBucket", "ContainerNotFound"))

    def refusal(self, request: web.BaseRequest, fields: dict[str, str]) -> Answer | None:
        raise NotImplementedError

    def listing(self, fields: dict[str, str]) -> Answer:
        raise NotImplementedError

    def object(self, request: web.BaseRequest, name: str) -> Answer:
        data = self.objects.get(name)
        if data is None:
            return error(404, "NoSuchKey", "BlobNotFound")
        tag = f'"{tag_of(data)}"'
        headers = {"ETag": tag, "Last-Modified": format_datetime(WHEN, usegmt=True)}
        if request.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers=headers)
        return Answer(data, headers=headers)

    def _page(self, fields: dict[str, str], after: str) -> tuple[list[str], list[str], str]:
        """Names, folders, and where the next page begins."""
        prefix, delimiter = fields.get("prefix", ""), fields.get("delimiter", "")
        names, folders = [], []
        for name in sorted(self.objects, key=str.encode):
            if not name.startswith(prefix) or name.encode() <= after.encode():
                continue
            if delimiter and delimiter in name[len(prefix) :]:
                folder = prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter
                if folder not in folders:
                    folders.append(folder)
            elif len(names) == self.page:
                return names, folders, names[-1]
            else:
                names.append(name)
        return names, folders, ""


WHEN = datetime(2026, 5, 1, 12, tzinfo=UTC)


def tag_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def error(status: int, *codes: str) -> Answer:
    """The first code is S3's and Google's, the second Azure's."""
    text = "".join(f"<Error><Code>{code}</Code><Message>no</Message></Error>" for code in codes[:1])
    return Answer(f'<?xml version="1.0"?>{text}'.encode(), status)


class GcsServer(StandIn):
    """Cloud Storage's XML API. Tokens are those that the service account of `key` signs itself."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self._key = rsa.generate_private_key(65537, 2048)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.key = json.dumps(
            {
                "type": "service_account",
                "client_email": "reader@project.iam.gserviceaccount.com",
                "private_key_id": "1",
                "private_key": pem.decode(),
            }
        )
        self.now = lambda: datetime.now(UTC).timestamp()

    def refusal(self, request: web.BaseRequest, fields: dict[str, str]) -> Answer | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return error(403, "AccessDenied")
        signed, _, signature = token.rpartition(".")
        head, claims = (json.loads(_unurl64(part)) for part in signed.split("."))
        try:
            self._key.public_key().verify(
                _unurl64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return error(401, "AuthenticationRequired")
        fresh = claims["iat"] - 60 <= self.now() < claims["exp"] <= claims["iat"] + 3600
        if not fresh or head["alg"] != "RS256" or "devstorage.read_only" not in claims["scope"]:
            return error(401, "AuthenticationRequired")
        return None

    def listing(self, fields: dict[str, str]) -> Answer:
        assert fields["list-type"] == "2"
        after = max(fields.get("continuation-token", ""), fields.get("start-after", ""))
        names, folders, next_page = self._page(fields, after)
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[name])}</Size>"
            f"<LastModified>{WHEN:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f'<ETag>"{tag_of(self.objects[name])}"</ETag></Contents>'
            for name in names
        )
        below = "".join(
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders
        )
        token = f"<NextContinuationToken>{escape(next_page)}</NextContinuationToken>"
        return Answer(
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{contents}{below}'
            f"{token if next_page else ''}</ListBucketResult>".encode()
        )


def _unurl64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class AzureServer(StandIn):
    """Blob Storage, in path style like Azurite. Takes the account key by Shared Key, or `sas`."""

    account = "account1"
    namespace = "/account1"
    sas = "sv=2024-11-04&sp=rl&sr=c&sig=a%2Bb%2Fc%3D"

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self._key = hashlib.sha512(b"key").digest()
        self.key = base64.b64encode(self._key).decode()

    def refusal(self, request: web.BaseRequest, fields: dict[str, str]) -> Answer | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if not scheme and "sig" in fields:
            good = all(fields.get(name) == value for name, value in parse_qsl(self.sas))
            return None if good else error(403, "AuthenticationFailed")
        if scheme != "SharedKey":
            return error(404, "ResourceNotFound")  # what Azure says of what is not public
        signature = hmac.digest(self._key, self._to_sign(request, fields).encode(), "sha256")
        wanted = f"{self.account}:{base64.b64encode(signature).decode()}"
        return None if hmac.compare_digest(given, wanted) else error(403, "AuthenticationFailed")

    def _to_sign(self, request: web.BaseRequest, fields: dict[str, str]) -> str:
        """https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key"""
        length = request.headers.get("Content-Length", "")
        standard = [request.headers.get(name, "") for name in _SIGNED]
        standard[2] = "" if length == "0" else length
        own = sorted(
            f"{name.lower()}:{value.strip()}"
            for name, value in request.headers.items()
            if name.lower().startswith("x-ms-")
        )
        path = request.raw_path.partition("?")[0]
        query = [f"{name.lower()}:{value}" for name, value in sorted(fields.items())]
        return "\n".join([request.method, *standard, *own, f"/{self.account}{path}", *query])

    def listing(self, fields: dict[str, str]) -> Answer:
        assert fields["comp"] == "list"
        names, folders, next_page = self._page(fields, fields.get("marker", ""))
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Last-Modified>{format_datetime(WHEN, usegmt=True)}</Last-Modified>"
            f"<Etag>{tag_of(self.objects[name])}</Etag><Content-Type>image/jpeg</Content-Type>"
            f"<Content-Length>{len(self.objects[name])}</Content-Length></Properties></Blob>"
            for name in names
        )
        below = "".join(f"<BlobPrefix><Name>{escape(each)}</Name></BlobPrefix>" for each in folders)
        return Answer(
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{blobs}{below}'
            f"</Blobs><NextMarker>{escape(next_page)}</NextMarker></EnumerationResults>".encode()
        )


_SIGNED = (
    "Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date",
    "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
)  # fmt: skip
