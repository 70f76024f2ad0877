"""Blobs: thumbnails and point clouds, through obstore, so that a folder and a bucket are one thing.

Never originals.
"""

from __future__ import annotations

from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from app.core.errors import DiskFull, ServiceDown


class BlobStore:
    """Small immutable objects under keys like `thumb/ab/abcdef.webp`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def in_folder(cls, folder: Path) -> BlobStore:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(prefix=folder, mkdir=True))

    @classmethod
    def at_url(cls, url: str) -> BlobStore:
        """`s3://…`, `gs://…`, `az://…` or `file://…`; credentials come from the environment."""
        return cls(from_url(url))

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
            raise ServiceDown("The blob store can't be written.") from error

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyError where there is none, ServiceDown on any other fault."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise KeyError(key) from error
        except (BaseError, OSError) as error:
            raise ServiceDown("The blob store can't be read.") from error

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        try:
            obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise ServiceDown("The blob store can't be written.") from error


def thumb_key(thumb: str) -> str:
    """Key of a thumbnail by its content hash (hex)."""
    return f"thumb/{thumb[:2]}/{thumb}.webp"


def cloud_key(version: str) -> str:
    """Key of a point cloud by its content hash (hex)."""
    return f"cloud/{version}.bin"
