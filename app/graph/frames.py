"""Is it the very same frame? Two thumbnails, block by block.

Whatever is re-encoded or scaled differs a little everywhere. The next frame of a burst differs much
where something moved, so the block with the largest difference decides; another exposure differs in
light and contrast.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]

_CELL = 3
"""Pixels; blocks are 2 × 2 cells, one at each corner of cells."""
_SOFT = 20.0
"""Grey levels that are added to a block's own contrast, so that noise of flat blocks stays small."""
_LARGE, _SMALL = 240, 160
_SMALLEST_LARGE = 450
"""Pixels of an original's long side from which its thumbnail holds _LARGE honest pixels."""
_BLUR = {_LARGE: 3, _SMALL: 5}
_MOST = {_LARGE: 0.42, _SMALL: 0.28}
"""The most that a block of the same frame differs, in shares of its contrast (docs/grouping.md)."""
_MOST_LIGHT, _MOST_CONTRAST = 1.5, 0.02
"""The most that it differs as a whole: in grey levels of the mean, and as a share of contrast."""


def side_for(long_side: int) -> int:
    """Pixels to compare at, for the smaller of two originals."""
    return _LARGE if long_side >= _SMALLEST_LARGE else _SMALL


def grey(thumb: bytes, side: int) -> Grey:
    """A thumbnail in grey, squeezed into (side, side) and softened, which cuts off a pixel or two.

    Raises OSError where it is no picture.
    """
    luma = _opened(thumb)
    # One filter for all: two that blur differently differ at every edge.
    values = np.asarray(luma.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    size = _BLUR[side]
    rows = sum(values[at : side - size + 1 + at] for at in range(size))
    both = sum(np.asarray(rows)[:, at : side - size + 1 + at] for at in range(size))
    softened: Grey = np.asarray(both, np.float32) / np.float32(size * size)
    return softened


def small_picture(thumb: bytes, side: int) -> bytes | None:
    """What ingest.derive.structure_of makes, from a thumbnail; None where it is no picture."""
    try:
        luma = _opened(thumb)
    except OSError:
        return None
    return luma.resize((side, side), Image.Resampling.BOX).tobytes()


def same_frame(first: Grey, second: Grey, side: int) -> bool:
    """Whether two greys of this side show the same frame, however it was encoded or scaled."""
    light = abs(float(first.mean()) - float(second.mean()))
    contrast = abs(float(np.log((first.std() + 1) / (second.std() + 1))))
    if light > _MOST_LIGHT or contrast > _MOST_CONTRAST:
        return False
    apart = _blocks(np.abs(first - second))
    own = np.sqrt(np.maximum(_variance(first), _variance(second)))
    return float((apart / (_SOFT + own)).max()) <= _MOST[side]


def _opened(thumb: bytes) -> Image.Image:
    with Image.open(io.BytesIO(thumb)) as opened:
        return opened.convert("L")


def _variance(values: Grey) -> Grey:
    found: Grey = np.maximum(_blocks(values * values) - _blocks(values) ** 2, 0)
    return found


def _blocks(values: Grey) -> Grey:
    """Means over all blocks."""
    count = len(values) // _CELL
    whole = values[: count * _CELL, : count * _CELL]
    cells = whole.reshape(count, _CELL, count, _CELL).mean(axis=(1, 3))
    found: Grey = (cells[1:, 1:] + cells[1:, :-1] + cells[:-1, 1:] + cells[:-1, :-1]) / 4
    return found
