"""The process that owns the embedded services and ends them when its parent is gone.

Run as a file with the standard library only, so that it stays at about 10 MB. Standard input is
the lifeline: its first line is the JSON list of services, the word `stop` or the end of the input
(a parent killed with -9 closes it too) ends everything in reverse order. Standard output carries
one JSON object a line: `{"event": "started" | "exited" | "gave_up", "name", "pid" | "code"}`.

A service that dies is started again with a growing pause. One that was never steady (alive for
STEADY_SECONDS) is given up after QUICK_DEATHS in a row; one that was is tried for ever, since what
ails it may pass, as a full disk does. On Linux the kernel also ends the services should this process
itself be killed.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

QUICK_DEATHS = 10
STEADY_SECONDS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LOG_BYTES = 5_000_000
PR_SET_PDEATHSIG = 1

Report = Callable[..., None]


class Guarded:
    """One service: the keys of `spec` are the fields of app.embedded.plan.ServicePlan."""

    def __init__(self, spec: dict[str, Any], report: Report) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.report = report
        self.process: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        self.deaths = 0
        self.proven = False
        self.next_start: float | None = 0.0  # monotonic seconds; None: running or given up

    def start(self) -> None:
        self.began = time.monotonic()
        self.next_start = None
        try:
            self.process = self._spawn()
        except OSError as error:
            with open(self.spec["log"], "ab") as log:
                log.write(f"{self.spec['argv'][0]} can't be started: {error}\n".encode())
            self._died(error.errno or 1)
            return
        self.report(event="started", name=self.name, pid=self.process.pid)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        spec = self.spec
        with open(spec["stdin"] or os.devnull, "rb") as stdin, open(spec["log"], "ab") as log:
            return subprocess.Popen(
                spec["argv"],
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=spec["cwd"],
                pass_fds=spec["fds"],
                user=spec["uid"],
                group=spec["gid"],
                extra_groups=None if spec["uid"] is None else [],
                # the signal is lost when the user changes, so it is set after that, which
                # only preexec_fn is; this process has one thread, which makes that safe
                preexec_fn=_end_with_guard(spec["stop_signal"]),  # noqa: PLW1509
            )

    def reap(self) -> None:
        if self.process is None or self.process.poll() is None:
            return
        code = self.process.returncode
        self.process = None
        self.report(event="exited", name=self.name, code=code)
        self._died(code)

    def _died(self, code: int) -> None:
        steady = time.monotonic() - self.began >= STEADY_SECONDS
        self.deaths = 1 if steady else self.deaths + 1
        self.proven = self.proven or steady
        if self.deaths >= QUICK_DEATHS and not self.proven:
            self.report(event="gave_up", name=self.name, code=code)
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.deaths - 1, 10))
        self.next_start = time.monotonic() + pause

    def stop(self) -> None:
        """Asks politely, then firmly; returns when the process is gone."""
        if self.process is None:
            return
        for number in (self.spec["stop_signal"], self.spec["hurry_signal"], signal.SIGKILL):
            self.process.send_signal(number)
            try:
                self.process.wait(self.spec["stop_seconds"])
            except subprocess.TimeoutExpired:
                continue
            self.report(event="exited", name=self.name, code=self.process.returncode)
            return


def _end_with_guard(number: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    guard = os.getpid()

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != guard:  # it died before the kernel knew
            os._exit(1)

    return ask_kernel


def _report(**fields: object) -> None:
    try:
        os.write(1, json.dumps(fields).encode() + b"\n")
    except (BrokenPipeError, BlockingIOError):
        return  # nobody listens any more; the lifeline tells when to stop


def _rotate(path: str) -> None:
    if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES:
        os.replace(path, path + ".1")


def _read_services() -> list[Guarded]:
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return []
        line += byte
    return [Guarded(spec, _report) for spec in json.loads(bytes(line))]


def _watch_signals() -> int:
    """A descriptor that becomes readable on a signal: 0 bytes are never in it, numbers are."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def _told_to_stop(ready: list[int], signals: int) -> bool:
    if 0 in ready:
        data = os.read(0, 4096)
        if not data or b"stop" in data:
            return True
    if signals in ready:
        numbers = set(os.read(signals, 4096))
        return bool(numbers & {signal.SIGTERM, signal.SIGINT})
    return False


def main() -> None:
    signals = _watch_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.set_blocking(1, False)
    services = _read_services()
    for service in services:
        _rotate(service.spec["log"])
    try:
        while True:
            now = time.monotonic()
            for service in services:
                service.reap()
                if service.next_start is not None and service.next_start <= now:
                    service.start()
            due = [each.next_start for each in services if each.next_start is not None]
            pause = max(0.0, min(due) - time.monotonic()) if due else None
            ready, _, _ = select.select([0, signals], [], [], pause)
            if _told_to_stop(ready, signals):
                return
    finally:
        for service in reversed(services):
            service.stop()


if __name__ == "__main__":
    main()
