"""How people write the address of a bucket, and which name a photo in it gets. Pure.

    s3://bucket/folder      gs://bucket/folder      az://account/container/folder
    https://ACCOUNT.blob.core.windows.net/container/folder

What follows the bucket is taken as it stands, spaces and all, and %20 is read as a space: both what
consoles copy and what ClairVision shows can be pasted. A literal per cent sign is %25. Photos are
named by the same address with their path percent-encoded, so that every name survives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from app.core.errors import BadInput, ForbiddenAddress
from app.sources.suffixes import LIST_SUFFIXES

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"\$root|\$web|[a-z0-9][a-z0-9-]{2,62}")
_BLOB_URL = re.compile(
    r"https?://(?P<host>(?P<account>[a-z0-9]{3,24})(?:-secondary)?"
    r"\.blob\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))(?P<rest>[/?].*)?",
    re.I | re.S,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAFE = "/!$&'()*+,;=:@-._~"


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A folder of a bucket. `base`: its address, without a slash at the end; every photo's address
    starts with it. `folder`: the path within the bucket, "" for all of it. `host`: where Azure
    serves the account."""

    base: str
    bucket: str
    folder: str
    account: str = ""
    host: str = ""

    def uri_of(self, path: str) -> str:
        """The address of an object, or folder, of this place by its path in the bucket."""
        relative = path[len(self.folder) :].lstrip("/") if self.folder else path
        return f"{self.base}/{quote(relative, safe=_SAFE)}"

    def path_of(self, uri: str) -> str:
        """The object's path in the bucket. Raises ForbiddenAddress outside this place."""
        start = f"{self.base}/"
        relative = unquote(uri[len(start) :], errors="replace")
        names = relative.split("/")
        if not uri.startswith(start) or not _are_names(names):
            raise ForbiddenAddress(f"{uri} does not lie in {self.base}.")
        return f"{self.folder}/{relative}" if self.folder else relative

    def sentence(self, what: str) -> str:
        below = f" under {self.folder}/" if self.folder else ""
        return f"All photos in the {what} {self.bucket}{below}."


def s3_place(uri: str) -> BucketPlace | None:
    """None where the text is no address of this kind. Raises BadInput where it is a wrong one."""
    return _in_bucket(uri, "s3")


def gcs_place(uri: str) -> BucketPlace | None:
    """As s3_place."""
    return _in_bucket(uri, "gs")


def azure_place(uri: str) -> BucketPlace | None:
    """As s3_place. A list of addresses that lies in a blob is none of it."""
    match = _BLOB_URL.fullmatch(uri)
    if match is not None:
        path, query, _ = (match["rest"] or "/").partition("?")
        if path.lower().endswith(tuple(LIST_SUFFIXES)):
            return None
        if query:
            raise BadInput(
                "The address of the container has a question mark.",
                cure="Give what follows it as the SAS token, and the address without it.",
            )
        host, account = match["host"].lower(), match["account"].lower()
        start, rest = f"https://{host}", path[1:]
    elif uri[:5].lower() == "az://":
        account, _, rest = uri[5:].partition("/")
        host, start = f"{account}.blob.core.windows.net", f"az://{account}"
    else:
        return None
    container, _, path = rest.partition("/")
    if not _ACCOUNT.fullmatch(account) or not _CONTAINER.fullmatch(container):
        raise BadInput(
            "The address does not name a storage account and a container.",
            cure="Write az://account/container/folder.",
        )
    folder = _folder(path)
    return BucketPlace(_base(f"{start}/{container}", folder), container, folder, account, host)


def _in_bucket(uri: str, scheme: str) -> BucketPlace | None:
    if uri[: len(scheme) + 3].lower() != f"{scheme}://":
        return None
    bucket, _, path = uri[len(scheme) + 3 :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise BadInput(
            "The address does not name a bucket.", cure=f"Write {scheme}://bucket/folder."
        )
    folder = _folder(path)
    return BucketPlace(_base(f"{scheme}://{bucket}", folder), bucket, folder)


def _folder(path: str) -> str:
    try:
        folder = unquote(path, errors="strict").strip("/")
        folder.encode()
    except UnicodeError as error:
        raise BadInput("The folder's name is not UTF-8.") from error
    if folder and not _are_names(folder.split("/")):
        raise BadInput(
            "The folder's path holds an empty name, a dot alone, or a control character.",
            cure="Give a folder above it.",
        )
    return folder


def _are_names(names: list[str]) -> bool:
    """Whether obstore can tell an object by this path: it refuses all others."""
    return not any(name in ("", ".", "..") or _CONTROL.search(name) for name in names)


def _base(start: str, folder: str) -> str:
    return f"{start}/{quote(folder, safe=_SAFE)}" if folder else start
