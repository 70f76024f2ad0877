"""Writes cloud-v1.bin and cloud-v1.json from docs/web.md's words alone, without the product's code.

    python tests/golden/make_cloud_v1.py

Run it only when the format gets a new version: the files are the contract between the Python
encoder and the TypeScript decoder. Points are in Morton order (bit 0 of x, then of y, then of z).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

FOLDER = Path(__file__).parent
MINIMUM = (-1.5, 0.0, 2.0)
MAXIMUM = (2.5, 8.0, 2.25)
NO_CLUSTER = 65535
# x, y, z as the file stores them, cluster, photo id; both corners occur, so bounds can be recomputed
POINTS = [
    (0, 0, 0, 0, 7),
    (65535, 65535, 65535, 3, 4294967295),
    (1, 0, 0, NO_CLUSTER, 12),
    (0, 1, 0, 1, 1),
    (0, 0, 1, 1, 900001),
    (32768, 16384, 49152, 65534, 42),
    (12345, 54321, 777, 2, 65536),
    (40000, 40000, 39999, NO_CLUSTER, 3),
]


def morton(x: int, y: int, z: int) -> int:
    """The bits of three 16-bit numbers, interleaved."""
    return sum(
        ((x >> bit & 1) << 3 * bit)
        | ((y >> bit & 1) << 3 * bit + 1)
        | ((z >> bit & 1) << 3 * bit + 2)
        for bit in range(16)
    )


def main() -> None:
    points = sorted(POINTS, key=lambda point: morton(*point[:3]))
    count = len(points)
    ids_offset = 48 + 8 * count
    header = struct.pack("<4sHHII3f3fQ", b"CVPC", 1, 8, count, ids_offset, *MINIMUM, *MAXIMUM, 0)
    body = b"".join(struct.pack("<4H", *point[:4]) for point in points)
    ids = struct.pack(f"<{count}I", *(point[4] for point in points))
    (FOLDER / "cloud-v1.bin").write_bytes(header + body + ids)
    expected = {
        "version": 1,
        "count": count,
        "min": MINIMUM,
        "max": MAXIMUM,
        "points": [
            {
                "position": [
                    low + unit / 65535 * (high - low)
                    for unit, low, high in zip(point[:3], MINIMUM, MAXIMUM, strict=True)
                ],
                "quantised": point[:3],
                "cluster": None if point[3] == NO_CLUSTER else point[3],
                "id": point[4],
            }
            for point in points
        ],
    }
    (FOLDER / "cloud-v1.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
