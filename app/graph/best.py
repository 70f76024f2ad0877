"""The best frame of a group, and in words why, and what the others are worse in.

Only what was measured counts. The owner's choice wins over all of it. Words and weights are explained
in docs/grouping.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

YOUR_CHOICE = "your choice"
NOT_REJECTED = "the only one that is not rejected"
NO_DIFFERENCE = "no clear difference"

_FRONTAL_WEIGHT = 1.0
_FACE_AREA_WEIGHT = 0.5
_EXPOSURE_WEIGHT = 4.0
_PIXELS_WEIGHT = 0.5
_DARK, _BRIGHT, _CLIPPED = 0.25, 0.75, 0.02
"""Mean luma outside of which a photo is badly exposed, and the share of clipped pixels that is."""
_LEAD = 0.1
"""Of the score, by which the best has to lead in something before it is named as the reason."""
_SOFTER = 0.75
"""Share of the best frame's sharpness below which people see the difference."""
_DARKER = 0.06
_TURNED = 0.25


@dataclass(frozen=True)
class Measures:
    """Of n photos, each (n,), NaN where unknown: `pixels`, `bytes`; `sharpness`, `exposure` and
    `clipped` as core.photos.Quality has them; of their faces the summed area (0 without faces) and
    the sharpness and frontal pose, both weighted by area. `chosen`: when the owner chose it as the
    best, 0 where never; `rejected`: the owner doesn't want it. `taken`: seconds."""

    pixels: Floats
    bytes: Floats
    sharpness: Floats
    exposure: Floats
    clipped: Floats
    face_area: Floats
    face_sharpness: Floats
    face_frontal: Floats
    chosen: Index
    rejected: NDArray[np.bool_]
    taken: Floats


@dataclass(frozen=True)
class Ranked:
    """Members of a group, the best first, and why it is the best."""

    members: tuple[int, ...]
    reason: str


def rank_copies(measures: Measures, members: Sequence[int]) -> Ranked:
    """Of two or more copies of one frame: the owner's choice, the most pixels, the largest file, the
    first. What the owner rejected comes last."""
    m = measures

    def key(photo: int) -> tuple[float, bool, float, float, int]:
        rejected = bool(m.rejected[photo])
        return (
            -m.chosen[photo],
            rejected,
            -_known(m.pixels[photo]),
            -_known(m.bytes[photo]),
            photo,
        )

    order = sorted(members, key=key)
    best, second = order[0], order[1]
    if m.chosen[best]:
        reason = YOUR_CHOICE
    elif m.rejected[second] and not m.rejected[best]:
        reason = NOT_REJECTED
    elif _known(m.pixels[best]) > _known(m.pixels[second]):
        reason = "most pixels"
    elif _known(m.bytes[best]) > _known(m.bytes[second]):
        reason = "largest file"
    else:
        reason = "first of equal files"
    return Ranked(tuple(order), reason)


def rank_frames(measures: Measures, members: Sequence[int]) -> Ranked:
    """Of two or more different frames: the owner's choice, then the highest score. What the owner
    rejected comes last."""
    rows = np.array(sorted(members))
    terms = _terms(measures, rows)
    score = np.sum(list(terms.values()), axis=0)
    order = np.lexsort((rows, -score, measures.rejected[rows], -measures.chosen[rows]))
    best, second = order[0], order[1]
    if measures.chosen[rows[best]]:
        reason = YOUR_CHOICE
    elif measures.rejected[rows[second]] and not measures.rejected[rows[best]]:
        reason = NOT_REJECTED
    else:
        leads = {name: float(value[best] - value[second]) for name, value in terms.items()}
        name = max(leads, key=lambda each: leads[each])
        reason = name if leads[name] >= _LEAD else NO_DIFFERENCE
    return Ranked(tuple(int(photo) for photo in rows[order]), reason)


def _terms(measures: Measures, rows: Index) -> dict[str, Floats]:
    """Parts of the score by the words for them; sizes and sharpness in doublings, so that twice as
    sharp is one better."""
    m = measures
    faces = bool((np.nan_to_num(m.face_area[rows]) > 0).any())
    sharp = m.face_sharpness[rows] if faces else m.sharpness[rows]
    exposure, clipped = np.nan_to_num(m.exposure[rows], nan=0.5), np.nan_to_num(m.clipped[rows])
    badly = np.maximum(0, _DARK - exposure) + np.maximum(0, exposure - _BRIGHT)
    terms = {
        "sharpest faces" if faces else "sharpest": np.log2(1 + np.nan_to_num(sharp)),
        "best exposed": -_EXPOSURE_WEIGHT * (badly + np.maximum(0, clipped - _CLIPPED)),
        "most pixels": _PIXELS_WEIGHT * np.log2(1 + np.nan_to_num(m.pixels[rows])),
    }
    if faces:
        area = np.nan_to_num(m.face_area[rows])
        terms["faces to the camera"] = _FRONTAL_WEIGHT * np.nan_to_num(m.face_frontal[rows])
        terms["largest faces"] = _FACE_AREA_WEIGHT * np.log2(1e-3 + area)
    return terms


def copy_words(measures: Measures, photo: int, best: int, *, identical: bool) -> str:
    """What a copy of the best frame's picture is."""
    if identical:
        return "same file"
    pixels, most = measures.pixels[photo], measures.pixels[best]
    if pixels < most:
        return f"same picture, smaller: {_percent(pixels / most)} of the pixels"
    if pixels > most:
        return "same picture, larger"
    size, whole = measures.bytes[photo], measures.bytes[best]
    if size < whole:
        return f"same picture, {_percent(size / whole)} of the bytes"
    return "same picture, encoded anew"


def frame_words(measures: Measures, photo: int, best: int, *, in_time: bool, mirrored: bool) -> str:
    """How a member of a burst (`in_time`) or of look-alikes came here, and what it is worse in."""
    words = [
        _later(measures, photo, best) if in_time else "mirrored" if mirrored else "looks alike"
    ]
    return ", ".join(words + _worse(measures, photo, best))


def _later(measures: Measures, photo: int, best: int) -> str:
    seconds = float(measures.taken[photo] - measures.taken[best])
    if np.isnan(seconds):
        return "same burst"
    if seconds == 0:
        return "same second"
    return f"{abs(seconds):.0f} s {'later' if seconds > 0 else 'earlier'}"


def _worse(measures: Measures, photo: int, best: int) -> list[str]:
    m = measures
    words = []
    faces = m.face_area[photo] > 0 and m.face_area[best] > 0
    sharpness = m.face_sharpness if faces else m.sharpness
    if sharpness[photo] < _SOFTER * sharpness[best]:
        words.append("softer faces" if faces else "softer")
    if faces and m.face_frontal[photo] < m.face_frontal[best] - _TURNED:
        words.append("faces turned away")
    if m.face_area[best] > 0 and not m.face_area[photo] > 0:
        words.append("no face found")
    lighter = m.exposure[photo] - m.exposure[best]
    if abs(lighter) > _DARKER:
        words.append("brighter" if lighter > 0 else "darker")
    if m.clipped[photo] > m.clipped[best] + _CLIPPED:
        words.append("more clipped")
    if m.pixels[photo] < 0.9 * m.pixels[best]:
        words.append("fewer pixels")
    return words


def _known(value: float) -> float:
    return 0.0 if np.isnan(value) else float(value)


def _percent(share: float) -> str:
    return f"{max(1, round(100 * share))} %"
