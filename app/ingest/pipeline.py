"""A chunk of photos: claim, fetch, decode, embed, store. Originals exist only in memory here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from app.core.errors import (
    ClairError,
    DiskFull,
    NotModified,
    PhotoRejected,
    ServiceDown,
    TryAgain,
)
from app.core.faces import DetectedFace
from app.core.jobs import Job, JobQueue
from app.core.ports import FaceEncoder, ImageEncoder, Source
from app.core.vectors import Pixels
from app.ingest import ledger, runs
from app.ingest.decode import Decoded, DecodePool, DecodeSpec
from app.ingest.ledger import Claim
from app.ingest.nudges import nudge
from app.ingest.store import FinishedPhoto, store_finished
from app.sources.memory import MemoryBudget, read_photo
from app.storage.blobs import BlobStore, thumb_key
from app.storage.engine import session_scope
from app.storage.progress import ProgressPublisher
from app.storage.tables import Source as SourceRow

log = logging.getLogger(__name__)

ORIGINALS_IN_MEMORY = 192_000_000
"""Bytes of originals that a worker process holds at once, whatever the queue."""
RENEW_EVERY = ledger.LEASE_SECONDS / 4
TRY_AGAIN_SECONDS = 0.5
LINGER_SECONDS = 0.5
"""How long a photo that has arrived waits for others of its chunk, to be embedded with them."""
LOOK_SECONDS = 1.0
"""Between two looks at whether the chunk's run was paused or cancelled meanwhile."""

PATIENCE_SECONDS = 60.0
"""How long a worker waits for PostgreSQL to come back, asking again and again."""

PHOTOS_A_CORE = 8
"""Photos in the models at once, for each core. More keep no core busier, and three chunks on two cores
took 5 % more processor time than one: the networks push each other out of the caches."""

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class _Fetched:
    claim: Claim
    decoded: Decoded
    size: int
    version: str | None


@dataclass
class Pipeline:
    """Everything that indexing needs, held once a worker process.

    `image_model` and `face_model` are the partitions of the two encoders' vectors.
    """

    engine: Engine
    jobs: JobQueue
    progress: ProgressPublisher
    blobs: BlobStore
    open_source: Callable[[SourceRow], Source]
    decoder: DecodePool
    spec: DecodeSpec
    images: ImageEncoder
    faces: FaceEncoder
    image_model: int
    face_model: int
    chunk_size: int
    max_photo_bytes: int
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(ORIGINALS_IN_MEMORY))
    done: int = 0
    """Photos that this process has finished, well or not."""

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(max(1, _cores() * PHOTOS_A_CORE // self.chunk_size))

    async def run(self) -> int:
        """Index the next chunk of photos, of whichever event's turn it is. Returns how many."""
        # An outage would otherwise use up every message of the queue within a second.
        claims = await self._patiently(self._claim)
        if claims:
            await self._work(claims)
        return len(claims)

    def _claim(self) -> list[Claim]:
        with session_scope(self.engine) as session:
            return ledger.claim_next(session, self.chunk_size, self.image_model)

    async def _work(self, claims: list[Claim]) -> None:
        async with self._leases_kept(claims), self._watched(claims) as halted:
            try:
                async with aclosing(self._as_they_come(claims, halted)) as batches:
                    async for fetched in batches:
                        await asyncio.to_thread(self._mark_fetched, fetched)
                        async with self._turns:
                            if halted.is_set():  # while it waited for its turn
                                break
                            finished = await asyncio.to_thread(self._embed, fetched)
                        await asyncio.to_thread(self._store, finished)
                        self._tell(photo.claim for photo in fetched)
                if halted.is_set():  # what is not finished goes back, its attempt not counted
                    await asyncio.to_thread(self._release, claims)
            except asyncio.CancelledError:  # the worker stops
                await asyncio.shield(asyncio.to_thread(self._release, claims))
                raise
            except ClairError as error:
                # Not the photos' fault: they go back untouched, and the sweeper brings them again.
                log.warning("chunk given back: %s", error)
                # A lease that ran out instead would be counted as a death of its worker.
                await self._patiently(partial(self._release, claims))
                raise
        await asyncio.to_thread(self._after, claims)

    async def _as_they_come(
        self, claims: Sequence[Claim], halted: asyncio.Event
    ) -> AsyncGenerator[list[_Fetched]]:
        """Photos in batches as the origin sends them, so that a slow one shows its first photos
        soon; a fast one's chunk comes whole. Ends early where the run is halted."""
        waiting = {asyncio.create_task(self._fetch(claim)) for claim in claims}
        halt = asyncio.create_task(halted.wait())
        try:
            while waiting:
                await asyncio.wait({*waiting, halt}, return_when=asyncio.FIRST_COMPLETED)
                if halted.is_set():
                    return
                done, waiting = await asyncio.wait(waiting, timeout=LINGER_SECONDS)
                batch = [photo for task in done if (photo := task.result()) is not None]
                if batch:
                    yield sorted(batch, key=lambda photo: photo.claim.photo_id)
        finally:
            for task in (*waiting, halt):
                task.cancel()
            await asyncio.gather(*waiting, halt, return_exceptions=True)

    @asynccontextmanager
    async def _watched(self, claims: Sequence[Claim]) -> AsyncIterator[asyncio.Event]:
        """Set as soon as somebody has paused or cancelled the run of these photos."""
        halted = asyncio.Event()

        async def watch() -> None:
            while not halted.is_set():
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    if await asyncio.to_thread(self._is_halted, claims):
                        halted.set()
                except ClairError:
                    log.info("whether the run goes on can't be seen now; trying again")

        watcher = asyncio.create_task(watch())
        try:
            yield halted
        finally:
            watcher.cancel()

    def _is_halted(self, claims: Sequence[Claim]) -> bool:
        with session_scope(self.engine) as session:
            return runs.are_halted(session, {c.run_id for c in claims if c.run_id is not None})

    @asynccontextmanager
    async def _leases_kept(self, claims: Sequence[Claim]) -> AsyncIterator[None]:
        async def keep() -> None:
            pause = RENEW_EVERY
            while True:
                await asyncio.sleep(pause)
                try:
                    await asyncio.to_thread(self._renew, claims)
                    pause = RENEW_EVERY
                except ClairError:
                    log.warning("leases could not be renewed; trying again")
                    pause = TRY_AGAIN_SECONDS

        keeper = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeper.cancel()

    def _renew(self, claims: Sequence[Claim]) -> None:
        with session_scope(self.engine) as session:
            ledger.renew(session, claims)

    async def _fetch(self, claim: Claim) -> _Fetched | None:
        """Stream and decode one photo; its failure is recorded and gives None."""
        try:
            source = self.open_source(claim.source)
            async with AsyncExitStack() as room:
                async with source.open(
                    claim.locator, unless=claim.held_version, long_side=self.spec.analysis_px
                ) as stream:
                    await room.enter_async_context(self.memory.hold(stream.size))
                    data = await read_photo(stream, self.max_photo_bytes)
                    version = stream.version
                # The host's slot is free again: a photo that waits to be decoded needs none.
                if claim.held_sha256 == await self._digest(claim, data):
                    raise NotModified(version)
                decoded = await self.decoder.decode(data, self.spec)
            return _Fetched(claim, decoded, len(data), version or claim.locator.version)
        except NotModified as unchanged:
            await asyncio.to_thread(self._unchanged, claim, unchanged.version)
        except (ServiceDown, DiskFull):
            raise
        except ClairError as error:
            await asyncio.to_thread(self._fail, claim, error)
        except Exception:
            log.exception("photo %s: fetching failed unexpectedly", claim.photo_id)
            await asyncio.to_thread(self._fail, claim, _internal())
        return None

    async def _digest(self, claim: Claim, data: bytes) -> bytes:
        """SHA-256, only where there is one to compare it with; the decoder makes it otherwise."""
        if claim.held_sha256 is None:
            return b""
        return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())

    def _unchanged(self, claim: Claim, version: str | None) -> None:
        with session_scope(self.engine) as session:
            ledger.mark_unchanged(session, claim, version)

    def _fail(self, claim: Claim, error: ClairError) -> None:
        with session_scope(self.engine) as session:
            wait = ledger.record_failure(session, claim, error)
        if wait is not None:
            nudge(self.jobs, Job.INGEST_CHUNK, delay=wait + 0.1)
        elif not isinstance(error, PhotoRejected | TryAgain):
            log.error("photo %s: %s", claim.photo_id, error)

    def _mark_fetched(self, fetched: Sequence[_Fetched]) -> None:
        with session_scope(self.engine) as session:
            ledger.mark_fetched(
                session, [photo.claim for photo in fetched], [photo.size for photo in fetched]
            )
        self._tell(photo.claim for photo in fetched)

    def _tell(self, claims: Iterable[Claim]) -> None:
        for event_id in {claim.event_id for claim in claims}:
            self.progress.publish(event_id)

    def _embed(self, fetched: list[_Fetched]) -> list[FinishedPhoto]:
        """Vectors and faces of the chunk in one batch; one by one where the batch fails."""
        try:
            vectors, faces = self._encode(fetched)
        except ClairError:
            raise
        except Exception:
            if len(fetched) == 1:
                log.exception("photo %s: encoding failed", fetched[0].claim.photo_id)
                self._fail(fetched[0].claim, _internal())
                return []
            log.warning("a batch could not be encoded; trying its photos one by one")
            return [done for photo in fetched for done in self._embed([photo])]
        return [
            FinishedPhoto(photo.claim, photo.decoded, photo.size, photo.version, vector, found)
            for photo, vector, found in zip(fetched, vectors, faces, strict=True)
        ]

    def _encode(
        self, fetched: Sequence[_Fetched]
    ) -> tuple[NDArray[np.float32], list[list[DetectedFace] | None]]:
        pixels: list[Pixels] = [photo.decoded.pixels for photo in fetched]
        vectors = self.images.encode_images(pixels)
        wanted = [i for i, photo in enumerate(fetched) if photo.claim.wants_faces]
        faces: list[list[DetectedFace] | None] = [None] * len(fetched)
        if wanted:
            found = self.faces.detect([pixels[i] for i in wanted])
            for i, detected in zip(wanted, found, strict=True):
                faces[i] = detected
        return vectors, faces

    def _store(self, finished: Sequence[FinishedPhoto]) -> None:
        if not finished:
            return
        for photo in finished:
            self.blobs.put(thumb_key(photo.thumb), photo.decoded.thumb)
        try:
            with session_scope(self.engine) as session:
                store_finished(
                    session, finished, image_model=self.image_model, face_model=self.face_model
                )
        except ClairError:
            raise
        except Exception:
            if len(finished) == 1:
                log.exception("photo %s: storing failed", finished[0].claim.photo_id)
                self._fail(finished[0].claim, _internal())
                return
            log.warning("a chunk could not be stored; trying its photos one by one")
            for photo in finished:
                self._store([photo])

    async def _patiently(self, step: Callable[[], _Made]) -> _Made:
        """Do a step in a thread, as soon as PostgreSQL takes it. Raises ServiceDown, DiskFull."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(step)
            except (ServiceDown, DiskFull):
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    def _release(self, claims: Sequence[Claim]) -> None:
        with session_scope(self.engine) as session:
            ledger.release(session, claims)

    def _after(self, claims: Sequence[Claim]) -> None:
        """Tell the pages, and settle runs whose last photo this was."""
        self.done += len(claims)
        graphs = []
        with session_scope(self.engine) as session:
            for run_id in sorted({claim.run_id for claim in claims if claim.run_id is not None}):
                if (graph := runs.settle(session, run_id)) is not None:
                    graphs.append(graph.id)
        self._tell(claims)
        for run_id in graphs:
            nudge(self.jobs, Job.BUILD_STAGE, run_id)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _internal() -> ClairError:
    return ClairError("An unexpected fault; the worker's log has the details.")
