"""What an ingest process holds for its lifetime: connections, encoders, the decoders' pool.

Opened on first use inside Dramatiq's event loop, closed when the worker stops.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from sqlalchemy import Engine

from app.core.jobs import JobQueue
from app.core.ports import Source
from app.encoders import registry
from app.ingest.decode import DecodePool, DecodeSpec
from app.ingest.discovery import Discovery
from app.ingest.pipeline import Pipeline
from app.settings import Settings
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.open import source_for
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.progress import ProgressPublisher
from app.storage.vectors import model_number

log = logging.getLogger(__name__)


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
        self._fetcher: Fetcher | None = None
        self._pipeline: Pipeline | None = None

    async def discovery(self) -> Discovery:
        """Needs no encoder, so that a new source is read while the models still load."""
        settings = self._settings
        fetcher = await self._open_fetcher()
        image_model, _ = registry.profile_models(settings.encoders)

        def number() -> int:
            with session_scope(self._engine) as session:
                return model_number(session, image_model)

        return Discovery(
            engine=self._engine,
            jobs=self._jobs,
            progress=self._progress,
            open_source=lambda kind, uri: source_for(kind, uri, fetcher=fetcher),
            model=await asyncio.to_thread(number),
            chunk_size=settings.chunk_size,
        )

    async def pipeline(self) -> Pipeline:
        fetcher = await self._open_fetcher()
        async with self._opening_pipeline:
            if self._pipeline is None:
                self._pipeline = await self._open_pipeline(fetcher)
                log.info("ready: encoders loaded")
        return self._pipeline

    async def close(self) -> None:
        await self._stack.aclose()

    async def _open_fetcher(self) -> Fetcher:
        async with self._opening_fetcher:
            if self._fetcher is None:
                settings = self._settings
                policy = AddressPolicy(
                    allowed_cidrs=settings.allowed_cidrs, extra_ports=settings.extra_ports
                )
                limits = FetchLimits(
                    max_bytes=settings.max_photo_bytes,
                    concurrency=settings.fetch_concurrency,
                    per_host=settings.per_host_concurrency,
                )
                self._fetcher = await self._stack.enter_async_context(Fetcher(policy, limits))
        return self._fetcher

    async def _open_pipeline(self, fetcher: Fetcher) -> Pipeline:
        settings = self._settings
        decoder = await self._stack.enter_async_context(DecodePool(settings.decode_children))
        models = settings.home / "models"
        images = await asyncio.to_thread(registry.load_image_encoder, settings.encoders, models)
        faces = await asyncio.to_thread(registry.load_face_encoder, settings.encoders, models)

        def numbers() -> tuple[int, int]:
            with session_scope(self._engine) as session:
                return model_number(session, images.info), model_number(session, faces.info)

        image_model, face_model = await asyncio.to_thread(numbers)

        def open_source(kind: str, uri: str) -> Source:
            return source_for(kind, uri, fetcher=fetcher)

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
