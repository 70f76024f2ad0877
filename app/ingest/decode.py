"""The decode pool: N disposable processes that turn untrusted bytes into pixels.

The parent trusts nothing that a child says: sizes are bounded, shapes are checked against the bytes
that came, and a child that breaks a rule is killed. Whatever a photo does to its child, the caller
gets PhotoRejected with a reason and the next photo gets a healthy child. Reasons: not-an-image,
truncated, damaged, unsupported-format, too-large, too-many-scans, decode-timeout, decode-memory,
decoder-died.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

import app
from app.core.errors import NotAnImage, Overloaded, PhotoRejected, TryAgain
from app.core.photos import Exif, Quality
from app.core.vectors import Pixels
from app.ingest.decode_wire import HEAD

_IMPORT_ROOT = str(Path(app.__file__).resolve().parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv.pop()); from app.ingest.decode_child import main; main()"
# All that a child knows. One thread, as more would only reserve address space, and so would an arena
# for libheif's. glibc keeps freed pixel buffers for the next photo instead of handing them back: 10
# to 20 % less CPU time a photo.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
_MAX_HEADER = 65_536
_STRUCTURE_BYTES = 48 * 48
_OF_NO_IMAGE = frozenset({"not-an-image", "truncated", "damaged"})


@dataclass(frozen=True, slots=True)
class DecodeSpec:
    """What to make of a photo. Pixels on the long side; `max_pixels` is width × height."""

    analysis_px: int = 1024
    thumb_px: int = 360
    max_pixels: int = 100_000_000
    max_scans: int = 100


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds of one child. `memory_bytes` is what decoding may take beyond the idle process (53 MB
    resident, shared libraries included), so that a child stays under 512 MB. The wall clock is far
    above the CPU time: it is there for a child that hangs, not for a busy machine."""

    memory_bytes: int = 458_000_000
    cpu_seconds: float = 5.0
    wall_seconds: float = 30.0
    start_seconds: float = 30.0
    recycle_after: int = 256


@dataclass(frozen=True, slots=True)
class Decoded:
    """Everything that is derived from one photo.

    `pixels`: upright sRGB, shape (h, w, 3), uint8, long side at most the spec's `analysis_px`.
    `width`, `height`: the upright original. `thumb`: WebP without metadata. `sha256`: hexadecimal,
    of the original bytes. `phash`: 64 bits, unsigned. `structure`: 48 × 48 grey pixels.
    `cpu_seconds`: what the child spent.
    """

    pixels: Pixels
    width: int
    height: int
    thumb: bytes
    exif: Exif
    sha256: str
    phash: int
    structure: bytes
    quality: Quality
    format: str
    cpu_seconds: float


@dataclass(slots=True)
class _Answer:
    header: dict[str, Any]
    pixels: bytearray
    encoded: bytes


class _ChildLost(Exception):
    """The socket closed, or the child broke the protocol."""


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    link: socket.socket
    served: int = 0

    async def exchange(
        self, spec: dict[str, Any], data: bytes, max_pixels: int, max_encoded: int
    ) -> _Answer:
        loop = asyncio.get_running_loop()
        header = json.dumps(spec).encode()
        try:
            await loop.sock_sendall(self.link, HEAD.pack(len(header), len(data), 0) + header)
            await loop.sock_sendall(self.link, data)
            return await self.receive(max_pixels, max_encoded)
        except OSError as error:
            raise _ChildLost from error

    async def receive(self, max_pixels: int, max_encoded: int) -> _Answer:
        sizes = HEAD.unpack(await self._exactly(HEAD.size))
        if any(
            size > most
            for size, most in zip(sizes, (_MAX_HEADER, max_pixels, max_encoded), strict=True)
        ):
            raise _ChildLost
        header = json.loads(await self._exactly(sizes[0]))
        if not isinstance(header, dict):
            raise _ChildLost
        pixels = await self._exactly(sizes[1])
        return _Answer(header, pixels, bytes(await self._exactly(sizes[2])))

    async def _exactly(self, size: int) -> bytearray:
        loop = asyncio.get_running_loop()
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            count = await loop.sock_recv_into(self.link, view)
            if not count:
                raise _ChildLost
            view = view[count:]
        return buffer

    def end(self) -> int:
        """Kills the child unless it is dead already, and returns its exit status."""
        self.link.close()
        self.process.kill()
        if self.process.stderr is not None:
            self.process.stderr.close()
        return self.process.wait()

    def end_by_itself(self) -> int:
        """The exit status of a child that closed its socket: it is dying, or else it is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        return self.end()

    def end_with_complaint(self) -> str:
        """What a child that never said hello wrote to stderr, its last line."""
        self.process.kill()
        self.process.wait()
        said = self.process.stderr.read(_MAX_HEADER) if self.process.stderr else b""
        self.end()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


class DecodePool:
    """At most `size` children, started when they are needed. An async context manager that belongs
    to one event loop. Beyond `max_waiting` callers in the queue it raises Overloaded."""

    def __init__(
        self,
        size: int = 2,
        *,
        limits: DecodeLimits | None = None,
        max_waiting: int | None = None,
    ) -> None:
        self.limits = limits or DecodeLimits()
        self.confinement: list[str] | None = None
        """What took hold in the child that was started last; None before the first."""
        self.started = 0
        """Children started so far."""
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._alive: list[_Child] = []
        self._waiting = 0
        self._max_waiting = max_waiting

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every child, also those at work."""
        ended, self._alive = self._alive, []
        self._idle.clear()
        for child in ended:
            await asyncio.to_thread(child.end)

    async def decode(self, data: bytes, spec: DecodeSpec | None = None) -> Decoded:
        """Raises PhotoRejected with a reason (see above), Overloaded, and TryAgain where a child
        could not be started or hung without using the processor."""
        spec = spec or DecodeSpec()
        most = (spec.analysis_px**2 * 3, spec.thumb_px**2 * 4 + 65_536)
        async with self._answered(asdict(spec) | {"task": "decode"}, data, most) as answer:
            return _decoded(answer, spec)

    async def render(
        self,
        data: bytes,
        max_px: int,
        format: Literal["jpeg", "webp"] = "jpeg",
        spec: DecodeSpec | None = None,
    ) -> bytes:
        """A preview of at most `max_px` on the long side, re-encoded, upright, sRGB and without
        metadata. Raises as `decode` does."""
        task = asdict(spec or DecodeSpec()) | {"task": "render", "max_px": max_px, "format": format}
        async with self._answered(task, data, (0, max_px**2 * 4 + 65_536)) as answer:
            return answer.encoded

    @asynccontextmanager
    async def _answered(
        self, task: dict[str, Any], data: bytes, most: tuple[int, int]
    ) -> AsyncIterator[_Answer]:
        """A child's answer. A child that died, hung, ran out of memory, met an error that its codecs
        don't know or gave a senseless answer is replaced; after a clean refusal it goes on, because
        starting one costs as much as decoding dozens of photos."""
        async with self._slot():
            child = self._idle.pop() if self._idle else await self._start()
            good = False
            try:
                async with asyncio.timeout(self.limits.wall_seconds):
                    answer = await child.exchange(task, data, *most)
                reason = answer.header.get("reason")
                good = not answer.header.get("spoiled")
                if reason is not None:
                    raise _refusal(answer.header)
                yield answer
            except _ChildLost as error:
                raise await self._verdict(child) from error
            except TimeoutError as error:
                raise TryAgain(
                    "decode-timeout",
                    f"Decoding did not end within {self.limits.wall_seconds:g} s.",
                    after=60.0,
                ) from error
            except (KeyError, ValueError, TypeError) as error:
                good = False
                raise PhotoRejected(
                    "decoder-died", "The decoder gave an answer that makes no sense."
                ) from error
            finally:
                child.served += 1
                await self._put_back(child, good)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._max_waiting is not None and self._waiting >= self._max_waiting:
            raise Overloaded("Too many pictures are waiting to be decoded.")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _put_back(self, child: _Child, good: bool) -> None:
        if good and child in self._alive and child.served < self.limits.recycle_after:
            self._idle.append(child)
        else:
            self._forget(child)
            # Not awaited to the end when the caller is cancelled: the thread finishes by itself.
            await asyncio.shield(asyncio.to_thread(child.end))

    def _forget(self, child: _Child) -> None:
        if child in self._alive:
            self._alive.remove(child)

    async def _verdict(self, child: _Child) -> PhotoRejected:
        self._forget(child)
        status = await asyncio.to_thread(child.end_by_itself)
        if status in (-signal.SIGPROF, -signal.SIGXCPU):
            return PhotoRejected(
                "decode-timeout",
                f"Decoding takes more than {self.limits.cpu_seconds:g} s of processor time.",
            )
        if status == -signal.SIGKILL:
            return PhotoRejected(
                "decode-memory", "The system ended the decoder, most likely for lack of memory."
            )
        return PhotoRejected("decoder-died", f"The decoder died of this picture (status {status}).")

    async def _start(self) -> _Child:
        try:
            child = await asyncio.to_thread(_spawn, self.limits)
        except OSError as error:
            raise TryAgain(
                "decoder-start", f"The decoder could not be started: {error}.", after=30.0
            ) from error
        self._alive.append(child)
        try:
            async with asyncio.timeout(self.limits.start_seconds):
                hello = await child.receive(0, 0)
        except (_ChildLost, TimeoutError, OSError, ValueError) as error:
            self._forget(child)
            complaint = await asyncio.to_thread(child.end_with_complaint)
            raise TryAgain(
                "decoder-start", f"The decoder could not be started. {complaint}", after=30.0
            ) from error
        except asyncio.CancelledError:
            self._forget(child)
            child.end()
            raise
        if child.process.stderr is not None:
            child.process.stderr.close()
        self.started += 1
        self.confinement = [str(name) for name in hello.header.get("confinement", [])]
        return child


def _spawn(limits: DecodeLimits) -> _Child:
    """Starts one child with one end of a socket pair, an empty environment and nothing else."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        told = {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": limits.cpu_seconds,
            "life_cpu_seconds": round(limits.cpu_seconds * (limits.recycle_after + 1) + 30),
        }
        try:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-B", "-c", _START),
                    *(str(theirs.fileno()), json.dumps(told), _IMPORT_ROOT),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return _Child(process, ours)


def _refusal(header: dict[str, Any]) -> PhotoRejected:
    reason, message = str(header["reason"])[:60], str(header.get("message", ""))[:500]
    cure = str(header.get("cure", ""))[:500]
    if reason in _OF_NO_IMAGE:
        return NotAnImage(message, reason=reason, cure=cure)
    return PhotoRejected(reason, message, cure=cure)


def _decoded(answer: _Answer, spec: DecodeSpec) -> Decoded:
    """Raises ValueError, KeyError or TypeError where the child's words don't fit its bytes."""
    header = answer.header
    height, width = (int(side) for side in header["shape"])
    if not (0 < height <= spec.analysis_px and 0 < width <= spec.analysis_px):
        raise ValueError("shape")
    exif = dict(header["exif"])
    if exif["taken_at"] is not None:
        exif["taken_at"] = datetime.fromisoformat(exif["taken_at"])
    digest = str(header["sha256"])
    if len(bytes.fromhex(digest)) != 32:
        raise ValueError("sha256")
    structure = base64.b64decode(header["structure"], validate=True)
    if len(structure) != _STRUCTURE_BYTES:
        raise ValueError("structure")
    return Decoded(
        pixels=np.frombuffer(answer.pixels, dtype=np.uint8).reshape(height, width, 3),
        width=int(header["width"]),
        height=int(header["height"]),
        thumb=answer.encoded,
        exif=Exif(**exif),
        sha256=digest,
        phash=int(header["phash"]) & 0xFFFF_FFFF_FFFF_FFFF,
        structure=structure,
        quality=Quality(**{name: float(value) for name, value in header["quality"].items()}),
        format=str(header["format"]),
        cpu_seconds=float(header["cpu_seconds"]),
    )
