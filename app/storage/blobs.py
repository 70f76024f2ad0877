"""Blobs: thumbnails and point clouds, through obstore, so that a folder and a bucket are one thing.

Never originals.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from app.core.errors import BadInput, DiskFull, HomeUnusable, ServiceDown

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_CURE = "Check CLAIR_BLOBS_URL, the cloud's credentials in the environment, and the disk or bucket."

# A worker that is cut off must not wait for minutes: its photos are another's by then.
_CLIENT: ClientConfig = {
    "allow_http": True,  # only an endpoint that the operator wrote so uses it
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=30),
}
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


class BlobStore:
    """Small immutable objects under keys like `thumb/ab/abcdef.webp`."""

    def __init__(self, store: ObjectStore, place: str = "A place in memory") -> None:
        """`place` names it to its operator."""
        self._store = store
        self.place = place

    @classmethod
    def in_folder(cls, folder: Path) -> BlobStore:
        """Makes the folder where it is missing. Raises HomeUnusable."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeUnusable(
                f"The folder {folder} can't be used for blobs: {error.strerror}.",
                cure="Choose another with CLAIR_BLOBS_URL, --home or CLAIR_HOME.",
            ) from error
        return cls(LocalStore(prefix=folder, mkdir=True), str(folder))

    @classmethod
    def at_url(cls, url: str) -> BlobStore:
        """`s3://…`, `gs://…`, `az://…` or `file://…`; credentials come from the environment.

        Raises BadInput or HomeUnusable for an address that can't be used.
        """
        parts = urlsplit(url)
        try:
            if parts.scheme == "file":
                if parts.netloc or not parts.path.startswith("/"):
                    raise _unusable(url, "a folder is written file:///folder")
                return cls.in_folder(Path(unquote(parts.path)))
            return cls(from_url(url, client_options=_CLIENT, retry_config=_RETRIES), url)
        except BaseError as error:
            # The first line alone: the others are the library's internals.
            raise _unusable(url, str(error).strip().splitlines()[0]) from error

    def put(self, key: str, data: bytes) -> None:
        """Write an object whole, or not at all. Raises DiskFull or ServiceDown."""
        try:
            obstore.put(self._store, key, data)
        except (BaseError, OSError) as error:
            if "No space left" in str(error) or "Disk quota" in str(error):
                raise DiskFull(
                    "There is no disk space left for thumbnails.",
                    cure="Free some space; the run goes on by itself.",
                ) from error
            raise ServiceDown("The blob store can't be written.", cure=_CURE) from error

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyError where there is none, ServiceDown on any other fault."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise KeyError(key) from error
        except (BaseError, OSError) as error:
            raise ServiceDown("The blob store can't be read.", cure=_CURE) from error

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        try:
            obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise ServiceDown("The blob store can't be written.", cure=_CURE) from error


def open_blobs(home: Path, url: str | None) -> BlobStore:
    """The installation's blobs: at `url` where one is configured, else in the home folder.

    Raises BadInput, HomeUnusable.
    """
    return BlobStore.at_url(url) if url else BlobStore.in_folder(home / "blobs")


def _unusable(url: str, why: str) -> BadInput:
    return BadInput(
        f"The blob store “{url}” can't be opened: {why}.",
        cure="CLAIR_BLOBS_URL is s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "file:///folder, with the credentials in the cloud's usual variables.",
    )


def thumb_key(thumb: str) -> str:
    """Key of a thumbnail by its content hash (hex)."""
    return f"thumb/{thumb[:2]}/{thumb}.webp"


def cloud_key(version: str) -> str:
    """Key of a point cloud by its content hash (hex)."""
    return f"cloud/{version}.bin"
