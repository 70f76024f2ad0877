"""Layout, placing and clusters against what they replace: `python benchmarks/layout.py [--json]`.

Value: CPU time of our layout over that of stock umap-learn's `fit_transform` on the same vectors, at
the largest size up to 10,000; both compiled before. Ours begins at the neighbours that the graph
stage stored, stock finds its own: `with_graph` counts ours too. Further bars: trustworthiness (k = 15,
5,000 photos) at least stock's − 0.01, clusters ÷ bare Leiden, placing 1 % new photos ÷ a refit, and
0 old photos moved.

Vectors are drawn: chapters, scenes, moments and frames, each a normal step from the one above, in 768
dimensions whose variance falls as that of pocket's vectors of the research photos does (a seventh on
the first axis, half of it on the first eight, a thousandth from about the hundredth).
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import scipy.sparse
from sknetwork.clustering import Leiden
from threadpoolctl import threadpool_limits

from app.core.vectors import Vectors, normalised
from app.graph import clustering
from app.graph.knn import nearest_neighbours
from app.space.growing import MARGIN
from app.space.layout import lay_out, look_term
from app.space.placing import place
from app.space.trust import trustworthiness
from benchmarks._report import arguments, report, say

DIMENSIONS, SEED = 768, 1
STOCK_AT_MOST = 10_000
BARS = {"layout": 0.2, "trustworthiness": 0.01, "clusters": 1.1, "placing": 0.03}


def draw(n: int, seed: int = SEED) -> Vectors:
    """n unit vectors in a random order, like those of an event of about n/60 scenes."""
    random = np.random.default_rng(seed)
    fall = (np.arange(DIMENSIONS) + 8.0) ** -0.6

    def step(above: np.ndarray, count: int, evenness: float, length: float) -> np.ndarray:
        share = random.dirichlet(np.full(len(above), evenness))
        chosen = above[random.choice(len(above), count, p=share)]
        return chosen + length * random.normal(size=(count, DIMENSIONS)) * fall

    chapters = random.normal(size=(12, DIMENSIONS)) * fall
    scenes = step(chapters, max(12, n // 60), 3, 0.8)
    moments = step(scenes, max(12, n // 6), 2, 0.7)
    return normalised(step(moments, n, 2, 0.7))


def cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what was made."""
    started = time.process_time()
    made = function()
    return time.process_time() - started, made


def best(function: Callable[[], Any], runs: int) -> float:
    """The least CPU time of some runs: others on the machine only ever add."""
    return min(cpu(function)[0] for _ in range(runs))


def alike(vectors: Vectors) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda rows, columns: vectors[rows] @ vectors[columns].T


def clusters(vectors: Vectors, rows: np.ndarray, weights: np.ndarray, runs: int) -> dict[str, Any]:
    """Chapters and scenes, against what Leiden alone costs at the same two resolutions: the same
    neighbours made a symmetric graph of cosines, and two calls of scikit-network as it comes."""
    n, k = rows.shape

    def bare() -> None:
        start = np.arange(0, n * k + 1, k)
        directed = scipy.sparse.csr_matrix(
            (weights.ravel().astype(np.float64), rows.ravel(), start), shape=(n, n)
        )
        graph = directed.maximum(directed.T).tocsr()
        for resolution in (clustering.CHAPTER_RESOLUTION, clustering.SCENE_RESOLUTION):
            Leiden(resolution).fit(graph)

    found = clustering.cluster(vectors, rows, weights)
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(cpu(lambda: clustering.cluster(vectors, rows, weights))[0])
        theirs.append(cpu(bare)[0])
    return {
        "chapters": int(found.chapters.max()) + 1,
        "scenes": int(found.scenes.max()) + 1,
        "cluster_cpu_s": round(statistics.median(ours), 3),
        "bare_leiden_cpu_s": round(statistics.median(theirs), 3),
        "cluster_ratio": round(statistics.median(ours) / statistics.median(theirs), 3),
    }


def placing(vectors: Vectors, runs: int) -> dict[str, Any]:
    """One photo in a hundred comes to a layout of the others, against fitting all anew from there."""
    n = len(vectors)
    fresh = np.zeros(n, np.bool_)
    fresh[np.random.default_rng(2).choice(n, max(1, n // 100), replace=False)] = True
    old = nearest_neighbours(vectors[~fresh])
    known = np.zeros((n, 3), np.float32)
    known[~fresh] = lay_out(vectors[~fresh], [look_term(old.rows, old.weights)])
    found = nearest_neighbours(vectors)
    terms = [look_term(found.rows, found.weights)]
    low, high = known[~fresh].min(axis=0), known[~fresh].max(axis=0)
    room = np.float32(MARGIN) * (high - low)
    box = (low - room, high + room)
    placed = place(known, fresh, vectors, terms, box)
    placing_s = best(lambda: place(known, fresh, vectors, terms, box), 3 * runs)
    refit_s, refitted = cpu(lambda: lay_out(vectors, terms, placed))
    score = trustworthiness(alike(vectors), placed)
    again = trustworthiness(alike(vectors), refitted)
    return {
        "placed": int(fresh.sum()),
        "place_cpu_s": round(placing_s, 4),
        "refit_cpu_s": round(refit_s, 2),
        "place_ratio": round(placing_s / refit_s, 4),
        "old_points_moved": int((placed[~fresh] != known[~fresh]).any(axis=1).sum()),
        "trustworthiness_with_placed": round(score, 4) if score else None,
        "trustworthiness_of_the_refit": round(again, 4) if again else None,
    }


def measure(n: int, runs: int) -> tuple[dict[str, Any], Vectors]:
    vectors = draw(n)
    graph_s, found = cpu(lambda: nearest_neighbours(vectors))
    terms = [look_term(found.rows, found.weights)]
    layout_s, places = cpu(lambda: lay_out(vectors, terms))
    layout_s = min([layout_s, *(cpu(lambda: lay_out(vectors, terms))[0] for _ in range(runs - 1))])
    score = trustworthiness(alike(vectors), places)
    details: dict[str, Any] = {
        "photos": n,
        "graph_cpu_s": round(graph_s, 2),
        "layout_cpu_s": round(layout_s, 2),
        "trustworthiness": round(score, 4) if score else None,
    }
    details |= clusters(vectors, found.rows, found.weights, max(9, runs))
    details |= placing(vectors, runs)
    say(details)
    return details, vectors


def stock(vectors: Vectors) -> dict[str, Any]:
    """umap-learn as its manual says, seeded, compiled on a few photos before."""
    import umap

    umap.UMAP(n_components=3, metric="cosine", random_state=42).fit_transform(draw(500))
    model = umap.UMAP(n_components=3, metric="cosine", random_state=42)
    began = time.monotonic()
    seconds, places = cpu(lambda: model.fit_transform(vectors))
    score = trustworthiness(alike(vectors), np.asarray(places, np.float32))
    assert score is not None
    return {
        "stock_cpu_s": round(seconds, 2),
        "stock_wall_s": round(time.monotonic() - began, 2),
        "stock_trustworthiness": round(score, 4),
    }


def exponents(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """e where the time grows as nᵉ, from the smallest size to the largest."""
    small, large = sizes[0], sizes[-1]
    grown = math.log(large["photos"] / small["photos"])
    names = ("graph_cpu_s", "layout_cpu_s", "cluster_cpu_s", "place_cpu_s")
    return {name: round(math.log(large[name] / small[name]) / grown, 2) for name in names}


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_000, 10_000])
    parser.add_argument("--runs", type=int, default=2, help="repetitions of each time of ours")
    parser.add_argument(
        "--no-stock", action="store_true", help="leave umap-learn out, and the value"
    )
    chosen = parser.parse_args()
    threadpool_limits(1, "blas")  # its threads wait spinning, which would count as CPU time
    small = draw(200)
    found = nearest_neighbours(small)
    places = lay_out(small, [look_term(found.rows, found.weights)])
    clustering.cluster(small, found.rows, found.weights)
    sizes: list[dict[str, Any]] = []
    value: float | None = None
    compared: dict[str, Any] = {}
    at = max([n for n in chosen.sizes if n <= STOCK_AT_MOST], default=0)
    for n in sorted(chosen.sizes):
        details, vectors = measure(n, chosen.runs)
        sizes.append(details)
        if n == at and not chosen.no_stock:
            compared = {"photos": n, **stock(vectors)}
            value = details["layout_cpu_s"] / compared["stock_cpu_s"]
            whole = details["layout_cpu_s"] + details["graph_cpu_s"]
            compared["with_graph"] = round(whole / compared["stock_cpu_s"], 3)
            compared["trustworthiness_less_stock"] = round(
                details["trustworthiness"] - compared["stock_trustworthiness"], 4
            )
            say(compared)
    judged = next((one for one in sizes if one["photos"] == at), sizes[-1])
    holds = {
        "layout": value is None or value <= BARS["layout"],
        "trustworthiness": compared.get("trustworthiness_less_stock", 0)
        >= -BARS["trustworthiness"],
        "clusters": judged["cluster_ratio"] <= BARS["clusters"],
        "placing": judged["place_ratio"] <= BARS["placing"],
        "nothing_moved": not any(one["old_points_moved"] for one in sizes),
    }
    result = {
        "name": "layout",
        "value": None if value is None else round(value, 4),
        "unit": "ratio",
        "baseline": "umap-learn's fit_transform in 3D, cosine, seeded; CPU time",
        "bar": BARS["layout"],
        "holds": all(holds.values()),
        "runs": chosen.runs,
        "details": {
            "holds": holds,
            "stock": compared,
            "sizes": sizes,
            "exponents": exponents(sizes) if len(sizes) > 1 else {},
            "warmed_up_on": len(places),
        },
    }
    return report(result, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
