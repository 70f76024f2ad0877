"""Trains the pocket head: `python -m app.encoders.train_pocket --captions TSV --images DIR`.

The language part is a ridge regression (closed form, so every run gives the same head) from
EfficientNet features to the mean of a photo's captions in MiniLM's space; its strength is chosen by
cross-validation inside the training photos. Mirrored photos count as further samples.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.core.errors import BadInput
from app.core.vectors import Pixels, normalised
from app.encoders import head
from app.encoders.lite2 import Lite2
from app.encoders.minilm import MiniLM

STRENGTHS = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
LABEL_SHARE = 0.75
_FOLDS = 4
_LONG_SIDE = 1024

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Described:
    """n photos as the backbone sees them: `features` (n, 1280), `classes` (n, 1000)."""

    features: Array
    classes: Array

    def __getitem__(self, rows: NDArray[np.intp]) -> Described:
        return Described(self.features[rows], self.classes[rows])


@dataclass(frozen=True, slots=True)
class Captioned:
    """n photos, their mirror images, and their captions as MiniLM vectors (n, c, 384)."""

    photos: Described
    mirrored: Described
    captions: Array

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, rows: NDArray[np.intp]) -> Captioned:
        return Captioned(self.photos[rows], self.mirrored[rows], self.captions[rows])


def read_captions(path: Path) -> dict[str, list[str]]:
    """A TSV with the columns `image` and `caption` → captions by image, in file order.

    Each image must have equally many captions. Raises BadInput otherwise.
    """
    captions: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                captions.setdefault(row["image"], []).append(row["caption"])
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} can't be read as captions.",
            cure="It must be a UTF-8 TSV with the columns image and caption.",
        ) from error
    if len({len(texts) for texts in captions.values()}) != 1:
        raise BadInput(f"{path} must give every image equally many captions, and one at least.")
    return captions


def read_picture(path: Path) -> Pixels:
    """An upright sRGB picture, at most 1024 px on its long side."""
    try:
        with Image.open(path) as opened:
            opened.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except OSError as error:
        raise BadInput(f"{path} can't be read as a picture.") from error


def describe(net: Lite2, paths: Sequence[Path], *, mirrored: bool = False) -> Described:
    """Runs the backbone over photo files, a few in memory at a time."""
    parts = []
    for start in range(0, len(paths), 32):
        pictures = [read_picture(path) for path in paths[start : start + 32]]
        if mirrored:
            pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
        parts.append(net.describe(pictures))
    return Described(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def label_vectors(net: MiniLM) -> Array:
    """ImageNet's 1,000 classes in MiniLM's space, (1000, 384), their mean subtracted.

    Each is the mean of three readings: open_clip's curated name, that name as "a photo of a …", and
    WordNet's name with its definition.
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES  # noqa: PLC0415
    from timm.data.imagenet_info import ImageNetInfo  # noqa: PLC0415

    wordnet = ImageNetInfo()
    names = list(IMAGENET_CLASSNAMES)
    readings = (
        names,
        [f"a photo of a {name}." for name in names],
        [wordnet.index_to_description(index, detailed=True) for index in range(len(names))],
    )
    vectors = normalised(np.sum([net.encode(texts) for texts in readings], axis=0))
    centred: Array = vectors - vectors.mean(0)
    return centred


def recall(pictures: Array, captions: Array, caption_mean: Array, *, at: int = 10) -> float:
    """Share of the captions (n, c, 384) that rank their own photo (n, 384) among the first `at`."""
    count, each, _ = captions.shape
    queries = normalised(captions.reshape(count * each, -1) - caption_mean)
    scores = queries @ pictures.T
    own = scores[np.arange(count * each), np.repeat(np.arange(count), each)]
    return float(((scores > own[:, None]).sum(1) < at).mean())


def _ridge(features: Array, targets: Array, strength: float) -> tuple[Array, Array]:
    """Weights (1280, 384) and bias (384,) of targets − mean on features, in the dual form."""
    mean = features.mean(0)
    centred = features.astype(np.float64) - mean
    gram = centred @ centred.T
    gram[np.diag_indices_from(gram)] += strength
    weights = centred.T @ np.linalg.solve(gram, targets - targets.mean(0))
    return weights.astype(np.float32), (-mean @ weights).astype(np.float32)


def _fit_at(data: Captioned, labels: Array, strength: float) -> head.LanguageHead:
    targets = normalised(data.captions.mean(1))
    features = np.concatenate([data.photos.features, data.mirrored.features])
    weights, bias = _ridge(features, np.concatenate([targets, targets]), strength)
    return head.LanguageHead(weights, bias, labels, targets.mean(0), LABEL_SHARE)


def score(language: head.LanguageHead, data: Captioned) -> float:
    """Text→photo recall@10 of a head on photos it has not seen."""
    pictures = language.pictures(data.photos.features, data.photos.classes)
    return recall(pictures, data.captions, language.caption_mean)


def fit(data: Captioned, labels: Array) -> tuple[head.LanguageHead, float]:
    """The language head of these photos, and the ridge strength that cross-validation chose."""
    order = np.random.default_rng(0).permutation(len(data))
    folds = np.array_split(order, _FOLDS)
    found = [0.0] * len(STRENGTHS)
    for fold in folds:
        rest = data[np.setdiff1d(order, fold)]
        for index, strength in enumerate(STRENGTHS):
            found[index] += score(_fit_at(rest, labels, strength), data[fold]) / _FOLDS
    strength = STRENGTHS[int(np.argmax(found))]
    return _fit_at(data, labels, strength), strength


def principal_components(features: Array) -> tuple[Array, Array]:
    """Mean (1280,) and the first 384 principal axes (1280, 384) of unlabelled features."""
    mean = features.mean(0)
    _, _, axes = np.linalg.svd(features - mean, full_matrices=False)
    if len(axes) < head.PART:
        raise BadInput(f"The PCA needs at least {head.PART} photos, not {len(axes)}.")
    return mean, np.ascontiguousarray(axes[: head.PART].T)


def collect(captions: Path, images: Path, image_net: Lite2, text_net: MiniLM) -> Captioned:
    """Everything that `fit` needs of a folder of captioned photos."""
    texts = read_captions(captions)
    paths = [images / name for name in texts]
    vectors = text_net.encode([text for group in texts.values() for text in group])
    return Captioned(
        describe(image_net, paths),
        describe(image_net, paths, mirrored=True),
        vectors.reshape(len(paths), -1, vectors.shape[1]),
    )


def train(data: Captioned, labels: Array, unlabelled: Array) -> tuple[head.PocketHead, float]:
    """The whole head; `unlabelled` (m, 1280) are further features for the PCA."""
    language, strength = fit(data, labels)
    mean, components = principal_components(np.concatenate([data.photos.features, unlabelled]))
    return head.PocketHead(mean, components, language), strength


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.encoders.train_pocket")
    parser.add_argument("--captions", type=Path, required=True, help="TSV: image, caption")
    parser.add_argument("--images", type=Path, required=True, help="folder of those images")
    parser.add_argument("--unlabelled", type=Path, help="folder of further photos for the PCA")
    parser.add_argument("--models", type=Path, required=True, help="folder for prepared models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=head.LATEST)
    chosen = parser.parse_args(arguments)
    image_net = Lite2(chosen.models, threads=chosen.threads)
    text_net = MiniLM(chosen.models, threads=chosen.threads)
    data = collect(chosen.captions, chosen.images, image_net, text_net)
    further = sorted(chosen.unlabelled.rglob("*.[jJ][pP]*[gG]")) if chosen.unlabelled else []
    unlabelled = (
        describe(image_net, further).features if further else np.empty((0, 1280), np.float32)
    )
    trained, strength = train(data, label_vectors(text_net), unlabelled)
    about = {"photos": str(len(data)), "strength": str(strength), "pca": str(len(further))}
    head.save(trained, chosen.out, about)
    sys.stderr.write(f"{chosen.out}: {about}, {chosen.out.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
