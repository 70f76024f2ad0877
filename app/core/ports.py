"""Contracts between rooms. Implementations live in the rooms; composition roots join them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from app.core.faces import DetectedFace
from app.core.photos import BadEntry, Locator
from app.core.vectors import ModelInfo, Pixels, Vectors


@runtime_checkable
class PhotoStream(Protocol):
    """An opened original. Bytes are streamed; nothing is written to disk.

    `version` is the ETag or its equivalent; `size` the announced length in bytes, None if unknown.
    """

    version: str | None
    size: int | None

    def chunks(self) -> AsyncIterator[bytes]: ...


@runtime_checkable
class Source(Protocol):
    """Where photos live.

    `discover` yields each photo once, in the source's order; an entry that can't be tried is a
    `BadEntry`, never an exception. It raises BadInput where the source itself is wrong (no such
    folder, not a list) and SourceUnavailable where it can't be reached now.
    `revalidates` is true where discovery can't tell what changed (its locators have no version):
    photos are then asked for again with `unless`, which costs no body where nothing changed.
    `scales` is true where `open` may send a smaller rendition, whose version is its own.
    """

    kind: str
    revalidates: bool
    scales: bool

    def discover(self) -> AsyncIterator[Locator | BadEntry]: ...

    def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AbstractAsyncContextManager[PhotoStream]:
        """The photo's bytes.

        `unless`: a version that the caller holds already; NotModified is raised where it is still
        the current one (a source that can't tell just sends it). `long_side`: pixels that are
        enough; a source that makes sizes on demand may send a smaller rendition that has as many.
        Raises PhotoRejected where trying again would not help, TryAgain where it might.
        """
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    info: ModelInfo

    def encode_images(self, images: Sequence[Pixels]) -> Vectors:
        """n pictures of any sizes → (n, d) unit vectors."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    info: ModelInfo

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """n texts → (n, d) unit vectors in the space of the image encoder with the same model id."""
        ...


@runtime_checkable
class FaceEncoder(Protocol):
    info: ModelInfo

    def detect(self, images: Sequence[Pixels]) -> list[list[DetectedFace]]:
        """n pictures → for each the faces found, the largest first."""
        ...
