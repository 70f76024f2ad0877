"""The point cloud's wire format, version 1 (docs/web.md): 8 bytes a point, then the photo ids."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.errors import BadInput

MAGIC = b"CVPC"
VERSION = 1
POINT_BYTES = 8
NO_GROUP = 65535
_HEADER = struct.Struct("<4sHHII3f3fQ")


@dataclass(frozen=True, slots=True)
class PointCloud:
    """`ids` (n,) uint32 photo ids; `positions` (n, 3) float32; `groups` (n,) uint16."""

    ids: NDArray[np.uint32]
    positions: NDArray[np.float32]
    groups: NDArray[np.uint16]


def bounds(positions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimum and maximum corner, both (3,); zeros for no points."""
    if len(positions) == 0:
        return np.zeros(3, np.float32), np.zeros(3, np.float32)
    return positions.min(axis=0), positions.max(axis=0)


def encode_cloud(
    cloud: PointCloud,
    box: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> bytes:
    """The cloud as bytes, its points in Morton order, quantised within `box` (lowest and highest
    corner) or else their own bounds. Raises BadInput where an id needs > 32 bits.

    In one box a point keeps its quantised place whatever others come; all must be inside.
    """
    if len(cloud.ids) and int(cloud.ids.max()) > 0xFFFFFFFF:
        raise BadInput("Photo ids past 2³² don't fit the point cloud's version 1.")
    low, high = box if box is not None else bounds(cloud.positions)
    quantised = _quantised(cloud.positions, low, high)
    order = np.argsort(morton(quantised), kind="stable")
    points = np.empty((len(order), 4), "<u2")
    points[:, :3] = quantised[order]
    points[:, 3] = cloud.groups[order]
    ids_at = _HEADER.size + points.nbytes
    header = _HEADER.pack(MAGIC, VERSION, POINT_BYTES, len(order), ids_at, *low, *high, 0)
    return header + points.tobytes() + cloud.ids[order].astype("<u4").tobytes()


def decode_cloud(data: bytes) -> PointCloud:
    """Back from bytes; positions are off by at most half a step. Raises BadInput."""
    if len(data) < _HEADER.size:
        raise BadInput("This is not a point cloud: it is too short.")
    magic, version, stride, count, ids_at, *corners, _ = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or stride != POINT_BYTES:
        raise BadInput("This is not a point cloud of version 1.")
    if len(data) != ids_at + 4 * count or ids_at != _HEADER.size + POINT_BYTES * count:
        raise BadInput("This point cloud is cut off.")
    points = np.frombuffer(data, "<u2", count * 4, _HEADER.size).reshape(-1, 4)
    low, high = np.array(corners[:3], np.float32), np.array(corners[3:], np.float32)
    positions = low + points[:, :3].astype(np.float32) / 65535 * (high - low)
    return PointCloud(
        ids=np.frombuffer(data, "<u4", count, ids_at).astype(np.uint32),
        positions=positions.astype(np.float32),
        groups=points[:, 3].astype(np.uint16),
    )


def _quantised(
    positions: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.uint16]:
    span = np.where(high > low, high - low, 1.0)
    return np.asarray(np.rint((positions - low) / span * 65535), np.uint16)


def morton(points: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Interleaved bits of (n, 3) uint16 coordinates: (n,) uint64, so that near points stay near.

    Bit spreading after Morton (1966), by the magic-number method of Stocco & Schrack (1995).
    """
    spread = points.astype(np.uint64)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
    return np.asarray(
        spread[:, 0] | (spread[:, 1] << np.uint64(1)) | (spread[:, 2] << np.uint64(2)), np.uint64
    )
