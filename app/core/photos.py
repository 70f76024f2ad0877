"""Photos on their way from a remote address to an indexed row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PhotoState(StrEnum):
    """Where a photo stands in the ledger.

    pending → working → indexed, or → retry (a passing fault, tried again at `retry_at`),
    or → rejected (with a reason; only a human's retry or a rescan brings it back to pending).
    rejected → ignored where a human says that it doesn't matter; pending → cancelled with its run.
    """

    PENDING = "pending"
    WORKING = "working"
    RETRY = "retry"
    INDEXED = "indexed"
    REJECTED = "rejected"
    IGNORED = "ignored"
    CANCELLED = "cancelled"


OPEN_STATES = (PhotoState.PENDING, PhotoState.WORKING, PhotoState.RETRY)


@dataclass(frozen=True, slots=True)
class Locator:
    """Where one photo lives.

    `key` identifies it within an event for ever; `uri` is what is fetched and shown to people.
    The rest is what the source already knows, None where it doesn't. `version` changes when the
    content does (an ETag, or size and modification time of a file). `width` and `height` are the
    original's pixels where the source states them and may send a smaller rendition.
    """

    key: str
    uri: str
    title: str | None = None
    taken_at: datetime | None = None
    photographer: str | None = None
    version: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry of a source that can't even be tried: kept in the ledger with its reason.

    `hides` where it is a folder or page: photos may lie behind it, so that none which is not found
    in this scan can be called gone.
    """

    key: str
    uri: str
    reason: str
    message: str
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Exif:
    """What the camera wrote. `taken_at` is aware only if the camera recorded an offset."""

    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    exposure_time: float | None = None  # seconds
    f_number: float | None = None
    iso: int | None = None
    focal_length: float | None = None  # millimetres
    latitude: float | None = None  # degrees, WGS 84
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """Technical quality, measured on the scaled decode.

    `sharpness`: variance of the Laplacian of the luma at 512 px long side (Pech-Pacheco et al.,
    2000), unbounded, higher is sharper. `exposure`: mean luma in [0, 1]. `clipped`: share of
    pixels at either end of the luma range.
    """

    sharpness: float
    exposure: float
    clipped: float
