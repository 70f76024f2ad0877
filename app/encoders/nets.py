"""Exported nets on disk, and the ONNX Runtime sessions that run them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.errors import HomeUnusable, ModelUnavailable
from app.encoders import memory, packages

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RECIPE = 1
"""Raise it when `export` or `dlib_net` changes what it writes: old files are then left unused."""

_SOURCES = {
    "efficientnet-lite2": (packages.LITE2, "onnx"),
    "minilm": (packages.MINILM, "onnx"),
    "minilm-words": (packages.MINILM, "npy"),
    "mtcnn-pnet": (packages.MTCNN, "onnx"),
    "mtcnn-rnet": (packages.MTCNN, "onnx"),
    "mtcnn-onet": (packages.MTCNN, "onnx"),
    "dlib-face": (packages.DLIB, "onnx"),
}

POCKET_IMAGE = ("efficientnet-lite2",)
POCKET_TEXT = ("minilm", "minilm-words")
MTCNN = ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet")
POCKET_FACE = (*MTCNN, "dlib-face")


def location(name: str, models_dir: Path) -> Path:
    """Where a net is, or will be. Keyed by the version of the package that carries its weights."""
    package, suffix = _SOURCES[name]
    return (
        models_dir.resolve() / "pocket" / f"{name}-{packages.version(package)}-r{RECIPE}.{suffix}"
    )


def package(name: str) -> str:
    """The installed package that carries a net's weights."""
    return _SOURCES[name][0]


def ensure(names: tuple[str, ...], models_dir: Path) -> dict[str, Path]:
    """The nets' files, exported by a child process where missing. Safe in several processes.

    Raises ModelUnavailable if the export fails, HomeUnusable if the folder can't be written.
    """
    targets = {name: location(name, models_dir) for name in names}
    if not all(path.exists() for path in targets.values()):
        with exporting(models_dir / "pocket"):
            missing = {name: path for name, path in targets.items() if not path.exists()}
            if missing:
                run_export([f"{name}={path}" for name, path in missing.items()])
    return targets


@contextmanager
def exporting(folder: Path) -> Iterator[None]:
    """One exporting process per folder; the others wait and then find the files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".export.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeUnusable(
            f"The models folder {folder} can't be written: {error.strerror}.",
            cure="Free its disk or permissions, or choose another with --home.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def run_export(arguments: list[str]) -> None:
    """Runs `app.encoders.export` in a child. Raises ModelUnavailable with its last line."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "app.encoders.export", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ModelUnavailable(
            f"A model could not be prepared: {lines[-1]}",
            cure="Check disk space and the installation (`clairvision doctor`), then try again.",
        )


def open_session(path: Path, *, threads: int = 1) -> InferenceSession:
    """A CPU session, safe to run from several threads at once; running releases the GIL.

    No arena and no memory pattern: they keep the largest batch's memory for ever. No spinning:
    two workers on two cores would fight for them. Raises ModelUnavailable on a damaged file.
    """
    import onnxruntime as ort  # noqa: PLC0415

    memory.used()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base class but this
        raise ModelUnavailable(
            f"The prepared model {path.name} can't be loaded: {error}",
            cure=f"Delete {path}; it is made anew at the next start.",
        ) from error
