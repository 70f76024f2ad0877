"""A real installation for benchmarks: `clairvision up` in a temporary home, watched from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks._report import ROOT, say


def pss(process: psutil.Process) -> int:
    """Proportional set size in bytes; 0 for a process that has just ended."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, psutil.Error):
        pass
    return 0


class Installation:
    """Starts on entering, stops on leaving. Only Linux tells proportional set sizes."""

    def __init__(
        self, home: Path, *, workers: int = 1, environment: dict[str, str] | None = None
    ) -> None:
        self.home, self._workers = home, workers
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.env = {
            **os.environ,
            "CLAIR_HOME": str(home),
            "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8",
            "CLAIR_PER_HOST_CONCURRENCY": "32",
            "DATABASE_URL": "",
            "REDIS_URL": "",
            **(environment or {}),
        }
        self._known: dict[int, psutil.Process] = {}
        self._cpu: dict[int, tuple[str, float]] = {}
        self.peak = 0
        self.peak_parts: dict[str, int] = {}
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.run("up", "--detach", "--port", str(self.port), "--workers", str(self._workers))
        state = json.loads((self.home / "run" / "supervisor.json").read_text())
        self.supervisor = psutil.Process(state["pid"])
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._watcher.join()
        self.run("down")

    def run(self, *arguments: str) -> str:
        """A command's stdout; it must succeed."""
        command = [sys.executable, "-m", "app.cli", *arguments]
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            say(done.stderr)
            raise SystemExit(f"{' '.join(arguments[:2])} failed")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def processes(self) -> list[psutil.Process]:
        return [self.supervisor, *self.supervisor.children(recursive=True)]

    def parts(self) -> dict[str, int]:
        """PSS in bytes by what the process is for."""
        found: dict[str, int] = {}
        for process in self.processes():
            name = _role(process)
            found[name] = found.get(name, 0) + pss(process)
        return found

    def cpu_seconds(self) -> float:
        """CPU seconds of all processes so far, ended ones as far as they were seen."""
        return sum(self.cpu_parts().values())

    def cpu_parts(self) -> dict[str, float]:
        """The same by what the process is for."""
        self._note_cpu()
        found: dict[str, float] = {}
        for role, seconds in list(self._cpu.values()):
            found[role] = found.get(role, 0.0) + seconds
        return found

    def _note_cpu(self) -> None:
        for process in self.processes():
            try:
                times = process.cpu_times()
                role = self._cpu[process.pid][0] if process.pid in self._cpu else _role(process)
            except psutil.Error:
                continue
            self._cpu[process.pid] = (role, times.user + times.system)

    def disk(self) -> dict[str, int]:
        """Bytes that the home folder takes on disk, by what they are for."""
        parts = {"database": "pg", "blobs": "blobs", "queue": "redis", "logs": "logs"}
        found = {name: _on_disk(self.home / folder) for name, folder in parts.items()}
        return found | {"all but models": _on_disk(self.home) - _on_disk(self.home / "models")}

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            try:
                self._note_cpu()
                parts = self.parts()
            except psutil.Error:
                continue
            total = sum(parts.values())
            if total > self.peak:
                self.peak, self.peak_parts = total, parts

    def wait_idle(self, seconds: float = 5.0) -> None:
        """Until all workers have reported and nothing has used much CPU for a while."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(seconds)
            quiet = self.cpu_seconds() - before < 0.1 * seconds
            if quiet and len(self.json("status")["workers"]) >= 2 + self._workers:
                return
        raise SystemExit("the installation did not come to rest")


def _on_disk(folder: Path) -> int:
    """As `du` counts: blocks that are taken, each file once."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except OSError:
            continue  # PostgreSQL removes files at any time
    return total


def _role(process: psutil.Process) -> str:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return "ended"
    for mark, role in (
        ("decode_child", "decoders"),
        ("workers.job", "graph jobs"),
        ("--queues ingest", "ingest worker"),
        ("--queues query", "query worker"),
        ("--queues graph", "graph worker"),
        ("app.cli web", "web"),
        ("postgres", "PostgreSQL"),
        ("redis-server", "Redis"),
        ("guard.py", "guard"),
    ):
        if mark in words:
            return role
    return "supervisor"


class RemotePhotos:
    """The origin of benchmarks/_photos.py in a process of its own; `url` ends with a slash."""

    def __init__(self, count: int, data: Path, delay: float) -> None:
        self._command = [
            sys.executable,
            str(ROOT / "benchmarks" / "_photos.py"),
            str(count),
            str(data),
            str(delay),
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise SystemExit("the origin did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
