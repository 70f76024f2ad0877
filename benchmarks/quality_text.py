"""How well the pocket profile finds photos by words: `python benchmarks/quality_text.py --data DIR`.

Value: text→photo recall@10, the mean over five seeded splits of data/captions. In each the head is
trained on 400 photos, by the code that trained the committed head, and scored among the other 300
with all their captions as queries; no photo is ever scored by a head that has seen it. Baseline: the
label expectation alone, on the same photos.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.core.vectors import normalised
from app.encoders import train_pocket
from app.encoders.lite2 import Lite2
from app.encoders.minilm import MiniLM
from benchmarks._report import arguments, report

SPLITS, TRAINED = 5, 400
BAR = 0.63


def measure(data: train_pocket.Captioned, labels: np.ndarray, seed: int) -> dict[str, float]:
    """One split: recall@10 of the head and of the label expectation alone."""
    order = np.random.default_rng(seed).permutation(len(data))
    train, rest = data[order[:TRAINED]], data[order[TRAINED:]]
    language, strength = train_pocket.fit(train, labels)
    named = normalised(rest.photos.classes @ labels)
    return {
        "seed": seed,
        "recall_at_10": train_pocket.score(language, rest),
        "label_expectation": train_pocket.recall(named, rest.captions, language.caption_mean),
        "strength": strength,
        "scored": len(rest),
    }


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    chosen = parser.parse_args()
    started = time.monotonic()
    folder = chosen.data / "captions"
    with tempfile.TemporaryDirectory() as models:
        text_net = MiniLM(Path(models))
        image_net = Lite2(Path(models), threads=2)
        labels = train_pocket.label_vectors(text_net)
        data = train_pocket.collect(folder / "captions.tsv", folder, image_net, text_net)
        runs = [measure(data, labels, seed) for seed in range(SPLITS)]
    value = statistics.mean(run["recall_at_10"] for run in runs)
    result = {
        "name": "quality_text",
        "value": round(value, 4),
        "unit": "recall@10",
        "baseline": {
            "name": "label expectation alone",
            "value": round(statistics.mean(run["label_expectation"] for run in runs), 4),
        },
        "bar": BAR,
        "holds": value >= BAR,
        "runs": SPLITS,
        "details": {
            "splits": runs,
            "trained_on": TRAINED,
            "queries_a_photo": int(data.captions.shape[1]),
            "seconds": round(time.monotonic() - started, 1),
        },
    }
    return report(result, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
