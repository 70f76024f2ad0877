"""How one embedded service is started, watched and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import HomeUnusable

SERVICE_UID = 60765
"""Runs the services when we are root, which PostgreSQL refuses to be. No account has this number:
systemd's table of user ids keeps 60578–61183 unused, so it shares no files with anybody."""

SOCKET_PATH_BYTES = 100
"""Longest path of a socket. The kernels stop at 107 (Linux) and 103 (macOS)."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What app.embedded.guard receives for a service, as JSON of these fields.

    `stdin` is a file given as standard input (for secrets: an argument would show in `ps`).
    `stop_signal` ends it in order, `hurry_signal` after `stop_seconds`, SIGKILL after that again.
    `fds` are descriptors that the service inherits under the same numbers.
    """

    name: str
    argv: list[str]
    cwd: str
    log: str
    stdin: str | None = None
    fds: list[int] | None = None
    uid: int | None = None
    gid: int | None = None
    stop_signal: int = signal.SIGTERM
    hurry_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.fds is None:
            object.__setattr__(self, "fds", [])


def service_uid(folder: Path) -> int | None:
    """The user who runs the service that keeps its data in `folder`; None for our own user.

    Whoever owns it already goes on doing so, so that a home filled by an ordinary user can be
    started by root.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid
    return owner if owner != 0 else SERVICE_UID


def give(path: Path, uid: int | None) -> None:
    """Makes `path`, and all inside it, belong to `uid`; nothing happens for None."""
    if uid is None:
        return
    try:
        os.chown(path, uid, uid, follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in folders + files:
                os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)
    except OSError as error:
        raise HomeUnusable(
            f"{path} can't be given to the user id {uid}: {error.strerror}.",
            cure="PostgreSQL refuses to run as root: run as an ordinary user, or set DATABASE_URL.",
        ) from error


def named_account(uid: int | None) -> int | None:
    """The user id under which initdb runs, which insists on one that has a name.

    None for our own user, who must have one too; as root (`uid` given) an unprivileged account.
    """
    if uid is None:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise HomeUnusable(
                f"The user id {os.geteuid()} has no account, and PostgreSQL can't be set up "
                "without a name.",
                cure="Run as a user who has an account, or set DATABASE_URL.",
            ) from error
        return None
    for name in ("nobody", "daemon"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise HomeUnusable(
        "Neither of the accounts “nobody” and “daemon” exists, and PostgreSQL can't be set up "
        "as root.",
        cure="Run as an ordinary user, or set DATABASE_URL.",
    )


def reachable_copy(
    folders: list[Path], key: str, uid: int | None, *, leave: Sequence[str] = ()
) -> Path:
    """The parent of `folders` in a place where user `uid` can run programs from them.

    `folders` share one parent. Where every folder above lets others pass it is returned as it
    is. Under a closed one (/root, a private checkout) nothing is opened: the programs are copied
    once to a cache folder that only root can write. `key` names their version, `leave` files and
    folders that are not wanted in the copy.
    """
    parent = folders[0].parent
    if uid is None or _passable(parent.resolve()):
        return parent
    for base in (Path("/var/cache"), Path(tempfile.gettempdir())):
        target = base / "clairvision-programs" / key
        try:
            if _passable(base.resolve()):
                return _copy(folders, target, leave)
        except OSError:
            continue  # a read-only or full disk: the next place may do
    raise HomeUnusable(
        f"The database programs in {parent} can't be reached by the user id {uid}, and could be "
        "copied neither to /var/cache nor to the temporary folder.",
        cure="Run as an ordinary user, or set DATABASE_URL and REDIS_URL.",
    )


def _passable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _copy(folders: list[Path], target: Path, leave: Sequence[str]) -> Path:
    root = target.parent
    root.mkdir(mode=0o755, exist_ok=True)
    state = root.lstat()
    if state.st_uid != 0 or state.st_mode & 0o022:
        # in a folder for everybody, such as /tmp, somebody else may have made it first
        raise PermissionError(f"{root} could be changed by others")
    root.chmod(0o755)
    if target.exists():
        return target
    fresh = Path(tempfile.mkdtemp(dir=root))
    try:
        for folder in folders:
            shutil.copytree(
                folder, fresh / folder.name, symlinks=True, ignore=shutil.ignore_patterns(*leave)
            )
        fresh.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            if not target.exists():  # another process may have finished the same copy first
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def fits_socket(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES


def through(descriptor: int) -> str:
    """A path to an opened folder that needs no permission on the folders above it (Linux)."""
    if not sys.platform.startswith("linux") or not Path("/proc/self/fd").is_dir():
        raise HomeUnusable(
            "As root the embedded database needs Linux with /proc.",
            cure="Run as an ordinary user, or set DATABASE_URL and REDIS_URL.",
        )
    return f"/proc/self/fd/{descriptor}"
