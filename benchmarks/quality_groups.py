"""How well photos are grouped: `python benchmarks/quality_groups.py --data DIR`.

Value: F1 of the look-alike pairs among copies that were cropped (10 % of each side's length), exposed
otherwise, watermarked or mirrored, at the default sensitivity. Bar: 0.95, and exact copies (resized,
recompressed, turned by EXIF) with precision and recall 1.0, and no group that joins two scenes.

It runs what an ingest runs, in memory: decode pool, encoder, graph, pairs, grouping. Copies here
are made of photos in odd places; the thresholds were chosen on copies of photos in even places.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.encoders.registry import load_image_encoder
from app.graph.grouping import STEPS, Grouper, Photos, tally, thresholds
from app.graph.groups import facts_of, grouping_pairs
from app.graph.knn import nearest_neighbours
from app.graph.pairs import Look, look_closely, nothing
from app.ingest.decode import Decoded, DecodePool
from benchmarks._report import arguments, report, say

FOLDERS = ("captions/full", "captions/small", "classes/imagenet")
UKBENCH, BURST = "duplicates/imagededup/tests/data/base_images", "duplicates/burst"
COPIED = 5  # one in so many photos of odd places gets copies
BAR = 0.95
BEGAN = datetime(2026, 7, 14, 15, 0, 0)  # noqa: DTZ001 - a camera's wall clock


@dataclass(frozen=True)
class Sample:
    """A file, the scene it shows, and how it was made. Samples of one `frame` are exact copies."""

    data: bytes
    scene: str
    how: str
    frame: str


def jpeg(image: Image.Image, quality: int = 90, exif: Image.Exif | None = None) -> bytes:
    out = io.BytesIO()
    more = {"exif": exif.tobytes()} if exif else {}
    image.save(out, "JPEG", quality=quality, icc_profile=image.info.get("icc_profile"), **more)
    return out.getvalue()


def taken(at: datetime, turn: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Clair", "Clair One", turn
    exif.get_ifd(0x8769)[0x9003] = at.strftime("%Y:%m:%d %H:%M:%S")
    return exif


def cropped(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """A tenth of both sides' length is cut off, somewhere."""
    left, top = random.uniform(0, 0.1, 2)
    width, height = image.size
    box = (left * width, top * height, (0.9 + left) * width, (0.9 + top) * height)
    found = image.crop(tuple(round(edge) for edge in box))
    found.info = image.info
    return found


def watermarked(image: Image.Image, random: np.random.Generator) -> Image.Image:
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    place = (image.width * random.uniform(0.02, 0.3), image.height * random.uniform(0.2, 0.75))
    font = ImageFont.load_default(size=max(14, image.width // 9))
    ImageDraw.Draw(layer).text(
        place,
        "© Studio 2026",
        font=font,
        fill=(255, 255, 255, 150),
        stroke_width=1,
        stroke_fill=(0, 0, 0, 150),  # or nothing would be seen of it in a white sky
    )
    found = image.copy()
    found.paste(layer, (0, 0), layer)
    return found


def copies(path: Path, random: np.random.Generator) -> list[Sample]:
    """Exact copies and look-alikes of a photo."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
        image.info = {"icc_profile": opened.info.get("icc_profile")}
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turn = Image.Exif()
    turn[0x0112] = 6
    exact = {
        "half size": jpeg(image.resize((image.width // 2, image.height // 2))),
        "two thirds": jpeg(image.resize((image.width * 2 // 3, image.height * 2 // 3)), 80),
        "recompressed": jpeg(image, int(random.integers(40, 71))),
        "turned by EXIF": jpeg(turned, 92, turn),
    }
    stops = random.uniform(0.15, 0.8) * random.choice((-1, 1))  # less is hardly an edit
    alike = {
        "cropped": jpeg(cropped(image, random)),
        "exposed": jpeg(ImageEnhance.Brightness(image).enhance(float(2**stops))),
        "watermarked": jpeg(watermarked(image, random)),
        "mirrored": jpeg(ImageOps.mirror(image)),
    }
    name = path.name
    return [Sample(data, name, how, name) for how, data in exact.items()] + [
        Sample(data, name, how, f"{name} {how}") for how, data in alike.items()
    ]


def handheld(path: Path, number: int, random: np.random.Generator) -> list[Sample]:
    """Five frames of a hand that shakes and a subject that moves, a second apart, and one more of the
    same an hour later."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    width, height = image.size
    subject = image.crop((width // 3, height // 3, width // 2, height // 2))
    start = BEGAN + timedelta(hours=3 * number)
    samples = []
    for frame in range(6):
        moved = image.copy()
        x, y = random.uniform(0.1, 0.7, 2)
        moved.paste(subject, (round(x * width), round(y * height)))
        left, top = random.uniform(0, 0.03, 2)
        box = (left * width, top * height, (0.97 + left) * width, (0.97 + top) * height)
        view = moved.crop(tuple(round(edge) for edge in box))
        at = start + (timedelta(seconds=frame) if frame < 5 else timedelta(hours=1))
        how = "burst" if frame < 5 else "an hour later"
        name = f"{path.name} {number}.{frame}"
        samples.append(Sample(jpeg(view, 92, taken(at)), f"burst {path.name}", how, name))
    return samples


def filmed(folder: Path) -> list[Sample]:
    """Consecutive frames, 30 a second, with capture times, and copies of every tenth."""
    samples = []
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        exif = taken(BEGAN - timedelta(days=1) + timedelta(seconds=number // 30))
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        samples.append(Sample(jpeg(image, 95, exif), "filmed", "filmed", path.name))
        if number % 10 == 0:
            half = image.resize((image.width // 2, image.height // 2))
            samples.append(Sample(jpeg(image, 60), "filmed", "copy", path.name))
            samples.append(Sample(jpeg(half), "filmed", "copy", path.name))
    return samples


def make(data: Path) -> list[Sample]:
    random = np.random.default_rng(11)
    originals = [p for f in (*FOLDERS, UKBENCH) for p in sorted((data / f).glob("*.[jJ]*"))]
    samples = []
    for place, path in enumerate(originals):
        samples.append(Sample(path.read_bytes(), path.name, "original", path.name))
        if place % 2 and place // 2 % COPIED == 0:
            samples += copies(path, random)
    for number, path in enumerate(originals[3::60]):
        samples += handheld(path, number, random)
    return samples + filmed(data / BURST)


async def decoded(samples: list[Sample]) -> list[Decoded]:
    async with DecodePool(2) as pool:
        return await asyncio.gather(*(pool.decode(sample.data) for sample in samples))


def columns(samples: list[Sample], photos: list[Decoded]) -> dict[str, np.ndarray[Any, Any]]:
    """As the groups stage reads them from PostgreSQL."""
    times = [p.exif.taken_at for p in photos]
    cameras = sorted({p.exif.camera or "" for p in photos})
    return {
        "sha": np.array([bytes.fromhex(p.sha256) for p in photos], "V32"),
        "phash": np.array([p.phash for p in photos], np.uint64).view(np.int64),
        "width": np.array([p.width for p in photos]),
        "height": np.array([p.height for p in photos]),
        "taken": np.array([(t - BEGAN).total_seconds() if t else np.nan for t in times]),
        "by_camera": np.array(
            [bool(t and p.exif.camera) for t, p in zip(times, photos, strict=True)]
        ),
        "shooter": np.array([cameras.index(p.exif.camera or "") for p in photos]),
    }


def pairs_within(labels: list[str] | np.ndarray[Any, Any], rows: list[int]) -> set[tuple[int, int]]:
    groups = defaultdict(list)
    for row in rows:
        groups[labels[row]].append(row)
    return {
        (a, b) for group in groups.values() for i, a in enumerate(group) for b in group[i + 1 :]
    }


def scored(truth: set[tuple[int, int]], found: set[tuple[int, int]]) -> dict[str, float]:
    right = len(truth & found)
    precision, recall = right / max(1, len(found)), right / max(1, len(truth))
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"f1": round(f1, 4), "precision": round(precision, 4), "recall": round(recall, 4)}


def by_change(
    samples: list[Sample], rows: list[int], found: set[tuple[int, int]]
) -> dict[str, float]:
    """For each change the share of its copies that are in a group with their original."""
    original = {samples[row].scene: row for row in rows if samples[row].how == "original"}
    hits = defaultdict(list)
    for row in rows:
        if samples[row].how != "original":
            first = original[samples[row].scene]
            hits[samples[row].how].append((min(first, row), max(first, row)) in found)
    return {how: round(float(np.mean(each)), 4) for how, each in sorted(hits.items())}


def across_scenes(samples: list[Sample], centre: np.ndarray[Any, Any]) -> list[list[str]]:
    """Groups with photos of more than one scene."""
    scenes = defaultdict(set)
    for row, sample in enumerate(samples):
        scenes[centre[row]].add(sample.scene.removeprefix("burst "))
    return [sorted(each) for each in scenes.values() if len(each) > 1]


def measure(data: Path) -> dict[str, Any]:
    samples = make(data)
    say(f"{len(samples)} photos")
    photos = asyncio.run(decoded(samples))
    with tempfile.TemporaryDirectory() as models:
        encoder = load_image_encoder("pocket", Path(models), threads=2)
        batches = [photos[start : start + 16] for start in range(0, len(photos), 16)]
        vectors = np.concatenate([encoder.encode_images([p.pixels for p in b]) for b in batches])
    graph = nearest_neighbours(vectors)
    source = np.repeat(np.arange(len(photos)), graph.rows.shape[1])
    facts = facts_of(columns(samples, photos))
    pictures = np.array([np.frombuffer(p.structure, np.uint8).reshape(48, 48) for p in photos])
    look = Look(
        lambda rows: (pictures[rows], np.ones(len(rows), np.bool_)),
        lambda row: photos[row].thumb,
        lambda one, other: (vectors[one] * vectors[other]).sum(axis=1),
    )
    edges = (source, graph.rows.ravel(), graph.weights.ravel())
    began = time.process_time()
    pairs = look_closely(facts, edges, nothing(), look, thresholds(100).gap)
    looking = time.process_time() - began
    shots = Photos(facts.content, facts.taken, facts.shooter)
    grouper = Grouper(shots, grouping_pairs(pairs, vectors))
    began = time.process_time()
    groups = grouper.groups(50)
    grouping = time.process_time() - began
    return {
        **judge(samples, groups),
        "pairs": len(pairs.a),
        "seconds_of_looking": round(looking, 2),
        "seconds_of_grouping": round(grouping, 4),
        "by_sensitivity": by_sensitivity(samples, grouper),
    }


def by_sensitivity(samples: list[Sample], grouper: Grouper) -> dict[str, Any]:
    """How many photos are folded, and how many groups join two scenes."""
    found = {}
    for step in STEPS[::2]:
        groups = grouper.groups(step)
        found[str(step)] = {
            "burst": tally(groups.burst),
            "lookalike": tally(groups.lookalike),
            "across_scenes": len(across_scenes(samples, groups.lookalike)),
        }
    return found


def judge(samples: list[Sample], groups: Any) -> dict[str, Any]:
    everything = list(range(len(samples)))
    frames, scenes = [s.frame for s in samples], [s.scene for s in samples]
    copied = {s.scene for s in samples if s.how == "cropped"}
    ours = [row for row in everything if samples[row].scene in copied]
    film = [row for row in everything if samples[row].how == "filmed"]
    shaken = [row for row in everything if samples[row].how in ("burst", "an hour later")]
    bursts = [f"{s.scene} {s.how}" for s in samples]
    burst_truth = {p for p in pairs_within(bursts, shaken) if samples[p[0]].how == "burst"}
    alike = pairs_within(groups.lookalike, ours)
    strange = across_scenes(samples, groups.lookalike)
    in_groups = np.bincount(groups.burst, minlength=len(samples))[groups.burst[film]] > 1
    return {
        "photos": len(samples),
        "exact": scored(pairs_within(frames, everything), pairs_within(groups.exact, everything)),
        "lookalike": scored(pairs_within(scenes, ours), alike),
        "lookalike_by_change": by_change(samples, ours, alike),
        "bursts_generated": scored(burst_truth, pairs_within(groups.burst, shaken)),
        "burst_filmed": {
            "frames": len(film),
            "in_bursts": int(in_groups.sum()),
            "bursts": len(set(groups.burst[film].tolist())),
            "largest": int(np.bincount(groups.burst[film]).max()),
        },
        "across_scenes": strange,
    }


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    chosen = parser.parse_args()
    began = time.monotonic()
    if not any((chosen.data / FOLDERS[0]).glob("*.jpg")):
        parser.error(f"there is no {FOLDERS[0]} in {chosen.data}")
    found = measure(chosen.data)
    exact, alike = found["exact"], found["lookalike"]
    perfect = exact["precision"] == exact["recall"] == 1.0
    result = {
        "name": "quality_groups",
        "value": alike["f1"],
        "unit": "F1 of look-alike pairs",
        "baseline": {"name": "what the bar asks for", "f1": BAR},
        "bar": BAR,
        "holds": alike["f1"] >= BAR and perfect and not found["across_scenes"],
        "runs": 1,
        "details": {**found, "seconds": round(time.monotonic() - began, 1)},
    }
    return report(result, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
