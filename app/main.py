"""Composition root of the web process: everything is made here and handed on.

    uvicorn --factory app.main:app_from_environment

The decoder's children apart, the process holds no model: torch, ONNX Runtime, numba, UMAP and FAISS
are never imported here, which tests/web/test_imports.py checks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio.to_thread
import redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

import app
from app.core.errors import BadInput
from app.deliver.preview import Previews
from app.encoders.registry import profile_models
from app.ingest.decode import DecodePool, DecodeSpec
from app.settings import Settings
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.open import source_for
from app.storage.blobs import BlobStore
from app.storage.cache import RedisCache
from app.storage.engine import make_engine
from app.storage.queue import RedisJobQueue
from app.web.access_log import AccessLog
from app.web.account_pages import AccountPages
from app.web.api import Api
from app.web.assets import Bundle
from app.web.commands import Commands
from app.web.credentials import Cookies, Credentials
from app.web.errors import ErrorResponses
from app.web.event_pages import EventPages
from app.web.headers import SecurityHeaders
from app.web.hosts import HostCheck
from app.web.hub import Hub
from app.web.media import Media
from app.web.operations import ObservedQueue, Operations
from app.web.rate_limit import WrongSecrets
from app.web.render import Renderer
from app.web.routes import Handlers, url_table
from app.web.searching import Searcher, SearchPages
from app.web.sockets import Sockets
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
    blobs = BlobStore.in_folder(settings.home / "blobs")
    image_model, face_model = profile_models(settings.encoders)
    fetcher = Fetcher(
        AddressPolicy(settings.allowed_cidrs, settings.extra_ports),
        FetchLimits(max_bytes=settings.max_photo_bytes, concurrency=_FETCHES, attempts=2),
    )
    decoder = DecodePool(size=2)
    spec = DecodeSpec(max_pixels=settings.max_megapixels * 1_000_000)
    cookies = Cookies.for_address(settings.address)
    credentials = Credentials(engine, cookies)
    render = Renderer(PROJECT / "templates", Bundle(static), cookies)
    commands = Commands(engine, queue)
    searcher = Searcher(queue, RedisCache(redis_url), image_model)
    hub = Hub(engine, redis_url)
    handlers = Handlers(
        accounts=AccountPages(engine, render, cookies, WrongSecrets(redis_url)),
        events=EventPages(engine, commands, render, image_model),
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
                lambda kind, uri: source_for(kind, uri, fetcher=fetcher),
                partial(decoder.render, spec=spec),
                max_bytes=settings.max_photo_bytes,
            ),
        ),
        api=Api(engine, commands, searcher, image_model),
        sockets=Sockets(engine, hub, Tickets(client), credentials, settings.address),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        try:
            async with fetcher, decoder, hub.running():
                yield
        finally:
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


def app_from_environment() -> Starlette:
    """What uvicorn's `--factory` calls."""
    return create_app(Settings.from_environment())


def _service_urls(settings: Settings) -> tuple[str, str]:
    if settings.database_url is None or settings.redis_url is None:
        raise BadInput(
            "The web server was not told where PostgreSQL and Redis are.",
            cure="Set DATABASE_URL and REDIS_URL, or run `clairvision up`, which starts both.",
        )
    return settings.database_url, settings.redis_url
