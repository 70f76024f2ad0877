"""Thumbnails, previews and point clouds. Everything here is re-encoded; no original leaves."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlmodel import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import UnknownPhoto
from app.deliver.preview import Original, Previews
from app.storage import gallery
from app.storage.blobs import BlobStore, cloud_key, thumb_key
from app.storage.engine import session_scope
from app.storage.sealing import Sealer
from app.storage.tables_graph import Layout
from app.web.errors import Malformed, UnknownSpace

_FOREVER = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
_PREVIEW = "private, max-age=600"


class Media:
    def __init__(
        self, engine: Engine, blobs: BlobStore, previews: Previews, sealer: Sealer
    ) -> None:
        self._engine = engine
        self._blobs = blobs
        self._previews = previews
        self._sealer = sealer

    def thumb(self, request: Request) -> Response:
        """GET /media/thumb/{photo_id}.webp"""
        photo_id = request.path_params["photo_id"]
        with session_scope(self._engine) as session:
            thumb = gallery.thumb_of(session, photo_id)
        current = request.query_params.get("v") == thumb
        etag = f'"{thumb}"'
        headers = {"ETag": etag, "Cache-Control": _FOREVER if current else _ASK_AGAIN}
        if _known(request, etag):
            return Response(status_code=304, headers=headers)
        try:
            data = self._blobs.get(thumb_key(thumb))
        except KeyError as error:
            raise UnknownPhoto(photo_id) from error
        return Response(data, headers=headers, media_type="image/webp")

    async def preview(self, request: Request) -> Response:
        """GET /media/preview/{photo_id}?size=1024|2048"""
        try:
            size = int(request.query_params.get("size", "1024"))
        except ValueError as error:
            raise Malformed("The size is a number of pixels.") from error
        original, etag = await run_in_threadpool(self._original, request, size)
        headers = {"ETag": etag, "Cache-Control": _PREVIEW}
        if _known(request, etag):
            return Response(status_code=304, headers=headers)
        data = await self._previews.preview(original, size)
        return Response(data, headers=headers, media_type="image/jpeg")

    def cloud(self, request: Request) -> Response:
        """GET /media/cloud/{slug}/{version}.bin"""
        slug, version = request.path_params["slug"], request.path_params["version"]
        missing = UnknownSpace(f"“{slug}” has no such point cloud.", cure="Reload the page.")
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            query = select(Layout.id).where(Layout.event_id == event.id, Layout.version == version)
            if session.exec(query).first() is None:
                raise missing
        etag = f'"{version}"'
        headers = {"ETag": etag, "Cache-Control": _FOREVER}
        if _known(request, etag):
            return Response(status_code=304, headers=headers)
        try:
            data = self._blobs.get(cloud_key(version))
        except KeyError as error:
            raise missing from error
        return Response(data, headers=headers, media_type="application/octet-stream")

    def _original(self, request: Request, size: int) -> tuple[Original, str]:
        with session_scope(self._engine) as session:
            photo, _, source = gallery.indexed_photo(session, request.path_params["photo_id"])
        original = Original(
            photo.id, self._sealer.spec(source), photo.source_key, photo.uri, photo.version
        )
        return original, f'"{photo.thumb}-{size}"'


def _known(request: Request, etag: str) -> bool:
    """Whether the client has this very content (RFC 9110, 13.1.2: weak comparison)."""
    named = request.headers.get("if-none-match", "")
    return etag in {part.strip().removeprefix("W/") for part in named.split(",")}
