"""The built-in sample: photographs that ship inside scikit-image, matplotlib and scikit-learn.

Each is also given as a burst of slightly different frames and as edited copies, the way a real
event's photos come, over two events that share people. All in memory: the demo's origin serves
them, and nothing of them is written to disk.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from app.core.errors import BadInput

PACKAGE_FOLDERS = {
    "skimage": "data",
    "matplotlib": "mpl-data/sample_data",
    "sklearn": "datasets/images",
}
BURST_FRAMES = 4
_START = datetime(2026, 6, 20, 14, 0)  # noqa: DTZ001 - a camera's wall clock has no zone


@dataclass(frozen=True, slots=True)
class Subject:
    """One base photograph. `events` are numbers of the events that it appears in."""

    package: str
    file: str
    title: str
    events: tuple[int, ...]


EVENT_NAMES = ("Science fair", "Museum night")

SUBJECTS = (
    Subject("skimage", "astronaut.png", "Astronaut in front of a space shuttle", (0, 1)),
    Subject("matplotlib", "grace_hopper.jpg", "Officer in uniform", (0, 1)),
    Subject("skimage", "camera.png", "Man with a film camera", (0, 1)),
    Subject("skimage", "rocket.jpg", "Rocket launch", (0,)),
    Subject("skimage", "chelsea.png", "Tabby cat", (0,)),
    Subject("skimage", "coffee.png", "Cup of coffee", (0,)),
    Subject("skimage", "motorcycle_left.png", "Motorcycle in a garage", (0,)),
    Subject("skimage", "moon.png", "Surface of the moon", (0,)),
    Subject("skimage", "hubble_deep_field.jpg", "Deep field of galaxies", (0,)),
    Subject("skimage", "clock_motion.png", "Clock on a wall", (0,)),
    Subject("skimage", "grass.png", "Grass", (0,)),
    Subject("sklearn", "china.jpg", "Temple with a green roof", (1,)),
    Subject("sklearn", "flower.jpg", "Red and yellow flower", (1,)),
    Subject("skimage", "coins.png", "Ancient coins", (1,)),
    Subject("skimage", "page.png", "Printed page", (1,)),
    Subject("skimage", "brick.png", "Brick wall", (1,)),
    Subject("skimage", "gravel.png", "Gravel", (1,)),
    Subject("skimage", "ihc.png", "Tissue under a microscope", (1,)),
    Subject("skimage", "retina.jpg", "Retina of an eye", (1,)),
    Subject("skimage", "cell.png", "Cell under a microscope", (1,)),
)


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """A photo of the sample, encoded as JPEG; `event` numbers EVENT_NAMES."""

    event: int
    name: str
    title: str
    taken_at: datetime
    photographer: str
    data: bytes


def builtin_sample() -> Iterator[SamplePhoto]:
    """All photos of the built-in sample, at least 150, always the same bytes for one Pillow."""
    rng = np.random.default_rng(20260620)
    for number, subject in enumerate(SUBJECTS):
        base = _open(subject)
        for event in subject.events:
            at = _START + timedelta(hours=6 * event, minutes=9 * number)
            yield from _burst(subject, base, event, at, rng)
            yield from _edited(subject, base, event, at + timedelta(minutes=3))


def _open(subject: Subject) -> Image.Image:
    # The package itself is not imported: its folder is all that is needed, and imports are slow.
    found = importlib.util.find_spec(subject.package)
    if found is None or found.origin is None:
        raise BadInput(
            f"The demo's photos need the package {subject.package}.",
            cure="Install ClairVision again with all its dependencies.",
        )
    path = Path(found.origin).parent / PACKAGE_FOLDERS[subject.package] / subject.file
    with Image.open(path) as image:
        return image.convert("RGB")


def _burst(
    subject: Subject, base: Image.Image, event: int, at: datetime, rng: np.random.Generator
) -> Iterator[SamplePhoto]:
    """Frames a third of a second apart: the camera moves a little, the light flickers."""
    for frame in range(BURST_FRAMES):
        turn = float(rng.uniform(-0.8, 0.8)) if frame else 0.0
        image = base.rotate(turn, Image.Resampling.BICUBIC)
        image = _shifted(image, rng.uniform(0.0, 0.02, 4) + 0.015)
        image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.96, 1.04)))
        noise = rng.normal(0.0, 2.0, (image.height, image.width, 1))
        pixels = np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8)
        taken = at + timedelta(milliseconds=333 * frame)
        name = f"{Path(subject.file).stem}-{event + 1}-{frame + 1}.jpg"
        yield _photo(subject, Image.fromarray(pixels), event, name, taken, 90)


def _shifted(image: Image.Image, margins: np.ndarray) -> Image.Image:
    left, top, right, bottom = (float(m) for m in margins)
    box = (
        left * image.width,
        top * image.height,
        (1 - right) * image.width,
        (1 - bottom) * image.height,
    )
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _edited(subject: Subject, base: Image.Image, event: int, at: datetime) -> Iterator[SamplePhoto]:
    """Copies as people make them: smaller, cropped, brighter, black and white."""
    width, height = base.size
    crop = (width // 20, height // 20, width - width // 20, height - height // 20)
    copies = {
        "small": base.resize((width * 2 // 3, height * 2 // 3), Image.Resampling.LANCZOS),
        "crop": base.crop(crop),
        "bright": ImageEnhance.Brightness(base).enhance(1.2),
        "mono": ImageOps.grayscale(base).convert("RGB"),
    }
    for number, (how, image) in enumerate(copies.items()):
        name = f"{Path(subject.file).stem}-{event + 1}-{how}.jpg"
        yield _photo(subject, image, event, name, at + timedelta(seconds=20 * number), 80)


def _photo(
    subject: Subject, image: Image.Image, event: int, name: str, at: datetime, quality: int
) -> SamplePhoto:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "ClairVision", f"Sample {event + 1}"  # Make, Model
    exif[0x0132] = at.strftime("%Y:%m:%d %H:%M:%S")  # DateTime
    details = exif.get_ifd(0x8769)
    details[0x9003] = at.strftime("%Y:%m:%d %H:%M:%S")  # DateTimeOriginal
    details[0x9291] = f"{at.microsecond // 1000:03d}"  # SubSecTimeOriginal
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, exif=exif)
    return SamplePhoto(event, name, subject.title, at, ("Ada", "Grace")[event % 2], data.getvalue())
