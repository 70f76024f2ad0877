"""Fetches one large file: resumed, checked, and put in place at once or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, Protocol

from app.core.errors import Conflict, DiskFull, HomeUnusable, ModelUnavailable

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes in all (None if the server doesn't say)."""

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_SPARE = 256 << 20  # bytes to leave free on the disk
_ATTEMPTS = 4
_DIGEST = re.compile(r'"?([0-9a-f]{64})"?')


class Missing(ModelUnavailable):
    """The server has no such file."""


class Unreachable(ModelUnavailable):
    """The server can't be reached, or broke off too often."""


class _Response(Protocol):
    status: int
    headers: Message

    def read(self, amount: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished file and its checksum."""

    sha256: str
    size: int


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects and keeps the checksum that Hugging Face announces on the first one."""

    def __init__(self) -> None:
        self.announced: str | None = None

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        self.announced = self.announced or digest_in(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def digest_in(headers: Message) -> str | None:
    """The SHA-256 that a Hugging Face answer names, if any."""
    found = _DIGEST.fullmatch(headers.get("X-Linked-ETag") or "")
    return found[1] if found else None


def fetch(url: str, target: Path, *, sha256: str | None, progress: Progress | None) -> Fetched:
    """Downloads to `target` through `target`.part, going on where an earlier try ended.

    Raises Missing, Unreachable, ModelUnavailable (wrong checksum; the part is then deleted),
    DiskFull, HomeUnusable, or Conflict when another process is fetching the same file.
    """
    part = target.with_name(target.name + ".part")
    with _sole(part):
        expected = sha256
        last: Exception | None = None
        for _ in range(_ATTEMPTS):
            before = part.stat().st_size
            try:
                announced = _continue(url, part, progress)
            except (OSError, http.client.HTTPException) as error:
                last = error
                if part.stat().st_size == before:
                    break
            else:
                return _finish(part, target, expected or announced, url)
        raise Unreachable(f"{url} can't be downloaded: {_reason(last)}.") from last


def _continue(url: str, part: Path, progress: Progress | None) -> str | None:
    """One request; returns the announced checksum. OSError where trying again may help."""
    note = part.with_name(part.name + ".json")
    have, validator = _resumable(part, note, url)
    headers = {"User-Agent": "ClairVision", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)  # noqa: S310  the operator names the address
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.write_bytes(b"")
            raise ConnectionError("the file has changed on the server") from error
        if error.code in (401, 403, 404, 410):
            raise Missing(f"{url} answers {error.code}.") from error
        raise ConnectionError(f"the server answers {error.code}") from error
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        note.write_text(json.dumps({"url": url, "validator": validator}), "utf-8")
        _receive(response, part, have, progress)
        return redirects.announced or digest_in(response.headers)


def _resumable(part: Path, note: Path, url: str) -> tuple[int, str]:
    """Bytes that can be kept, and the validator that proves the server still has the same file."""
    try:
        noted = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return 0, ""
    validator = str(noted.get("validator", ""))
    usable = noted.get("url") == url and validator and not validator.startswith("W/")
    return (part.stat().st_size, validator) if usable else (0, "")


def _receive(response: _Response, part: Path, have: int, progress: Progress | None) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have + _SPARE > free:
        raise DiskFull(
            f"The download needs {(total - have) >> 20} MB and {free >> 20} MB are free.",
            cure="Free some disk space, or choose another home with --home.",
        )
    with part.open("r+b") as file:
        file.truncate(have)
        file.seek(have)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            if progress:
                progress(have, total)
        os.fsync(file.fileno()) if total in (None, have) else None
    if total is not None and have != total:
        raise ConnectionError(f"it broke off at {have} of {total} bytes")


def _finish(part: Path, target: Path, expected: str | None, url: str) -> Fetched:
    found = checksum(part)
    note = part.with_name(part.name + ".json")
    note.unlink(missing_ok=True)
    if expected and found != expected:
        part.unlink()
        raise ModelUnavailable(
            f"{url} has the checksum {found[:12]}…, not {expected[:12]}….",
            cure="The download was damaged or is another file: try again, or another --mirror.",
        )
    size = part.stat().st_size
    part.replace(target)
    return Fetched(found, size)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception | None) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


@contextmanager
def _sole(part: Path) -> Iterator[None]:
    """Holds the part file for this process alone; creates it if there is none."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise HomeUnusable(
            f"The models folder {part.parent} can't be written: {error.strerror}.",
            cure="Free its permissions, or choose another home with --home.",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Conflict(
            f"Another process is downloading {part.stem} right now.",
            cure="Wait for it, or stop it first.",
        ) from error
    try:
        yield
    finally:
        if part.is_file() and not part.stat().st_size:
            part.unlink()
            part.with_name(part.name + ".json").unlink(missing_ok=True)
        os.close(handle)
