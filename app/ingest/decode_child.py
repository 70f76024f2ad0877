"""The disposable process that decodes untrusted pictures. Started by decode.py, never imported.

It inherits one socket and an empty environment, warms its decoders up, shuts every other door and
then answers requests until the socket closes, which is also how it notices that its parent died.

Wire format, both ways over a stream socket: u32 length of a JSON header, u32 length of a first and
u32 of a second block (big-endian), the header, the blocks. A request's first block is the photo; an
answer's blocks are the pixels and the encoded picture.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from app.core.errors import PhotoRejected
from app.ingest import decode_confine, derive
from app.ingest.exif import parse_exif

HEAD = struct.Struct(">III")
Blocks = tuple[bytes | memoryview, bytes]


def main() -> None:
    """Arguments: the socket's descriptor and the limits as JSON."""
    descriptor, limits = int(sys.argv[1]), json.loads(sys.argv[2])
    link = socket.socket(fileno=descriptor)
    link.setblocking(True)
    _warm_up()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    os.close(quiet)
    held = decode_confine.shut(
        memory_bytes=limits["memory_bytes"],
        cpu_seconds=limits["life_cpu_seconds"],
        files=descriptor + 1,
    )
    _send(link, {"confinement": held}, (b"", b""))
    while (request := _receive(link)) is not None:
        # Ends the process when this one picture used up its CPU time; libraries can't hold it off.
        signal.setitimer(signal.ITIMER_PROF, limits["cpu_seconds"])
        before = time.process_time()
        header, blocks = _answer(*request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        header["cpu_seconds"] = time.process_time() - before
        _send(link, header, blocks)
        if header.get("spoiled"):
            return
        del request, blocks


def _answer(spec: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Blocks]:
    refused: dict[str, Any]
    try:
        return _render(spec, data) if spec["task"] == "render" else _decode(spec, data)
    except PhotoRejected as error:
        refused = {"reason": error.reason, "message": error.message, "cure": error.cure}
    except MemoryError:
        refused = {
            "reason": "decode-memory",
            "message": "Decoding the picture takes more memory than one picture may use.",
            "spoiled": True,
        }
    except Exception as error:  # noqa: BLE001 – the parent has to hear of whatever happened
        refused = {
            "reason": "damaged",
            "message": f"The picture can't be decoded ({type(error).__name__}).",
            "spoiled": True,
        }
    return refused, (b"", b"")


def _decode(spec: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Blocks]:
    found = derive.open_upright(
        data, spec["analysis_px"], max_pixels=spec["max_pixels"], max_scans=spec["max_scans"]
    )
    pixels = np.ascontiguousarray(derive.pixels_of(found.image))
    half = derive.halved(found.image)
    luma = derive.luma_of(half)
    exif = asdict(parse_exif(*found.tags))
    taken_at = exif["taken_at"]
    header = {
        "shape": pixels.shape[:2],
        "width": found.width,
        "height": found.height,
        "format": found.format,
        "sha256": hashlib.sha256(data).hexdigest(),
        "phash": derive.perceptual_hash(luma),
        "quality": asdict(derive.quality_of(luma)),
        "exif": exif | {"taken_at": taken_at and taken_at.isoformat()},
    }
    thumb = derive.thumbnail(
        half if spec["thumb_px"] <= max(half.size) else found.image, spec["thumb_px"]
    )
    return header, (pixels.data.cast("B"), thumb)


def _render(spec: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Blocks]:
    found = derive.open_upright(
        data,
        spec["max_px"],
        max_pixels=spec["max_pixels"],
        max_scans=spec["max_scans"],
        resample=Image.Resampling.LANCZOS,
    )
    return {}, (b"", derive.encode(found.image, spec["format"]))


def _warm_up() -> None:
    """Runs every codec once, so that nothing has to be loaded from disk when the doors are shut."""
    picture = Image.effect_noise((48, 32), 40).convert("RGB")
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"):
        buffer = io.BytesIO()
        picture.save(buffer, name)
        found = derive.open_upright(buffer.getvalue(), 16)
        parse_exif(*found.tags)
    luma = derive.luma_of(picture)
    derive.quality_of(luma)
    derive.perceptual_hash(luma)
    derive.thumbnail(picture, 16)
    derive.lab_to_rgb(Image.new("LAB", (4, 4)))


def _receive(link: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    head = _exactly(link, HEAD.size)
    if head is None:
        return None
    header_size, data_size, _ = HEAD.unpack(head)
    header, data = _exactly(link, header_size), _exactly(link, data_size)
    if header is None or data is None:
        return None
    return json.loads(header), bytes(data)


def _exactly(link: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = link.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return buffer


def _send(link: socket.socket, header: dict[str, Any], blocks: Blocks) -> None:
    encoded = json.dumps(header).encode()
    link.sendall(HEAD.pack(len(encoded), len(blocks[0]), len(blocks[1])) + encoded)
    for block in blocks:
        link.sendall(block)


if __name__ == "__main__":
    main()
