"""Search by words: the query's vector from the resident encoder, then the nearest photos."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from app.core.errors import BadInput
from app.core.jobs import Job, JobQueue
from app.core.vectors import ModelInfo
from app.search.hits import SearchHit, load_hits
from app.storage.tables import Event
from app.storage.vectors import known_model_number, nearest_photos

MAX_QUERY = 500
ENCODE_TIMEOUT = 10.0
CACHE_SECONDS = 3600


class VectorCache(Protocol):
    """Where query vectors are kept for a while; Redis in production."""

    def get(self, key: str) -> bytes | None: ...

    def set(self, key: str, value: bytes, *, ttl: int) -> None: ...


def pack_vector(vector: NDArray[np.float32]) -> str:
    """A vector as text for a message's result."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")


def unpack_vector(packed: str | bytes) -> NDArray[np.float32]:
    """Back from `pack_vector`: shape (d,), float32."""
    return np.frombuffer(base64.b64decode(packed), "<f4").astype(np.float32)


def query_vector(
    jobs: JobQueue, cache: VectorCache, model: ModelInfo, query: str
) -> NDArray[np.float32]:
    """The unit vector of a query text, shape (d,). Raises EncoderWarming, ServiceDown."""
    # The text itself is not kept, only its hash: queries are personal.
    digest = hashlib.sha256(query.encode()).hexdigest()
    key = f"clairvision:query:{model.id}:{digest}"
    if (known := cache.get(key)) is not None:
        return unpack_vector(known)
    packed = str(jobs.ask(Job.ENCODE_TEXT, model.id, query, timeout=ENCODE_TIMEOUT))
    cache.set(key, packed.encode(), ttl=CACHE_SECONDS)
    return unpack_vector(packed)


def tidy_query(query: str) -> str:
    """White space folded. Raises BadInput where nothing is left or it is too long."""
    query = " ".join(query.split())
    if not query:
        raise BadInput("The search is empty.", cure="Type what the photo shows.")
    if len(query) > MAX_QUERY:
        raise BadInput(f"A search has at most {MAX_QUERY} characters.", cure="Shorten it.")
    return query


def search_text(
    session: Session,
    jobs: JobQueue,
    cache: VectorCache,
    image_model: ModelInfo,
    events: Sequence[Event],
    query: str,
    limit: int,
) -> list[SearchHit]:
    """The photos of these events that the words fit best, best first.

    Raises BadInput, EncoderWarming while the encoder starts, ServiceDown.
    """
    query = tidy_query(query)
    number = known_model_number(session, image_model)
    if number is None or not events:
        return []
    vector = query_vector(jobs, cache, image_model, query)
    ranked = nearest_photos(
        session, number, vector, event_ids=[event.id for event in events], limit=limit
    )
    return load_hits(session, ranked)
