"""The supervisor with real processes: start, restart, logs, orderly stop, sudden death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.core.errors import ServiceDown
from app.embedded.home import Home, prepare_home
from app.embedded.ports import free_port
from app.operate.running import Running, down, find_running, start_detached

Eventually = Callable[[Callable[[], object]], None]

SUPERVISOR = """
import sys
from pathlib import Path
from app.core.errors import ClairError
from app.embedded.home import Home
import workers.supervisor as module
from workers.supervisor import ChildSpec, Supervisor

module.FIRST_PAUSE = 0.01
home, port = Home(Path(sys.argv[1])), sys.argv[2]
web = '''
import http.server, sys
from app.embedded.lifeline import exit_with_parent
exit_with_parent()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
print("web begins", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''
worker = '''
import threading
from app.embedded.lifeline import exit_with_parent
exit_with_parent()
print("worker begins", flush=True)
threading.Event().wait()
'''
stubborn = '''
import signal
from app.embedded.lifeline import exit_with_parent
exit_with_parent(grace=0.2)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True: signal.pause()
'''
broken = '''raise SystemExit("the model is missing")'''
python = [sys.executable, "-u", "-c"]
known = {
    "web": ChildSpec(name="web", argv=[*python, web, port], vital=True),
    "worker": ChildSpec(name="worker", argv=[*python, worker], env={"COLOUR": "red"}),
    "mute": ChildSpec(name="mute", argv=[*python, worker]),
    "stubborn": ChildSpec(name="stubborn", argv=[*python, stubborn]),
    "broken": ChildSpec(name="broken", argv=[*python, broken]),
    "vital": ChildSpec(name="vital", argv=[*python, broken], vital=True),
    "absent": ChildSpec(name="absent", argv=["/no/such/program"], vital=True),
    "once": ChildSpec(name="once", argv=[*python, "print('did it')"], restart=False),
}
children = [known[name] for name in sys.argv[3:]]
url = f"http://127.0.0.1:{port}"
health = url + "/healthz" if {"web", "mute"} & set(sys.argv) else None
try:
    Supervisor(home, children, address=url, health_url=health,
               on_ready=lambda: print("ready", flush=True)).run()
except ClairError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return prepare_home(tmp_path / "home")


def _command(home: Home, *children: str) -> list[str]:
    return [sys.executable, "-c", SUPERVISOR, str(home.path), str(free_port()), *children]


@contextmanager
def _supervised(home: Home, *children: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        _command(home, *children), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def _running(home: Home) -> Running:
    running = find_running(home)
    assert running is not None
    return running


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_says_when_it_is_ready_and_who_runs(home: Home) -> None:
    with _supervised(home, "web", "worker") as process:
        _ready(process)
        running = _running(home)
        assert running.ready
        assert running.pid == process.pid
        assert set(running.children) == {"web", "worker"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_child_in_order(home: Home, number: signal.Signals) -> None:
    with _supervised(home, "web", "worker") as process:
        _ready(process)
        children = _running(home).children
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert all(_gone(pid) for pid in children.values())
    assert find_running(home) is None


def test_a_dead_child_is_started_again(home: Home, eventually: Eventually) -> None:
    with _supervised(home, "web", "worker") as process:
        _ready(process)
        first = _running(home).children["worker"]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: _running(home).children.get("worker", first) != first)
        assert process.poll() is None


def test_who_is_killed_again_and_again_comes_back_each_time(
    home: Home, eventually: Eventually
) -> None:
    """Nothing is wrong with it; a pause that grows, or a minute's rest, would leave photos waiting."""
    with _supervised(home, "web", "worker") as process:
        _ready(process)
        for _ in range(7):
            now = _running(home).children["worker"]
            os.kill(now, signal.SIGKILL)
            eventually(lambda dead=now: _running(home).children.get("worker") not in (None, dead))
        assert _running(home).given_up == []


def test_a_killed_supervisor_leaves_no_child(home: Home, eventually: Eventually) -> None:
    with _supervised(home, "web", "worker", "stubborn") as process:
        _ready(process)
        children = _running(home).children
        log = home.logs / "worker.log"
        eventually(lambda: log.exists() and "worker begins" in log.read_text())
        process.kill()
        eventually(lambda: all(_gone(pid) for pid in children.values()))
    assert find_running(home) is None


def test_what_children_say_is_kept_and_echoed(home: Home, eventually: Eventually) -> None:
    with _supervised(home, "web", "once") as process:
        _ready(process)
        log = home.logs / "once.log"
        eventually(lambda: log.exists() and log.read_text() == "did it\n")
        eventually(lambda: "once" not in _running(home).children)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "once: did it\n" in errors
    assert "web: web begins\n" in errors


def test_without_a_vital_child_it_ends_with_that_childs_words(home: Home) -> None:
    with _supervised(home, "vital", "worker") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "vital died 5 times in a row. It last said: " in errors
    assert "the model is missing" in errors


def test_a_program_that_does_not_exist_is_named(home: Home) -> None:
    with _supervised(home, "absent") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "/no/such/program can't be started: No such file or directory" in errors


def test_other_children_that_keep_dying_are_reported_and_the_rest_goes_on(
    home: Home, eventually: Eventually
) -> None:
    with _supervised(home, "web", "broken") as process:
        _ready(process)
        eventually(lambda: _running(home).given_up == ["broken"])
        assert process.poll() is None
        assert "web" in _running(home).children


def test_down_stops_it(home: Home) -> None:
    with _supervised(home, "web", "worker") as process:
        _ready(process)
        children = _running(home).children
        assert down(home)
        assert process.wait(60) == 0
    assert all(_gone(pid) for pid in children.values())
    assert not down(home)


def test_down_spares_a_stranger_with_the_same_number(home: Home) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with stranger:
        try:
            Running(stranger.pid, started=1.0, address="http://old").write(home)
            assert find_running(home) is None
            assert not down(home)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_detached_it_returns_when_ready_and_lives_on(home: Home) -> None:
    running = start_detached(_command(home, "web", "worker"), home, os.environ)
    try:
        assert running.ready
        assert os.getsid(running.pid) == running.pid
    finally:
        assert down(home)


def test_detached_a_failed_start_says_why(home: Home) -> None:
    with pytest.raises(ServiceDown, match="the model is missing"):
        start_detached(_command(home, "mute", "vital"), home, os.environ)
    assert find_running(home) is None


def test_detached_a_start_that_never_gets_ready_is_stopped(
    home: Home, eventually: Eventually
) -> None:
    with pytest.raises(ServiceDown, match="took over"):
        start_detached(_command(home, "mute"), home, os.environ, timeout=2)
    eventually(lambda: find_running(home) is None)
