"""A space that grows: new photos find a place in the last layout, or all is fitted anew on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.space.aligning import align
from app.space.before import Before
from app.space.forces import Places
from app.space.layout import MIN_FOR_UMAP, lay_out
from app.space.placing import Box, begin, place
from app.space.spaces import Space
from app.space.trust import trustworthiness

REFIT_FROM = 1 / 3
"""Share of photos placed since the fit from which all are fitted anew. What is placed can only stand
beside what was there: a new chapter has no room of its own before the next fit."""
MARGIN = 0.1
"""Room around a fit, as a share of its span, for photos to come: their cloud has the same box, so
that old ones keep their quantised places too."""


@dataclass(frozen=True)
class Grown:
    """`places` (n, 3) float32 inside of `box`. `came`: photos placed now; `fitted` and `placed` as in
    tables_graph.Layout; `trustworthiness` of the fit."""

    places: Places
    box: Box
    fit: int
    fitted: int
    placed: int
    came: int
    refitted: bool
    trustworthiness: float | None

    def figures(self) -> dict[str, Any]:
        """What the run's summary says of the space."""
        trust = self.trustworthiness
        return {
            "photos": len(self.places),
            "fit": self.fit,
            "fitted": self.fitted,
            "placed": self.placed,
            "came": self.came,
            "refitted": self.refitted,
            "trustworthiness": None if trust is None else round(trust, 4),
        }


def grow(
    space: Space,
    stamps: NDArray[np.int64],
    model: int,
    before: Before | None,
    *,
    refit: bool = False,
) -> Grown:
    """The space's next layout. `stamps` (n,): µs since when its photos look as they do.

    Photos of the last layout that look as they did keep their places bit for bit, until REFIT_FROM as
    many as were fitted have come.
    """
    if before is None:
        return _fitted(space, None, np.zeros(len(space.ids), np.bool_), 1)
    known, places = _known(space, stamps, before)
    came = int((~known).sum())
    placed = before.placed + came
    if (
        not refit
        and before.model == model
        and before.fitted >= MIN_FOR_UMAP
        and known.any()
        and placed < REFIT_FROM * before.fitted
    ):
        return Grown(
            place(places, ~known, space.vectors, space.terms, before.box),
            before.box,
            before.fit,
            before.fitted,
            placed,
            came,
            refitted=False,
            trustworthiness=before.trustworthiness,
        )
    return _fitted(space, places, known, before.fit + 1)


def _known(
    space: Space, stamps: NDArray[np.int64], before: Before
) -> tuple[NDArray[np.bool_], Places]:
    """Which photos have a place that still holds (n,), and their places (n, 3)."""
    places = np.zeros((len(space.ids), 3), np.float32)
    known = np.zeros(len(space.ids), np.bool_)
    _, here, there = np.intersect1d(space.ids, before.ids, assume_unique=True, return_indices=True)
    places[here] = before.places[there]
    known[here] = stamps[here] <= before.stamp
    return known, places


def _fitted(space: Space, places: Places | None, known: NDArray[np.bool_], number: int) -> Grown:
    """All photos fitted; where most had a place, from there. Turned to lie on the last layout."""
    start = None
    if places is not None and 2 * int(known.sum()) > len(known):
        start = begin(places, ~known, space.vectors, space.terms)
    made = lay_out(space.vectors, space.terms, start)
    if places is not None:
        made = align(made, places, known)
    elif len(made):
        made = made - made.mean(axis=0)
    made = np.asarray(made, np.float32)
    return Grown(
        made,
        _box(made),
        number,
        len(made),
        0,
        int((~known).sum()),
        refitted=True,
        trustworthiness=trustworthiness(space.alike, made),
    )


def _box(places: Places) -> Box:
    """The corners of the places and MARGIN around them, (3,) float32 each."""
    if not len(places):
        return np.zeros(3, np.float32), np.zeros(3, np.float32)
    low, high = places.min(axis=0), places.max(axis=0)
    room = MARGIN * np.where(high > low, high - low, 1.0)
    return np.asarray(low - room, np.float32), np.asarray(high + room, np.float32)
