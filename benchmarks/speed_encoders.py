"""What the pocket encoders cost: `python benchmarks/speed_encoders.py --data DIR [--json]`.

Value: CPU time of dlib's own face network over that of our ONNX graph of it, median of paired runs
on the same chips. `details` holds the wall time of each part on this machine, and its memory.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.encoders import nets, registry
from app.encoders.packages import dlib_face_weights
from benchmarks._report import arguments, report

PAIRS, CHIPS, PHOTOS, LONG_SIDE = 5, 8, 64, 1024


def megabytes() -> int:
    memory = psutil.Process().memory_full_info()
    return round(getattr(memory, "pss", memory.uss) / 1e6)


def seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


def load(path: Path) -> np.ndarray:
    photo = Image.open(path).convert("RGB")
    scale = LONG_SIDE / max(photo.size)
    return np.asarray(photo.resize((round(photo.width * scale), round(photo.height * scale))))


def face_network(models: Path) -> list[float]:
    """Ratios of CPU time, dlib's network over ours."""
    import dlib

    chips = np.random.default_rng(0).integers(0, 256, (CHIPS, 150, 150, 3), dtype=np.uint8)
    theirs = dlib.face_recognition_model_v1(str(dlib_face_weights()))
    ours = nets.open_session(nets.ensure(nets.POCKET_FACE, models)["dlib-face"])
    ours.run(None, {"chips": chips})
    return [
        seconds(lambda: [theirs.compute_face_descriptor(c) for c in chips], time.process_time)
        / seconds(lambda: ours.run(None, {"chips": chips}), time.process_time)
        for _ in range(PAIRS)
    ]


def parts(models: Path, folder: Path) -> dict[str, object]:
    """Wall times and memory of the text, image and face encoders, loaded in this order."""
    found: dict[str, object] = {"memory_start_mb": megabytes()}
    started = time.perf_counter()
    texts = registry.load_text_encoder("pocket", models, threads=1)
    found["text_start_s"] = round(time.perf_counter() - started, 2)
    texts.encode_texts(["warm"])
    queries = [f"two people near the {word}" for word in ("sea", "bar", "tent", "stage", "door")]
    times = [seconds(lambda q=q: texts.encode_texts([q]), time.perf_counter) for q in queries]
    found |= {"text_query_ms": round(statistics.median(times) * 1e3, 1)}
    found["memory_text_mb"] = megabytes()
    started = time.perf_counter()
    images, faces = (
        function("pocket", models)
        for function in (registry.load_image_encoder, registry.load_face_encoder)
    )
    found["image_and_face_start_s"] = round(time.perf_counter() - started, 2)
    found["memory_all_loaded_mb"] = megabytes()
    photos = [load(path) for path in sorted(folder.iterdir())[:PHOTOS]]
    before = megabytes()
    images.encode_images(photos[:4])
    wall = seconds(lambda: images.encode_images(photos), time.perf_counter)
    found["images_per_second"] = round(len(photos) / wall, 1)
    wall = seconds(lambda: images.encode_images(photos), time.process_time)
    found["image_cpu_ms"] = round(wall / len(photos) * 1e3, 1)
    counts = [len(one) for one in faces.detect(photos)]
    for name, wanted in (("none", range(1)), ("one", range(1, 2)), ("several", range(2, 99))):
        some = [photo for photo, count in zip(photos, counts, strict=True) if count in wanted]
        cpu = seconds(lambda some=some: faces.detect(some), time.process_time)
        found[f"faces_{name}_cpu_ms"] = round(cpu / max(1, len(some)) * 1e3, 1)
        found[f"faces_{name}_photos"] = len(some)
    found["faces_per_photo_with_several"] = round(
        statistics.mean([count for count in counts if count > 1] or [0]), 1
    )
    wall = seconds(lambda: faces.detect(photos), time.perf_counter)
    found["faces_photos_per_second"] = round(len(photos) / wall, 1)
    found["memory_growth_while_running_mb"] = megabytes() - before
    time.sleep(3)
    found["memory_growth_idle_mb"] = megabytes() - before
    return found


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        started = time.perf_counter()
        nets.ensure((*nets.POCKET_IMAGE, *nets.POCKET_TEXT, *nets.POCKET_FACE), models)
        export = round(time.perf_counter() - started, 1)
        details = {"export_once_s": export, **parts(models, chosen.data / "captions" / "full")}
        ratios = face_network(models)
    value = round(statistics.median(ratios), 2)
    result = {
        "name": "speed_encoders",
        "value": value,
        "unit": "ratio",
        "baseline": "dlib's own face network, CPU time on the same chips",
        "bar": 2.0,
        "holds": value >= 2.0,
        "runs": PAIRS,
        "details": {"ratios": [round(ratio, 2) for ratio in ratios], **details},
    }
    return report(result, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
