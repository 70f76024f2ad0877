"""A new layout turned to lie on the last one, so that people find their photos where they were."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.space.forces import Places

FEWEST = 4
"""Shared photos from which a rotation in space is determined."""


def align(places: Places, before: Places, shared: NDArray[np.bool_]) -> Places:
    """Turn, mirror, scale and shift (n, 3) places so that the `shared` (n,) ones come as near as can
    be to `before` (n, 3), in the least squares (Procrustes: Schönemann & Carroll, 1970).

    The scale is the one at which both are equally large: that of the least squares would shrink a
    layout that fits badly, and a space with every refit. With fewer than FEWEST shared photos, or all
    on one spot, the places are returned as they are.
    """
    if int(shared.sum()) < FEWEST:
        return places
    moving, still = places[shared].astype(np.float64), before[shared].astype(np.float64)
    from_centre, to_centre = moving.mean(axis=0), still.mean(axis=0)
    moving, still = moving - from_centre, still - to_centre
    size, wanted = float((moving**2).sum()), float((still**2).sum())
    if size == 0 or wanted == 0:
        return places
    left, _, right = np.linalg.svd(moving.T @ still)
    turned = (places.astype(np.float64) - from_centre) @ (left @ right)
    return np.asarray(turned * np.sqrt(wanted / size) + to_centre, np.float32)
