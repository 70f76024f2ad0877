"""Runs the processes of one installation: starts them, restarts what dies, stops them in order.

One thread and one loop over the children's output, signals and timers. The children hold a
lifeline: should this process be killed, they end by themselves, and so do the embedded services.
"""

from __future__ import annotations

import http.client
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from typing import BinaryIO
from urllib.parse import urlsplit

from app.core.errors import ServiceDown
from app.embedded.home import Home
from app.embedded.lifeline import Lifeline
from app.operate.running import Running, forget_running, this_process
from app.settings import with_lifeline

logger = logging.getLogger(__name__)

QUICK_DEATHS = 5
STEADY_SECONDS = 20.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
GIVEN_UP_PAUSE = 60.0
KILLED_PAUSE = 5.0
"""The longest pause after a SIGKILL, which comes from outside: from a person, or from the kernel when
memory is short. The process did nothing wrong, and photos wait for it: work goes on within 30 s,
however often it happens (tests/faults)."""
STOP_SECONDS = 20.0
NOT_STARTED = 127  # the status that a shell gives for a program that isn't there
READY_SECONDS = 120.0
_HEALTH_SECONDS = 0.2
_LOG_BYTES = 5_000_000
_LOG_FILES = 3
_LINE_BYTES = 64_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One process to keep running.

    `env` is added to our own environment. With `restart` false its end is final. Without a
    `vital` child the rest makes no sense: when that is given up, everything stops.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True
    vital: bool = False


class Child:
    """A ChildSpec's process through all its restarts. Times are `time.monotonic()` seconds."""

    def __init__(self, spec: ChildSpec, home: Home) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.next_start: float | None = 0.0
        self.deaths = 0
        self.kills = 0
        self.last_lines: list[str] = []
        self._began = 0.0
        self._partial = b""
        self._log = RotatingFileHandler(
            home.logs / f"{spec.name}.log",
            maxBytes=_LOG_BYTES,
            backupCount=_LOG_FILES,
            encoding="utf-8",
        )

    @property
    def given_up(self) -> bool:
        return self.deaths >= QUICK_DEATHS

    def start(self, lifeline: Lifeline) -> BinaryIO | None:
        """Starts it and returns its output; None if it can't be started, which counts as dead."""
        self._began = time.monotonic()
        self.next_start = None
        try:
            self.process = subprocess.Popen(
                list(self.spec.argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=with_lifeline({**os.environ, **self.spec.env}, lifeline.fd),
                pass_fds=(lifeline.fd,),
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            )
        except OSError as error:
            self.say(f"{self.spec.argv[0]} can't be started: {error.strerror}")
            self.died(NOT_STARTED)
            return None
        output = self.process.stdout
        if output is None:
            raise ServiceDown(f"{self.spec.name} was started without its output.")
        os.set_blocking(output.fileno(), False)
        return output  # type: ignore[return-value]

    def died(self, code: int) -> None:
        """Decides when to start it again; `code` as subprocess gives it."""
        self.process = None
        if not self.spec.restart:
            return
        now = time.monotonic()
        steady = now - self._began >= STEADY_SECONDS
        if code == -signal.SIGKILL:
            self.kills = 1 if steady else self.kills + 1
            self.next_start = now + min(KILLED_PAUSE, FIRST_PAUSE * 2 ** (self.kills - 1))
            return
        self.deaths = 1 if steady else self.deaths + 1
        if self.given_up:
            # a missing model may be pulled meanwhile, so it is tried again, but rarely
            self.next_start = now + GIVEN_UP_PAUSE
        else:
            self.next_start = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.deaths - 1))

    def hear(self, data: bytes, *, last: bool = False) -> list[str]:
        """Output as whole lines, written to the child's log file. Returns the lines."""
        text = self._partial + data
        cut = len(text) if last or len(text) > _LINE_BYTES else text.rfind(b"\n") + 1
        self._partial = text[cut:]
        lines = text[:cut].decode("utf-8", errors="replace").splitlines()
        for line in lines:
            self.say(line)
        return lines

    def say(self, line: str) -> None:
        self.last_lines = [*self.last_lines[-4:], line]
        self._log.emit(logging.LogRecord(self.spec.name, logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        self._log.close()


class Supervisor:
    """Keeps `children` running until a signal, or until a vital one is given up.

    `health_url` answers 200 once the installation is ready; `on_ready` is then called, once.
    With `echo` the children's lines are also written to standard error. Only with an `address` is
    it the supervisor of the home, which `status` and `down` find: workers may run beside it.
    """

    def __init__(
        self,
        home: Home,
        children: Sequence[ChildSpec],
        *,
        address: str | None = None,
        health_url: str | None = None,
        on_ready: Callable[[], None] | None = None,
        echo: bool = True,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self._home = home
        self._children = [Child(spec, home) for spec in children]
        self._state: Running = this_process(address or "")
        self._noted = address is not None
        self._health_url = health_url
        self._on_ready = on_ready
        self._echo = echo
        self._ready_by = time.monotonic() + ready_seconds
        self._next_health = 0.0
        self._failure: str | None = None
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._lifeline = Lifeline()

    def fail(self, message: str) -> None:
        """Ends the run with this message; may be called from any thread."""
        self._failure = message
        os.kill(os.getpid(), signal.SIGTERM)

    def run(self) -> None:
        """Blocks until SIGINT, SIGTERM or SIGHUP, then stops every child.

        Raises ServiceDown where it ended for another reason. Must run in the main thread.
        """
        wakeup, restore = self._catch_signals()
        self._selector.register(wakeup, selectors.EVENT_READ)
        try:
            while not self._stopping and self._failure is None:
                self._start_due()
                self._check_health()
                self._listen(self._until_next())
                self._reap()
        finally:
            self._stop_all()
            restore()
            self._selector.close()
            if self._noted:
                forget_running(self._home)
        if self._failure is not None:
            raise ServiceDown(self._failure, cure=f"The logs are in {self._home.logs}.")

    def _catch_signals(self) -> tuple[int, Callable[[], None]]:
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)
        old_wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        old = {number: signal.signal(number, self._on_signal) for number in stops}
        old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)

        def restore() -> None:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, handler)
            os.close(readable)
            os.close(writable)

        return readable, restore

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _start_due(self) -> None:
        started = False
        for child in self._children:
            if child.next_start is None or child.next_start > time.monotonic():
                continue
            output = child.start(self._lifeline)
            started = True
            if output is None:
                self._note_death(child, NOT_STARTED)
            else:
                self._selector.register(output, selectors.EVENT_READ, child)
        if started:
            self._write_state()

    def _write_state(self) -> None:
        self._state.children = {
            child.spec.name: child.process.pid
            for child in self._children
            if child.process is not None
        }
        self._state.given_up = [child.spec.name for child in self._children if child.given_up]
        if not self._noted:
            return
        try:
            self._state.write(self._home)
        except OSError as error:  # a full disk must not end what runs
            logger.warning("the state of %s can't be written: %s", self._home.path, error)

    def _check_health(self) -> None:
        if self._state.ready or time.monotonic() < self._next_health:
            return
        self._next_health = time.monotonic() + _HEALTH_SECONDS
        if self._health_url is None or _healthy(self._health_url):
            self._state.ready = True
            self._write_state()
            if self._on_ready is not None:
                self._on_ready()
        elif time.monotonic() > self._ready_by:
            self._failure = "The web server did not answer in time."

    def _until_next(self) -> float | None:
        times = [each.next_start for each in self._children if each.next_start is not None]
        if not self._state.ready:
            times.append(self._next_health)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _listen(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                os.read(key.fd, 4096)
            else:
                self._forward(key.data, key.fd)

    def _forward(self, child: Child, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return
        lines = child.hear(data, last=not data)
        if self._echo and lines:
            self._say([f"{child.spec.name}: {line}\n" for line in lines])
        if not data:
            self._selector.unregister(descriptor)

    def _say(self, lines: list[str]) -> None:
        try:
            sys.stderr.writelines(lines)
            sys.stderr.flush()
        except OSError:
            self._echo = False  # the terminal is gone; the log files have everything

    def _reap(self) -> None:
        for child in self._children:
            process = child.process
            if process is None or process.poll() is None:
                continue
            self._drain(child, process)
            child.died(process.returncode)
            self._note_death(child, process.returncode)

    def _drain(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        output = process.stdout
        if output is None:
            return
        if output.fileno() in self._selector.get_map():
            # its last words are still in the pipe; a grandchild may keep that open, so one read
            self._forward(child, output.fileno())
        if output.fileno() in self._selector.get_map():
            self._selector.unregister(output)
        output.close()

    def _note_death(self, child: Child, code: int) -> None:
        name = child.spec.name
        if not child.spec.restart:
            logger.info("%s ended with status %d", name, code)
        elif not child.given_up:
            logger.warning("%s died (status %d) and is started again", name, code)
        else:
            said = " / ".join(child.last_lines) or "nothing"
            message = f"{name} died {child.deaths} times in a row. It last said: {said}"
            if child.spec.vital:
                self._failure = message
            logger.error("%s", message)
        self._write_state()

    def _stop_all(self) -> None:
        alive = [child for child in self._children if child.process is not None]
        for child in alive:
            if child.process is not None:
                child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(_lives(child) for child in alive):
            # keeps reading, since a child that logs into a full pipe can't end
            self._listen(min(0.1, max(0.0, deadline - time.monotonic())))
        for child in alive:
            if child.process is None:
                continue
            if _lives(child):
                logger.warning("%s did not stop in %.0f s: killed", child.spec.name, STOP_SECONDS)
                child.process.kill()
            child.process.wait()
            self._drain(child, child.process)
        self._lifeline.cut()
        for child in self._children:
            child.close()


def _lives(child: Child) -> bool:
    return child.process is not None and child.process.poll() is None


def _healthy(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=1.0)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
