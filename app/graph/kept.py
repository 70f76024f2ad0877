"""Vectors and neighbours of an event kept on disk between two builds of its graph.

Derived from PostgreSQL and trusted only as far as it agrees with it: photos are known by id and
stamp, neighbours count only while the edges in the database are of the same run. Lost or damaged, it
is made again. It saves reading a hundred megabytes for a handful of new photos.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_ARRAYS = ("ids", "stamps", "vectors", "rows", "weights")


@dataclass(frozen=True)
class Kept:
    """`ids` (n,) int64 ascending; `stamps` (n,) int64: when the vector was made; `vectors` (n, d)
    float16; `rows` (n, k) int64 indices into these photos; `weights` (n, k) float32. `run`: the
    graph run that stored the edges; `recall` as in knn.Neighbours."""

    ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    vectors: NDArray[np.float16]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    run: int
    recall: float


class KeptGraphs:
    """One folder an event and model under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, event_id: int, model: int) -> Kept | None:
        """What was kept, its arrays mapped from disk; None where there is nothing, or nothing whole."""
        at = self._at(event_id, model)
        try:
            facts = json.loads((at / "facts.json").read_text())
            arrays = {name: np.load(at / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
            kept = Kept(**arrays, run=int(facts["run"]), recall=float(facts["recall"]))
            n = len(kept.ids)
            whole = all(len(array) == n for array in arrays.values())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            log.warning("the kept graph of event %s is damaged and made again: %s", event_id, error)
            return None
        return kept if whole else None

    def save(self, event_id: int, model: int, kept: Kept) -> None:
        """Replace what was kept, as a whole. A disk that is full keeps nothing, which only costs
        time."""
        at = self._at(event_id, model)
        fresh: Path | None = None
        try:
            at.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f"{at.name}.", dir=at.parent))
            for name in _ARRAYS:
                np.save(fresh / f"{name}.npy", getattr(kept, name))
            (fresh / "facts.json").write_text(json.dumps({"run": kept.run, "recall": kept.recall}))
            shutil.rmtree(at, ignore_errors=True)
            fresh.rename(at)
        except OSError as error:
            log.warning("the graph of event %s is not kept: %s", event_id, error)
            if fresh is not None:
                shutil.rmtree(fresh, ignore_errors=True)

    def _at(self, event_id: int, model: int) -> Path:
        return self._folder / f"{event_id}-{model}"
