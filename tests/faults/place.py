"""An installation to break: `clairvision up` in a process family of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from app.embedded.services import Services, running_services
from app.settings import Settings
from tests.faults.installation import Installation


class Place(Installation):
    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port

    def start(self) -> None:
        done = self._cli("up", "--detach", "--port", str(self.port))
        assert done.returncode == 0, done.stderr
        found = running_services(Settings.from_environment({}, home=self.home))
        assert found is not None
        self.services: Services = found
        self.connect(found.database_url, found.redis_url)

    def stop(self) -> None:
        self.disconnect()
        done = self._cli("down")
        assert done.returncode == 0, done.stderr

    def _cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments, "--home", str(self.home)],
            env={
                **os.environ,
                "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8",
                "DATABASE_URL": "",
                "REDIS_URL": "",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def supervisor(self) -> psutil.Process:
        noted = json.loads((self.home / "run" / "supervisor.json").read_text())
        return psutil.Process(noted["pid"])

    def worker(self, name: str = "ingest") -> psutil.Process | None:
        """The supervised child of this name; None while it is being started again."""
        noted = json.loads((self.home / "run" / "supervisor.json").read_text())
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(noted["children"].get(name, 0))
            if process.status() != psutil.STATUS_ZOMBIE and "--queues" in process.cmdline():
                return process
        return None

    def server(self, name: str) -> psutil.Process | None:
        """The first process of `postgres` or `redis-server`; None while it is started again."""
        for process in self.supervisor.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() == name and process.parent().name() != name:
                    return process
        return None

    def page(self, path: str) -> int:
        """The status with which the web server answers."""
        request = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
