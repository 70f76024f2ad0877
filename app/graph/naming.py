"""Names of clusters from a vocabulary of our own, through the text encoder of the profile."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.errors import DiskFull, ServiceDown
from app.core.ports import TextEncoder
from app.core.vectors import ModelInfo, Vectors
from app.graph.clustering import Labels, centroids, sums
from app.storage.blobs import BlobStore

log = logging.getLogger(__name__)

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
OWN_SHARE = 0.3
"""Weight of a word's similarity to the cluster itself beside its contrast to the others."""
STANDS_OUT = 1.0
"""Cohen's d (1988) from which a word tells a cluster from the others: the mean similarity of its
photos lies one standard deviation above that of the rest; 0.8 is called large. Measured on 1,169
photos with pocket: 17 scenes 1.6 to 3.6, two mixed bags 0.8, 72 random clusters at most 0.9 (one of
eight photos 1.2)."""
SUGGESTIONS = 8
_ALONE = 2.5
"""Standard deviations among all words by which one stands out of an event that is all one cluster."""
_SAMPLE = 3000
_BUSY_DAY = timedelta(hours=18)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word that stands out for a cluster; `score` compares words of all clusters of a level."""

    word: str
    score: float


def read_vocabulary(path: Path = VOCABULARY) -> list[str]:
    """Its words in their order, each once."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def vocabulary_key(model: ModelInfo, words: Sequence[str]) -> str:
    """Key of the blob that holds the words' vectors by this model."""
    about = "\n".join((model.id, *words))
    return f"vocabulary/{hashlib.sha256(about.encode()).hexdigest()[:32]}.npy"


def word_vectors(
    blobs: BlobStore, model: ModelInfo, words: Sequence[str], encoder: Callable[[], TextEncoder]
) -> Vectors:
    """The words' vectors (w, d), encoded once a model and vocabulary and kept as a blob.

    `encoder` is called only where they must be made. Raises what it raises: ModelUnavailable.
    """
    key = vocabulary_key(model, words)
    try:
        kept = np.load(io.BytesIO(blobs.get(key)), allow_pickle=False)
        if kept.shape == (len(words), model.dim) and kept.dtype == np.float32:
            return np.asarray(kept, np.float32)
        log.warning("the vocabulary's vectors %s are damaged and made again", key)
    except KeyError:
        pass
    except (ValueError, EOFError, ServiceDown) as error:
        log.warning("the vocabulary's vectors %s can't be read and are made again: %s", key, error)
    made = encoder().encode_texts(words)
    data = io.BytesIO()
    np.save(data, made)
    try:
        blobs.put(key, data.getvalue())
    except (ServiceDown, DiskFull) as error:
        log.warning("the vocabulary's vectors are not kept: %s", error)
    return made


def suggestions(
    vectors: Vectors, labels: Labels, words: Sequence[str], said: Vectors
) -> list[list[Suggestion]]:
    """For each label its best words, best first; none where nothing stands out.

    `vectors` (n, d) of the photos, `said` (w, d) of the words, both unit rows. Score: cosine to the
    cluster's centroid less the mean over the other clusters, which removes what holds for the whole
    event, plus OWN_SHARE of itself. Words under STANDS_OUT are left out. An only cluster has no
    contrast: its words must stand out among the words instead.
    """
    if len(labels) == 0 or not words:
        return [[] for _ in range(int(labels.max(initial=-1)) + 1)]
    own = np.asarray(centroids(vectors, labels) @ said.T, np.float64)
    count = len(own)
    if count == 1:
        score, effect = own, (own - own.mean()) / max(_ALONE * float(own.std()), 1e-9)
    else:
        score = own - (own.sum(axis=0) - own) / (count - 1) + OWN_SHARE * own
        effect = _effect_sizes(vectors, labels, said)
    found = []
    for row, size in zip(score, effect, strict=True):
        order = np.argsort(-row, kind="stable")
        best = [int(i) for i in order[: 4 * SUGGESTIONS] if size[i] >= STANDS_OUT and row[i] > 0]
        found.append([Suggestion(words[i], float(row[i])) for i in best[:SUGGESTIONS]])
    return found


def _effect_sizes(vectors: Vectors, labels: Labels, said: Vectors) -> NDArray[np.float64]:
    """Cohen's d of each cluster against all other photos, for each word: (c, w)."""
    n = len(labels)
    size = np.bincount(labels)[:, None].astype(np.float64)
    total = sums(vectors, labels)
    inside = total / size
    rest = (total.sum(axis=0) - total) / np.maximum(n - size, 1)
    step = max(1, n // _SAMPLE)
    spread = (vectors[::step] @ said.T).std(axis=0)
    return np.asarray((inside - rest) @ said.T / np.maximum(spread, 1e-9), np.float64)


def chosen_words(offers: Sequence[Sequence[Suggestion]], taken: Iterable[str]) -> dict[int, str]:
    """One word a cluster, none twice and none that is `taken`: the highest scores choose first.

    `offers` by cluster. Returns words by cluster; a cluster whose words are all gone is left out.
    """
    gone = {word.casefold() for word in taken}
    pairs = sorted(
        (-offer.score, cluster, offer.word) for cluster, its in enumerate(offers) for offer in its
    )
    found: dict[int, str] = {}
    for _, cluster, word in pairs:
        if cluster not in found and word.casefold() not in gone:
            found[cluster] = word
            gone.add(word.casefold())
    return found


def sentence_case(word: str) -> str:
    """“dance floor” → “Dance floor”, “DJ” stays."""
    return word[:1].upper() + word[1:]


def time_name(taken: NDArray[np.float64], event: NDArray[np.float64]) -> str | None:
    """When a cluster's photos were taken, “14:10–15:30”, None where that says little.

    Seconds, NaN where unknown. The middle nine tenths count, so that one wrong clock does not. It says
    little where fewer than half of the photos have a time, or they span a third of the event.
    """
    known, whole = taken[np.isfinite(taken)], event[np.isfinite(event)]
    if len(known) == 0 or 2 * len(known) < len(taken):
        return None
    low, high = np.quantile(known, (0.05, 0.95), method="nearest")
    begin, end = np.quantile(whole, (0.05, 0.95), method="nearest")
    if 3 * (high - low) > end - begin or end <= begin:
        return None
    first, last = _moment(low), _moment(high)
    if _moment(end) - _moment(begin) < _BUSY_DAY:
        return _span(f"{first:%H:%M}", f"{last:%H:%M}")
    if first.date() != last.date():
        return _span(_day(first), _day(last))
    return f"{_day(first)}, {_span(f'{first:%H:%M}', f'{last:%H:%M}')}"


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first}–{last}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B}"


def _moment(seconds: float) -> datetime:
    """The camera's wall clock: without a zone, as it is stored."""
    return datetime(1970, 1, 1) + timedelta(seconds=float(seconds))  # noqa: DTZ001
