"""The installation that runs on a home folder: find it, start it in the background, stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from app.core.errors import ServiceDown
from app.embedded.home import Home, home_is_held, is_locked, write_private

# The clocks behind two readings of a process's start differ by less than this, in seconds.
_SAME_START = 2.0
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class Running:
    """What the supervisor of a home writes about itself in run/supervisor.json.

    `started` is the process's own start time (seconds since 1970), which tells it from a later
    process of the same number. `children` and `given_up` are by name.
    """

    pid: int
    started: float
    address: str
    ready: bool = False
    children: dict[str, int] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)

    def write(self, home: Home) -> None:
        write_private(_file(home), json.dumps(asdict(self)))


def this_process(address: str) -> Running:
    return Running(os.getpid(), psutil.Process().create_time(), address)


def find_running(home: Home) -> Running | None:
    """The supervisor that serves this home now; None if there is none, or it was killed."""
    try:
        running = Running(**json.loads(_file(home).read_text("utf-8")))
        if abs(psutil.Process(running.pid).create_time() - running.started) < _SAME_START:
            return running
    except (OSError, ValueError, TypeError, psutil.NoSuchProcess):
        return None
    return None


def forget_running(home: Home) -> None:
    _file(home).unlink(missing_ok=True)


def _file(home: Home) -> Path:
    return home.run / "supervisor.json"


def down(home: Home, *, timeout: float = 60.0) -> bool:
    """Stops the installation on this home, in order, and waits for it.

    Returns False where none ran. One that does not end within `timeout` seconds is killed; its
    services then end by themselves. Raises ServiceDown if something is still there after that.
    """
    running = find_running(home)
    if running is None:
        forget_running(home)
        return _wait_for_leftovers(home, timeout)
    process = psutil.Process(running.pid)
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout)
    except psutil.NoSuchProcess:
        pass  # it ended by itself in between
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(timeout)
    except psutil.AccessDenied as error:
        raise ServiceDown(
            f"ClairVision runs as another user (process {running.pid}).",
            cure="Stop it as that user, or as root.",
        ) from error
    _wait_for_leftovers(home, timeout)
    forget_running(home)
    return True


def _wait_for_leftovers(home: Home, timeout: float) -> bool:
    """Whether anything was still there; waits until it is gone."""
    deadline = time.monotonic() + timeout
    found = False
    while is_locked(home.run / "services.lock") and not is_locked(home.run / "owner.lock"):
        found = True
        if time.monotonic() > deadline:
            raise ServiceDown(
                f"The database of {home.path} does not stop.", cure="See logs/postgres.log."
            )
        time.sleep(_POLL_SECONDS)
    return found


def start_detached(
    argv: Sequence[str], home: Home, env: Mapping[str, str], *, timeout: float = 180.0
) -> Running:
    """Starts `argv` (an `up` in the foreground) in a session of its own, and waits for it.

    Returns once it is ready to use. `env` is its whole environment. What it says goes to
    logs/supervisor.log. Raises ServiceDown with the last lines of that log if it ends or isn't
    ready within `timeout` seconds; then nothing of it is left.
    """
    log = home.logs / "supervisor.log"
    with log.open("ab") as output:
        begun = output.tell()
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=dict(env),
        )
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        running = find_running(home)
        if running is not None and running.ready and running.pid == process.pid:
            return running
        time.sleep(_POLL_SECONDS)
    ended = process.poll()
    if ended is None:
        process.terminate()
        process.wait()
    what = f"ended with status {ended}" if ended is not None else f"took over {timeout:.0f} s"
    with log.open("rb") as said:
        said.seek(begun)
        lines = said.read().decode("utf-8", errors="replace").strip().splitlines()
    raise ServiceDown(
        f"Starting {what}. It said: {' / '.join(lines[-4:]) or 'nothing'}",
        cure=f"The whole log is {log}.",
    )


def is_up(home: Home) -> bool:
    """Whether an `up` holds this home, ready or not."""
    return home_is_held(home)
