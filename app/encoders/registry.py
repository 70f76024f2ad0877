"""Profiles by name, and the factories of their encoders.

A profile is `pocket`, `studio`, or `studio:MODEL/TAG` with any pair that open_clip knows. Nothing
heavy is imported before a `load_…` function runs; `profile_models` never imports torch or
onnxruntime, so that the web process may ask for model ids and dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import BadInput, UnknownModel
from app.core.ports import FaceEncoder, ImageEncoder, TextEncoder
from app.core.vectors import ModelInfo
from app.encoders import clip_table, infos, weights

DEFAULT_PROFILE = "pocket"
PROFILES = ("pocket", "studio")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Profile:
    """A pair of models and how to load them: `(models_dir, device, threads) → encoder`."""

    name: str
    image: ModelInfo
    face: ModelInfo
    load_image: Callable[[Path, str, int], ImageEncoder]
    load_text: Callable[[Path, str, int], TextEncoder]
    load_face: Callable[[Path, str, int], FaceEncoder]


def profile(name: str) -> Profile:
    """Raises UnknownModel with near names."""
    kind, _, pair = name.partition(":")
    if kind == "pocket" and not pair:
        return _pocket()
    if kind == "studio":
        return _studio(name, pair or clip_table.DEFAULT)
    raise UnknownModel(name, clip_table.near(kind, (*PROFILES, "studio:MODEL/TAG")))


def profile_models(name: str) -> tuple[ModelInfo, ModelInfo]:
    """The profile's image model (texts share it) and face model. Loads nothing."""
    chosen = profile(name)
    return chosen.image, chosen.face


def load_image_encoder(
    name: str, models_dir: Path, device: str = "auto", *, threads: int | None = None
) -> ImageEncoder:
    """Raises UnknownModel, ModelUnavailable, or BadInput for an unknown device."""
    return profile(name).load_image(models_dir, _device(device), threads or _cores())


def load_text_encoder(
    name: str, models_dir: Path, device: str = "auto", *, threads: int | None = None
) -> TextEncoder:
    """Raises UnknownModel, ModelUnavailable, or BadInput for an unknown device."""
    return profile(name).load_text(models_dir, _device(device), threads or _cores())


def load_face_encoder(
    name: str, models_dir: Path, device: str = "auto", *, threads: int | None = None
) -> FaceEncoder:
    """Raises UnknownModel, ModelUnavailable, or BadInput for an unknown device."""
    return profile(name).load_face(models_dir, _device(device), threads or _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(name: str) -> str:
    if name not in DEVICES:
        raise BadInput(f"There is no device “{name}”.", cure=f"Known: {', '.join(DEVICES)}.")
    return name


def _pocket() -> Profile:
    def image(models_dir: Path, _: str, threads: int) -> ImageEncoder:
        from app.encoders.pocket import PocketImageEncoder  # noqa: PLC0415

        return PocketImageEncoder(models_dir, threads=threads)

    def text(models_dir: Path, _: str, threads: int) -> TextEncoder:
        from app.encoders.pocket import PocketTextEncoder  # noqa: PLC0415

        return PocketTextEncoder(models_dir, threads=threads)

    def face(models_dir: Path, _: str, threads: int) -> FaceEncoder:
        from app.encoders.pocket_faces import PocketFaceEncoder  # noqa: PLC0415

        return PocketFaceEncoder(models_dir, threads=threads)

    return Profile("pocket", infos.POCKET_IMAGE, infos.POCKET_FACE, image, text, face)


def _studio(name: str, pair: str) -> Profile:
    model, slash, tag = pair.partition("/")
    if not slash or not tag:
        raise UnknownModel(name, [f"studio:{model}/{one}" for one in clip_table.tags(model)[:6]])
    clip_table.checkpoint(model, tag)
    info = infos.open_clip(model, tag, clip_table.dimension(model))

    def image(models_dir: Path, device: str, threads: int) -> ImageEncoder:
        from app.encoders.clip import ClipImageEncoder  # noqa: PLC0415

        path = weights.require(pair, models_dir)
        return ClipImageEncoder(model, tag, info, path, device=device, threads=threads)

    def text(models_dir: Path, device: str, threads: int) -> TextEncoder:
        from app.encoders.clip import ClipTextEncoder  # noqa: PLC0415

        path = weights.require(pair, models_dir)
        return ClipTextEncoder(model, tag, info, path, device=device, threads=threads)

    def face(models_dir: Path, device: str, threads: int) -> FaceEncoder:
        from app.encoders.facenet import FaceNetEncoder  # noqa: PLC0415

        return FaceNetEncoder(models_dir, device=device, threads=threads)

    return Profile(name, info, infos.FACENET, image, text, face)
