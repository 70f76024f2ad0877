"""The pocket head: from EfficientNet features to the one vector that pictures and texts share.

    picture → [ √a · visual ; √(1−a) · language ]   768-d, unit length
    text    → [      0      ;      language     ]   768-d, unit length

*Visual*, 384-d: the features' principal components (PCA without whitening), scaled to unit length.
*Language*, 384-d: a ridge regression from the features into MiniLM's caption space, plus a share of
the label expectation Σ p(class) · MiniLM(class), each scaled to unit length. The mean caption is
subtracted on both sides, so that unrelated pairs lie near 0 instead of sharing one large component.

Cosine of two pictures: a · cos(visual) + (1−a) · cos(language). Cosine of a text and a picture:
√(1−a) · cos(language), so it never exceeds √(1−a); its order is that of the language part alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.core.errors import ModelUnavailable
from app.core.vectors import Vectors, normalised

PART = 384
DIMENSION = 2 * PART
VISUAL_SHARE = 0.5
LATEST = Path(__file__).parent / "heads" / "pocket-v1.npz"

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LanguageHead:
    """`weights` (1280, 384), `bias` (384,), `labels` (1000, 384) centred MiniLM class vectors,
    `caption_mean` (384,), `label_share`: weight of the label expectation beside the regression."""

    weights: Array
    bias: Array
    labels: Array
    caption_mean: Array
    label_share: float

    def pictures(self, features: Array, classes: Array) -> Array:
        """Features (n, 1280) and class probabilities (n, 1000) → (n, 384) unit vectors."""
        seen = normalised(features @ self.weights + self.bias)
        named = normalised(classes @ self.labels)
        return normalised(seen + self.label_share * named)


@dataclass(frozen=True, slots=True)
class PocketHead:
    """`components` (1280, 384) and `mean` (1280,) of the PCA, and the language head."""

    mean: Array
    components: Array
    language: LanguageHead

    def pictures(self, features: Array, classes: Array) -> Vectors:
        """Features (n, 1280) and class probabilities (n, 1000) → (n, 768) unit vectors."""
        visual = normalised((features - self.mean) @ self.components)
        language = self.language.pictures(features, classes)
        parts = (np.sqrt(VISUAL_SHARE) * visual, np.sqrt(1 - VISUAL_SHARE) * language)
        return normalised(np.concatenate(parts, axis=1))


def texts(sentences: Array, caption_mean: Array) -> Vectors:
    """MiniLM vectors (n, 384) → (n, 768) unit vectors, zero in the visual part."""
    vectors = np.zeros((len(sentences), DIMENSION), np.float32)
    vectors[:, PART:] = normalised(sentences - caption_mean)
    return vectors


def save(head: PocketHead, path: Path, about: dict[str, str]) -> None:
    """Writes float16 arrays: about 2.7 MB. Replaces the file at once."""
    language = head.language
    arrays = {
        "mean": head.mean,
        "components": head.components,
        "weights": language.weights,
        "bias": language.bias,
        "labels": language.labels,
        "caption_mean": language.caption_mean,
    }
    stored: dict[str, Any] = {name: values.astype(np.float16) for name, values in arrays.items()}
    stored["label_share"] = np.float32(language.label_share)
    stored["about"] = np.array(json.dumps(about))
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, **stored)
    partial.replace(path)


def load_caption_mean(path: Path = LATEST) -> Array:
    """What the text side needs of the head, (384,). Raises ModelUnavailable like `load`."""
    return _arrays(path, "caption_mean")["caption_mean"]


def load(path: Path = LATEST) -> PocketHead:
    """Raises ModelUnavailable if the file is missing or damaged."""
    array = _arrays(
        path, "mean", "components", "weights", "bias", "labels", "caption_mean", "label_share"
    )
    language = LanguageHead(
        array["weights"],
        array["bias"],
        array["labels"],
        array["caption_mean"],
        float(array["label_share"]),
    )
    return PocketHead(array["mean"], array["components"], language)


def _arrays(path: Path, *names: str) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: np.asarray(stored[name], dtype=np.float32) for name in names}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ModelUnavailable(
            f"The pocket head {path.name} is missing or damaged.",
            cure="Reinstall ClairVision, or train one: python -m app.encoders.train_pocket",
        ) from error
