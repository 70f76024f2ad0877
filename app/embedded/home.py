"""The home folder: everything that one installation keeps, and who may use it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import AlreadyRunning, DiskFull, HomeUnusable
from app.core.marks import HOME_MARK

MIN_FREE_BYTES = 500_000_000
"""Below this PostgreSQL risks stopping in the middle of a write, so nothing is started."""

_FOLDERS = ("pg", "redis", "blobs", "models", "run", "logs", "secrets")
# What a fresh volume may hold before we have ever written to it.
_HARMLESS = {"lost+found", ".DS_Store"}


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of an installation. Only `prepare_home` promises that they exist."""

    path: Path

    @property
    def pg(self) -> Path:
        return self.path / "pg"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    def secret(self, name: str) -> str:
        """The secret of this name, 43 URL-safe characters; made on first use, readable by us only.

        Safe when several ask at once: all get the one that was made first.
        """
        path = self.secrets / name
        fresh = self.secrets / f".{name}.{secrets.token_hex(8)}"
        try:
            if not path.exists():
                write_private(fresh, secrets.token_urlsafe(32))
                try:
                    # link() refuses to replace, where rename() would hand out two secrets
                    os.link(fresh, path)
                except FileExistsError:
                    pass
                finally:
                    fresh.unlink()
            return path.read_text("ascii").strip()
        except OSError as error:
            raise HomeUnusable(
                f"The secret {path} can't be read or made: {error.strerror}.", cure=_OWNER_CURE
            ) from error


_OWNER_CURE = "Run as the user that owns the folder, or choose another with --home or CLAIR_HOME."


def prepare_home(path: Path, *, min_free: int = MIN_FREE_BYTES) -> Home:
    """The home folder, made if needed, with its subfolders; only its owner can enter.

    Raises HomeUnusable where it can't be made or written or holds somebody else's files, DiskFull
    with fewer than `min_free` bytes left on its disk.
    """
    home = Home(path)
    try:
        if path.exists() and not path.is_dir():
            raise HomeUnusable(
                f"{path} is not a folder.", cure="Choose another with --home or CLAIR_HOME."
            )
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
        for name in _FOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        (path / HOME_MARK).touch(mode=0o600)
        probe = home.run / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if _out_of_space(error):
            raise _full(path, 0, min_free) from error
        read_only = error.errno == errno.EROFS
        raise HomeUnusable(
            f"The home folder {path} can't be used: {error.strerror or error}.",
            cure="Choose another with --home or CLAIR_HOME." if read_only else _OWNER_CURE,
        ) from error
    ensure_space(path, min_free)
    return home


def ensure_space(path: Path, min_free: int = MIN_FREE_BYTES) -> int:
    """Free bytes on the disk of `path`. Raises DiskFull below `min_free`."""
    free = shutil.disk_usage(path).free
    if free < min_free:
        raise _full(path, free, min_free)
    return free


def _full(path: Path, free: int, min_free: int) -> DiskFull:
    return DiskFull(
        f"Only {free // 1_000_000} MB are free on the disk of {path}; "
        f"{min_free // 1_000_000} MB are needed to write safely.",
        cure="Free some space, or choose a folder on another disk with --home or CLAIR_HOME.",
    )


def _out_of_space(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _refuse_foreign(path: Path) -> None:
    """A mistyped --home must not close a folder of other files to everybody else."""
    names = {entry.name for entry in path.iterdir()} - _HARMLESS - {HOME_MARK}
    if names and not names & set(_FOLDERS):
        raise HomeUnusable(
            f"{path} holds other files, and the home folder must be its own.",
            cure=f"Choose an empty or new folder, for example {path / 'clairvision'}.",
        )


def write_private(path: Path, text: str) -> None:
    """Replaces `path` in one step by a file that only its owner can read."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)  # half of it, on a full disk
        raise


@contextmanager
def hold_home(home: Home, address: str) -> Iterator[None]:
    """Keeps every other `up` off this home for as long as the block runs, or this process lives.

    Raises AlreadyRunning with the address and process id of the holder.
    """
    descriptor = _open_lock(home.run / "up.lock")
    try:
        if not _take(descriptor):
            raise _held(home, os.pread(descriptor, 4096, 0))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "address": address}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def home_is_held(home: Home) -> bool:
    """Whether an `up` runs on this home now."""
    return is_locked(home.run / "up.lock")


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock file `path`."""
    if not path.exists():
        return False
    descriptor = _open_lock(path)
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int | None:
    """The descriptor that holds the lock until its last copy closes; None if it is held."""
    descriptor = _open_lock(path)
    if _take(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HomeUnusable(
            f"The lock {path} can't be opened: {error.strerror}.", cure=_OWNER_CURE
        ) from error


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(home: Home, content: bytes) -> AlreadyRunning:
    try:
        holder = json.loads(content)
        where = f" at {holder['address']} (process {holder['pid']})"
    except (ValueError, KeyError):
        where = ""  # it has taken the lock and not yet written who it is
    return AlreadyRunning(
        f"ClairVision already runs on {home.path}{where}.",
        cure="Open that address, or stop it first with `clairvision down`.",
    )
