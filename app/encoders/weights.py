"""The models that need a download: what is there, fetching them, checking them.

Files lie in `<models_dir>/studio`, each beside a small JSON note with its size and SHA-256.
`pocket` needs nothing of this: its weights come with its packages.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from app.core.errors import (
    BadInput,
    ClairError,
    DiskFull,
    HomeUnusable,
    ModelUnavailable,
    UnknownModel,
)
from app.encoders import clip_table, nets
from app.encoders.download import Fetched, Missing, Progress, Unreachable, checksum, fetch

FACENET = "facenet/vggface2"
STUDIO = (clip_table.DEFAULT, FACENET)
_HUB = "https://huggingface.co"
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_FACENET_URL = (
    "https://github.com/timesler/facenet-pytorch/releases/download/"
    "v2.2.9/20180402-114759-vggface2.pt"
)
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_OPENAI_DIGEST = re.compile(r"/clip/models/([0-9a-f]{64})/")


class State(StrEnum):
    READY = "ready"
    AT_FIRST_USE = "made at first use"
    PARTIAL = "partly downloaded"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model as `clairvision models list` shows it. `detail` says what is wrong, or nothing."""

    name: str
    profile: str
    state: State
    size: int
    path: Path | None
    source: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Address:
    url: str
    sha256: str | None = None


def canonical(name: str) -> str:
    """`open_clip/MODEL/TAG`, `studio:MODEL/TAG` and `facenet` in their plain form.

    Raises UnknownModel with near names.
    """
    plain = name.removeprefix("open_clip/").removeprefix("studio:")
    if plain in {FACENET, "facenet", "facenet/inception-resnet-v1/vggface2"}:
        return FACENET
    model, slash, tag = plain.partition("/")
    if not slash:
        known = (*STUDIO, *clip_table.models())
        raise UnknownModel(name, clip_table.near(plain, known))
    clip_table.checkpoint(model, tag)
    return plain


def _addresses(name: str) -> list[_Address]:
    """Where a model's file can be had, best first."""
    if name == FACENET:
        return [_Address(_FACENET_URL)]
    known = clip_table.checkpoint(*name.split("/", 1))
    found = []
    if known.hub:
        owner, repository, *file = known.hub.split("/")
        for last in file or _HUB_FILES:
            found.append(_Address(f"{_HUB}/{owner}/{repository}/resolve/main/{last}"))
    if known.url:
        digest = _OPENAI_DIGEST.search(known.url)
        found.append(_Address(known.url, digest[1] if digest else None))
    return found


def _stem(name: str, models_dir: Path) -> Path:
    return models_dir / "studio" / name.replace("/", "--")


def find(name: str, models_dir: Path) -> Path | None:
    """The model's file, whole or not; None if there is none."""
    stem = _stem(canonical(name), models_dir)
    candidates = (stem.with_name(stem.name + suffix) for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def require(name: str, models_dir: Path) -> Path:
    """The model's file, looked over quickly (size and structure, not checksum).

    Raises ModelUnavailable, with the ways out, if it is missing or broken.
    """
    plain = canonical(name)
    path = find(plain, models_dir)
    if path is None:
        raise ModelUnavailable(
            f"The weights of {plain} are not on this machine.", cure=_three_ways(plain, "download")
        )
    fault = _fault(path)
    if fault:
        raise ModelUnavailable(
            f"The weights of {plain} can't be used: {fault}.", cure=_three_ways(plain, "retry")
        )
    return path


def _three_ways(name: str, first: str) -> str:
    again = "Download them with" if first == "download" else "Try again with"
    return (
        f"{again} `clairvision models pull {name}`, give a file that you have with "
        f"`clairvision models pull {name} --from FILE`, or use `--profile pocket`, "
        "which needs no download."
    )


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint, as far as its size and structure tell; "" if nothing."""
    size = path.stat().st_size
    noted = _note(path).get("size")
    if isinstance(noted, int) and size != noted:
        return f"{path.name} has {size} of {noted} bytes"
    if path.suffix == ".safetensors":
        return _safetensors_fault(path, size)
    if not zipfile.is_zipfile(path):
        return f"{path.name} is not a whole PyTorch file"
    return ""


def _safetensors_fault(path: Path, size: int) -> str:
    """Checks the header's promise of the file's length (huggingface/safetensors, format)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            return f"{path.name} breaks off in its header"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key[:2] != "__"]
        except (ValueError, TypeError, KeyError, AttributeError):
            return f"{path.name} is not a safetensors file"
    whole = 8 + length + max(ends, default=0)
    return "" if whole == size else f"{path.name} has {size} of {whole} bytes"


def _note(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.with_name(path.name + ".json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_note(path: Path, fetched: Fetched, source: str) -> None:
    note = {"size": fetched.size, "sha256": fetched.sha256, "source": source}
    path.with_name(path.name + ".json").write_text(json.dumps(note), "utf-8")


def pull(
    name: str,
    models_dir: Path,
    *,
    mirror: str | None = None,
    from_file: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Downloads a model's weights, or copies them from a file; returns where they are.

    `mirror` replaces scheme and host of the known addresses ("https://mirror.example/models"); the
    rest of the path stays. A download that broke off goes on where it ended. The SHA-256 is checked
    where the publisher states one (OpenAI's addresses; Hugging Face's answers), and always noted.
    Raises UnknownModel, ModelUnavailable, DiskFull, HomeUnusable, BadInput, Conflict.
    """
    plain = canonical(name)
    if from_file is not None:
        return _take(plain, from_file, models_dir)
    whole = find(plain, models_dir)
    if whole is not None and not _fault(whole):
        return whole
    failures: list[ModelUnavailable] = []
    for address in _addresses(plain):
        url = _mirrored(address.url, mirror)
        target = _stem(plain, models_dir)
        target = target.with_name(target.name + Path(urlsplit(url).path).suffix)
        try:
            fetched = fetch(url, target, sha256=address.sha256, progress=progress)
        except (Missing, Unreachable) as error:
            failures.append(error)
            continue
        _write_note(target, fetched, url)
        fault = _fault(target)
        if fault:
            target.unlink()
            raise ModelUnavailable(f"{url} is not a checkpoint: {fault}.")
        return target
    reasons = " ".join(dict.fromkeys(error.message for error in failures))
    raise ModelUnavailable(
        f"The weights of {plain} can't be had. {reasons}", cure=_three_ways(plain, "retry")
    ) from failures[-1]


def _mirrored(url: str, mirror: str | None) -> str:
    if mirror is None:
        return url
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise BadInput(f"The mirror “{mirror}” is not an http address.")
    return mirror.rstrip("/") + urlsplit(url).path


def _take(name: str, source: Path, models_dir: Path) -> Path:
    """Copies a checkpoint that the operator already has."""
    if not source.is_file():
        raise BadInput(f"There is no file {source}.", cure="Give the checkpoint after --from.")
    if source.suffix not in _SUFFIXES:
        raise BadInput(
            f"{source.name} is not a checkpoint.", cure=f"Known: {', '.join(_SUFFIXES)}."
        )
    fault = _fault(source)
    if fault:
        raise ModelUnavailable(f"The file can't be used: {fault}.", cure="Download it again.")
    digest = checksum(source)
    stated = {address.sha256 for address in _addresses(name) if address.sha256}
    if source.suffix == ".pt" and stated and digest not in stated:
        raise ModelUnavailable(
            f"{source.name} is not the published file of {name}: its checksum differs.",
            cure="Download it again, or pull it without --from.",
        )
    stem = _stem(name, models_dir)
    target = stem.with_name(stem.name + source.suffix)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target.parent).free < source.stat().st_size:
            raise DiskFull(f"There is no room for {source.name}.", cure="Free some disk space.")
        shutil.copyfile(source, part)
        part.replace(target)
    except OSError as error:
        raise HomeUnusable(f"{target} can't be written: {error.strerror}.") from error
    _write_note(target, Fetched(digest, target.stat().st_size), str(source))
    return target


def check(name: str, models_dir: Path) -> ModelStatus:
    """Reads the whole file and compares it with its checksum. Raises UnknownModel."""
    plain = canonical(name)
    status = _status(plain, models_dir)
    if status.state is State.READY and status.path is not None:
        noted = _note(status.path).get("sha256")
        if noted is not None and checksum(status.path) != noted:
            return _damaged(status, "its checksum has changed since it was downloaded")
    return status


def _damaged(status: ModelStatus, detail: str) -> ModelStatus:
    return ModelStatus(
        status.name, status.profile, State.DAMAGED, status.size, status.path, status.source, detail
    )


def _status(name: str, models_dir: Path) -> ModelStatus:
    path = find(name, models_dir)
    source = _addresses(name)[0].url
    if path is not None:
        fault = _fault(path)
        state = State.DAMAGED if fault else State.READY
        return ModelStatus(name, "studio", state, path.stat().st_size, path, source, fault)
    stem = _stem(name, models_dir)
    parts = [stem.with_name(stem.name + suffix + ".part") for suffix in _SUFFIXES]
    size = sum(part.stat().st_size for part in parts if part.is_file())
    state = State.PARTIAL if size else State.MISSING
    return ModelStatus(name, "studio", state, size, None, source)


def list_models(models_dir: Path) -> list[ModelStatus]:
    """The pocket nets, the default studio models, and every other checkpoint that is there."""
    names = [*STUDIO, *(name for name in _installed(models_dir) if name not in STUDIO)]
    return [*_pocket(models_dir), *(_status(name, models_dir) for name in names)]


def _pocket(models_dir: Path) -> Iterator[ModelStatus]:
    for name in (*nets.POCKET_IMAGE, *nets.POCKET_TEXT, *nets.POCKET_FACE):
        path = nets.location(name, models_dir)
        made = path.is_file()
        yield ModelStatus(
            name=name,
            profile="pocket",
            state=State.READY if made else State.AT_FIRST_USE,
            size=path.stat().st_size if made else 0,
            path=path if made else None,
            source=nets.package(name),
        )


def _installed(models_dir: Path) -> Iterator[str]:
    for path in sorted((models_dir / "studio").glob("*--*")):
        if path.suffix in _SUFFIXES:
            try:
                yield canonical(path.stem.replace("--", "/", 1))
            except ClairError:
                continue  # a file that somebody else put there
