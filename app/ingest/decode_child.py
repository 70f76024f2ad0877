"""The disposable process that decodes untrusted pictures. Started by decode.py, never imported.

It inherits one socket and an empty environment, warms its decoders up, shuts every other door and
then answers requests until the socket closes, which is also how it notices that its parent died.
Only this process loads the picture libraries that the formats need.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import socket
import sys
import time
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from app.core.errors import PhotoRejected
from app.ingest import colour, decode_confine, derive
from app.ingest.decode_wire import Blocks, receive, send
from app.ingest.exif import parse_exif

# 64 × 64 pixels of one grey, by pillow_heif.
_HEIC = (
    "c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufzc{AwIq=N0u(b+a*CjAhJwuG5(YG&l$n#C3}U!AFfalk5HQ9;"
    "XdvJPV&%-tyfiQmBq|Ezq%uKy8D+_aASPcyW=Sqw$*#<Tq5>d2C$k_qA4nGgl{quAZ~&R}e}ELpePH<W=Le9<"
    "&zu0%A@0D)!}$L{NC7ig1v5~|E+&UWpq!c$BO|KBfhHEQ=#?tVc5YAr3NV8R2E`<xQg#={gGC#Z9Do*xWEK~s"
    "LcQPs#XvV!WP+Uta)?-FK`tzefZk?qWMT$+E;l6+6hfRDjO#cIK6Q)z002?$Ktl"
)


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
    send(link, {"confinement": held}, (b"", b""))
    while (request := receive(link)) is not None:
        # Ends the process when this one picture used up its CPU time; libraries can't hold it off.
        signal.setitimer(signal.ITIMER_PROF, limits["cpu_seconds"])
        before = time.process_time()
        header, blocks = _answer(*request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        header["cpu_seconds"] = time.process_time() - before
        send(link, header, blocks)
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
        "structure": base64.b64encode(derive.structure_of(luma)).decode(),
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
    """Runs every codec once, so that nothing has to be loaded from disk when the doors are shut.

    LibRaw loads nothing later; HEIC takes a picture, as nothing here writes one."""
    picture = Image.effect_noise((48, 32), 40).convert("RGB")
    samples = [zlib.decompress(base64.b85decode(_HEIC))]
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"):
        buffer = io.BytesIO()
        picture.save(buffer, name)
        samples.append(buffer.getvalue())
    for sample in samples:
        parse_exif(*derive.open_upright(sample, 16).tags)
    colour.to_rgb(picture, None, (9, 16))
    luma = derive.luma_of(picture)
    derive.quality_of(luma)
    derive.perceptual_hash(luma)
    derive.structure_of(luma)
    derive.thumbnail(picture, 16)
    colour.lab_to_rgb(Image.new("LAB", (4, 4)))


if __name__ == "__main__":
    main()
