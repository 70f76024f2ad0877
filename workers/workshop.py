"""What an ingest process holds for its lifetime: connections, encoders, the decoders' pool.

Opened on first use inside Dramatiq's event loop, closed when the worker stops.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from sqlalchemy import Engine

from app.core.errors import ClairError
from app.core.jobs import Job, JobQueue
from app.core.ports import Source
from app.encoders import registry
from app.ingest.decode import DecodePool, DecodeSpec
from app.ingest.discovery import Discovery
from app.ingest.nudges import nudge
from app.ingest.pipeline import Pipeline
from app.settings import Settings
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.open import SourceOpener
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.progress import ProgressPublisher
from app.storage.sealing import Sealer, secret_key
from app.storage.tables import Source as SourceRow
from app.storage.vectors import model_number

log = logging.getLogger(__name__)

DISCOVERIES_AT_ONCE = 8
"""Sources that one process reads at the same time; reading one is mostly waiting."""


class Workshop:
    """Makes the discovery and the pipeline once, whoever asks first."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Engine,
        jobs: JobQueue,
        progress: ProgressPublisher,
        blobs: BlobStore,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._jobs = jobs
        self._progress = progress
        self._blobs = blobs
        # Two locks: reading a source must not wait for the models to load.
        self._opening_fetcher = asyncio.Lock()
        self._opening_pipeline = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._opener: SourceOpener | None = None
        self._sealer = Sealer(secret_key(settings.home, settings.secret_key))
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._readers = asyncio.Semaphore(DISCOVERIES_AT_ONCE)
        self._pipeline: Pipeline | None = None

    @property
    def done(self) -> int:
        """Photos that this process has finished."""
        return self._pipeline.done if self._pipeline is not None else 0

    def begin_discovery(self, run_id: int) -> None:
        """Read a run's source beside everything else; returns at once."""
        if run_id not in self._reading:
            task = asyncio.create_task(self._discover(run_id))
            self._reading[run_id] = task
            task.add_done_callback(lambda _: self._reading.pop(run_id, None))

    def nudge_chunk(self) -> None:
        """Send one more ticket; the sweeper does where it gets lost."""
        nudge(self._jobs, Job.INGEST_CHUNK)

    async def _discover(self, run_id: int) -> None:
        try:
            async with self._readers:
                await (await self.discovery()).run(run_id)
        except ClairError as error:
            log.warning("run %s is left to the sweeper: %s", run_id, error)
        except Exception:
            log.exception("run %s: discovery failed", run_id)

    async def discovery(self) -> Discovery:
        """Needs no encoder, so that a new source is read while the models still load."""
        settings = self._settings
        opener = await self._open_opener()
        image_model, _ = registry.profile_models(settings.encoders)

        def number() -> int:
            with session_scope(self._engine) as session:
                return model_number(session, image_model)

        return Discovery(
            engine=self._engine,
            jobs=self._jobs,
            progress=self._progress,
            open_source=lambda source: opener(self._sealer.spec(source)),
            model=await asyncio.to_thread(number),
            chunk_size=settings.chunk_size,
        )

    async def pipeline(self) -> Pipeline:
        opener = await self._open_opener()
        async with self._opening_pipeline:
            if self._pipeline is None:
                self._pipeline = await self._open_pipeline(opener)
                log.info("ready: encoders loaded")
        return self._pipeline

    async def close(self) -> None:
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()  # gives its run back
        await asyncio.gather(*reading, return_exceptions=True)
        await self._stack.aclose()

    async def _open_opener(self) -> SourceOpener:
        async with self._opening_fetcher:
            if self._opener is None:
                settings = self._settings
                policy = AddressPolicy(
                    allowed_cidrs=settings.allowed_cidrs, extra_ports=settings.extra_ports
                )
                limits = FetchLimits(
                    max_bytes=settings.max_photo_bytes,
                    concurrency=settings.fetch_concurrency,
                    per_host=settings.per_host_concurrency,
                )
                fetcher = await self._stack.enter_async_context(Fetcher(policy, limits))
                tools = await self._stack.enter_async_context(
                    SourceTools(fetcher, instance_credentials=settings.instance_credentials)
                )
                self._opener = SourceOpener(tools)
        return self._opener

    async def _open_pipeline(self, opener: SourceOpener) -> Pipeline:
        settings = self._settings
        decoder = await self._stack.enter_async_context(DecodePool(settings.decode_children))
        models = settings.home / "models"
        images = await asyncio.to_thread(registry.load_image_encoder, settings.encoders, models)
        faces = await asyncio.to_thread(registry.load_face_encoder, settings.encoders, models)

        def numbers() -> tuple[int, int]:
            with session_scope(self._engine) as session:
                return model_number(session, images.info), model_number(session, faces.info)

        image_model, face_model = await asyncio.to_thread(numbers)

        def open_source(source: SourceRow) -> Source:
            return opener(self._sealer.spec(source))

        return Pipeline(
            engine=self._engine,
            jobs=self._jobs,
            progress=self._progress,
            blobs=self._blobs,
            open_source=open_source,
            decoder=decoder,
            spec=DecodeSpec(max_pixels=settings.max_megapixels * 1_000_000),
            images=images,
            faces=faces,
            image_model=image_model,
            face_model=face_model,
            chunk_size=settings.chunk_size,
            max_photo_bytes=settings.max_photo_bytes,
        )
