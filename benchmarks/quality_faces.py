"""How well the pocket profile tells people apart: `python benchmarks/quality_faces.py --data DIR`.

Value: of the same-person pairs in data/faces/lfw, the share that lies closer together than the
nearest 0.3 % of the different-person pairs. Baseline: the same with dlib's plain vectors, without
the mirror image. Bar: the baseline. Of the faces in a photo the one nearest its centre counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.encoders.pocket_faces import CLUSTER_CUT, SAME_PERSON, PocketFaceEncoder
from benchmarks._report import arguments, report

FALSE_PAIRS = 0.003
THRESHOLDS = (0.5, 0.55, 0.6)


class Plain(PocketFaceEncoder):
    """Describes the chip alone, as dlib does."""

    def _describe(self, chips: np.ndarray) -> np.ndarray:
        return self._net.run(None, {"chips": chips})[0]


def describe(encoder: PocketFaceEncoder, paths: list[Path]) -> np.ndarray:
    """The vector of each photo's most central face, (n, 128); NaN where none was found."""
    vectors = np.full((len(paths), encoder.info.dim), np.nan, np.float32)
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    for row, faces in enumerate(encoder.detect(pictures)):
        if faces:
            middle = [abs(f.box[0] + f.box[2] - 1) + abs(f.box[1] + f.box[3] - 1) for f in faces]
            vectors[row] = faces[int(np.argmin(middle))].vector
    return vectors


def bcubed(vectors: np.ndarray, people: np.ndarray, cut: float) -> dict[str, float]:
    """Average linkage cut at a distance, scored by B-cubed (Bagga and Baldwin, 1998)."""
    found = fcluster(linkage(vectors, "average"), cut, "distance")
    together, same = found[:, None] == found[None], people[:, None] == people[None]
    right = (together & same).sum(1)
    precision, recall = (right / together.sum(1)).mean(), (right / same.sum(1)).mean()
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": round(float(f1), 4), "precision": round(float(precision), 4)}


def judge(vectors: np.ndarray, people: np.ndarray) -> dict[str, object]:
    """Pair and cluster figures of one set of vectors."""
    upper = np.triu_indices(len(people), 1)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)[upper]
    same = (people[:, None] == people[None])[upper]
    limit = np.quantile(apart[~same], FALSE_PAIRS)
    return {
        "found": round(float((apart[same] < limit).mean()), 4),
        "pairs_below": {
            str(at): {
                "same": round(float((apart[same] < at).mean()), 4),
                "different": round(float((apart[~same] < at).mean()), 4),
            }
            for at in THRESHOLDS
        },
        "bcubed": {str(at): bcubed(vectors, people, at) for at in THRESHOLDS},
    }


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    chosen = parser.parse_args()
    started = time.monotonic()
    paths = sorted((chosen.data / "faces" / "lfw").glob("*/*.jpg"))
    if not paths:
        parser.error(f"there is no faces/lfw in {chosen.data}")
    with tempfile.TemporaryDirectory() as models:
        ours, plain = (
            describe(encoder(Path(models), threads=2), paths)
            for encoder in (PocketFaceEncoder, Plain)
        )
    seen = np.isfinite(ours).all(1)
    people = np.array([path.parent.name for path in paths])[seen]
    found, baseline = judge(ours[seen], people), judge(plain[seen], people)
    result = {
        "name": "quality_faces",
        "value": found["found"],
        "unit": "same-person pairs found at 0.3 % false pairs",
        "baseline": {"name": "dlib's vectors without the mirror image", **baseline},
        "bar": baseline["found"],
        "holds": found["found"] >= baseline["found"],
        "runs": 1,
        "details": {
            "photos": len(paths),
            "photos_with_a_face": int(seen.sum()),
            "people": len(set(people)),
            "same_person": SAME_PERSON,
            "cluster_cut": CLUSTER_CUT,
            **found,
            "seconds": round(time.monotonic() - started, 1),
        },
    }
    return report(result, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
