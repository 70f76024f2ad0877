"""Clusters of today matched to those of before, so that ids, numbers and names stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

WEAKEST = 0.3
"""Jaccard overlap from which a cluster is the same as before: Greene, Doyle & Cunningham (2010) use
0.3 to follow communities over time."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Matched:
    """`old` (c,) int64: for each new cluster the old one that it continues, -1 where it is new.

    `shared` (o, c) int64: photos that old cluster o and new cluster c have in common.
    """

    old: Labels
    shared: NDArray[np.int64]

    def heirs(self, old: int) -> Labels:
        """New clusters that hold photos of an old one, those that hold the most first."""
        row = self.shared[old]
        order = np.argsort(-row, kind="stable")
        return np.asarray(order[row[order] > 0], np.int64)


def match(
    old_ids: Labels, old_labels: Labels, new_ids: Labels, new_labels: Labels, *, old: int, new: int
) -> Matched:
    """Pair `new` clusters with `old` ones, one to one, for the greatest Jaccard overlap in all.

    Ids (n,) int64 are of photos, ascending; labels (n,) index the clusters. Overlap is counted among
    photos that were there before and still are: a cluster that only grew is the same. Pairs under
    WEAKEST are none.
    """
    _, before, after = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
    shared = np.asarray(
        scipy.sparse.coo_matrix(
            (np.ones(len(before), np.int64), (old_labels[before], new_labels[after])),
            shape=(old, new),
        ).toarray(),
        np.int64,
    )
    found = np.full(new, -1, np.int64)
    if shared.size:
        union = shared.sum(axis=1)[:, None] + shared.sum(axis=0) - shared
        overlap = shared / np.maximum(union, 1)
        # Weak pairs must not stand in the way of strong ones.
        worth = np.where(overlap >= WEAKEST, overlap, 0.0)
        rows, columns = linear_sum_assignment(worth, maximize=True)
        good = worth[rows, columns] > 0
        found[columns[good]] = rows[good]
    return Matched(found, shared)


def free_numbers(taken: set[int], wanted: int) -> list[int]:
    """The `wanted` lowest numbers from 0 that are not taken, ascending."""
    found: list[int] = []
    number = 0
    while len(found) < wanted:
        if number not in taken:
            found.append(number)
        number += 1
    return found


def inherited_names(matched: Matched, names: dict[int, str]) -> dict[int, str]:
    """The owner's names of today's clusters, by new index; `names` are by old index.

    A name stays with the cluster that continues the old one. Where none does, it goes to the largest
    heir that has no name yet, and if all have one, joins that of the largest heir. It is gone only
    with the last photo that had it.
    """
    found = {
        new: names[int(before)] for new, before in enumerate(matched.old) if int(before) in names
    }
    kept = {int(before) for before in matched.old}
    orphans = sorted(set(names) - kept, key=lambda old: (-int(matched.shared[old].sum()), old))
    for old in orphans:
        heirs = matched.heirs(old)
        if len(heirs) == 0:
            continue
        heir = next((int(h) for h in heirs if int(h) not in found), None)
        if heir is not None:
            found[heir] = names[old]
        elif names[old] not in found[int(heirs[0])].split(" / "):
            found[int(heirs[0])] += f" / {names[old]}"
    return found
