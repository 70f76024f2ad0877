"""Composition root of the web process: everything is made here and handed on.

    uvicorn --factory app.main:app_from_environment

The decoder's children apart, the process holds no model: torch, ONNX Runtime, numba, UMAP and FAISS
are never imported here, which tests/web/test_imports.py checks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio.to_thread
import redis
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

import app
from app.core.errors import BadInput, DiskFull, ServiceDown
from app.curate.service import CurateService
from app.deliver.preview import Previews
from app.encoders.registry import profile_models
from app.ingest.decode import DecodePool, DecodeSpec
from app.ingest.health import note_health
from app.ingest.service import IngestService
from app.operate.joining import join
from app.settings import Settings
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.open import SourceOpener
from app.storage.blobs import open_blobs
from app.storage.cache import RedisCache
from app.storage.engine import make_engine, session_scope
from app.storage.progress import ProgressPublisher
from app.storage.queue import RedisJobQueue
from app.storage.sealing import Sealer, secret_key
from app.web.access_log import AccessLog
from app.web.account_pages import AccountPages
from app.web.api import Api
from app.web.assets import Bundle
from app.web.commands import Commands
from app.web.credentials import Cookies, Credentials
from app.web.curate_api import CurateApi
from app.web.curate_pages import CuratePages
from app.web.errors import ErrorResponses
from app.web.event_pages import EventPages
from app.web.graph_api import GraphApi
from app.web.headers import SecurityHeaders
from app.web.hosts import HostCheck
from app.web.hub import Hub
from app.web.ingest_api import IngestApi
from app.web.media import Media
from app.web.operations import ObservedQueue, Operations
from app.web.rate_limit import WrongSecrets
from app.web.render import Renderer
from app.web.routes import Handlers, url_table
from app.web.run_pages import RunPages
from app.web.searching import Searcher, SearchPages
from app.web.sockets import Sockets
from app.web.source_pages import SourcePages
from app.web.tickets import Tickets

PROJECT = Path(app.__file__).resolve().parent.parent
_THREADS = 16  # as many as the engine has connections, so that no thread waits for one
_FETCHES = 6


def create_app(
    settings: Settings, *, jobs: ObservedQueue | None = None, static: Path = PROJECT / "static"
) -> Starlette:
    """The web application over running services.

    `jobs` replaces the queue, `static` the folder of icons and the built frontend. Raises BadInput
    without service addresses, HomeUnusable where the frontend is not built.
    """
    database_url, redis_url = _service_urls(settings)
    engine = make_engine(database_url, pool_size=_THREADS // 2, application="clairvision web")
    client: redis.Redis = redis.Redis.from_url(redis_url, socket_timeout=2)
    queue: ObservedQueue = jobs or RedisJobQueue(redis_url)
    blobs = open_blobs(settings.home, settings.blobs_url)
    image_model, face_model = profile_models(settings.encoders)
    fetcher = Fetcher(
        AddressPolicy(settings.allowed_cidrs, settings.extra_ports),
        FetchLimits(max_bytes=settings.max_photo_bytes, concurrency=_FETCHES, attempts=2),
    )
    tools = SourceTools(fetcher, instance_credentials=settings.instance_credentials)
    opener = SourceOpener(tools)
    sealer = Sealer(secret_key(settings.home, settings.secret_key))
    decoder = DecodePool(size=2)
    spec = DecodeSpec(max_pixels=settings.max_megapixels * 1_000_000)
    cookies = Cookies.for_address(settings.address)
    credentials = Credentials(engine, cookies)
    render = Renderer(PROJECT / "templates", Bundle(static), cookies)
    progress = ProgressPublisher(redis_url)
    ingests = IngestService(
        engine, queue, sealer, blobs, settings.chunk_size, tell=progress.publish
    )
    curation = CurateService(engine, queue, progress.publish)
    commands = Commands(engine, ingests)
    sources = SourcePages(engine, commands, render)
    searcher = Searcher(queue, RedisCache(redis_url), image_model)
    hub = Hub(engine, redis_url)
    handlers = Handlers(
        accounts=AccountPages(engine, render, cookies, WrongSecrets(redis_url)),
        events=EventPages(engine, commands, render, image_model),
        sources=sources,
        runs=RunPages(engine, ingests, render, sources.live),
        search=SearchPages(engine, render, searcher),
        operations=Operations(
            engine,
            client,
            queue,
            blobs,
            render,
            profile=settings.profile,
            models=(image_model, face_model),
        ),
        media=Media(
            engine,
            blobs,
            Previews(
                opener,
                partial(decoder.render, spec=spec),
                tell=partial(_note_health, engine),
                max_bytes=settings.max_photo_bytes,
            ),
            sealer,
        ),
        api=Api(engine, commands, searcher, image_model),
        ingests=IngestApi(engine, commands),
        graph=GraphApi(engine),
        curation=CurateApi(engine, curation),
        curating=CuratePages(engine, curation, render),
        sockets=Sockets(engine, hub, Tickets(client), credentials, settings.address),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        try:
            async with fetcher, tools, decoder, hub.running():
                yield
        finally:
            progress.close()
            client.close()
            engine.dispose()

    return Starlette(
        routes=url_table(handlers, credentials, settings.address, static),
        middleware=[
            Middleware(AccessLog),
            Middleware(SecurityHeaders),
            Middleware(HostCheck, listens_on=settings.host, public_url=settings.public_url),
            Middleware(
                GZipMiddleware,
                minimum_size=1000,
                compresslevel=5,
                # Point clouds are packed already (ENGINEERING.md).
                exclude_content_types=(
                    *DEFAULT_EXCLUDED_CONTENT_TYPES,
                    "application/octet-stream",
                ),
            ),
        ],
        exception_handlers=ErrorResponses(render.error).handlers(),
        lifespan=lifespan,
    )


async def _note_health(engine: Engine, photo_id: int, reason: str | None, message: str) -> None:
    def note() -> None:
        with session_scope(engine) as session:
            note_health(session, photo_id, reason, message)

    with suppress(ServiceDown, DiskFull):  # the preview itself matters more
        await run_in_threadpool(note)


def app_from_environment() -> Starlette:
    """What uvicorn's `--factory` calls. Raises BadInput as `join` does."""
    settings = Settings.from_environment()
    _service_urls(settings)
    join(settings)
    return create_app(settings)


def _service_urls(settings: Settings) -> tuple[str, str]:
    if settings.database_url is None or settings.redis_url is None:
        raise BadInput(
            "The web server was not told where PostgreSQL and Redis are.",
            cure="Set DATABASE_URL and REDIS_URL, or run `clairvision up`, which starts both.",
        )
    return settings.database_url, settings.redis_url
