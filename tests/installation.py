"""A real installation, `clairvision up` on a free port, and real photographs to put into it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.samples.builtin import SUBJECTS, _open


@dataclass
class Cli:
    """The command line on one home. `welcome`: path of the one-time owner link, once it is up."""

    home: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)
    welcome: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str, home: Path | None = None, timeout: float = 240):
        """(exit code, stdout, stderr) of a command on this home."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments, "--home", str(home or self.home)],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments: str):
        """The document on stdout of a command that succeeds."""
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@contextlib.contextmanager
def running(home: Path) -> Iterator[Cli]:
    """An installation that may read from this machine, stopped at the end."""
    cli = Cli(
        home,
        free_port(),
        {
            "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8",
            "NO_COLOR": "1",
            "DATABASE_URL": "",
            "REDIS_URL": "",
        },
    )
    code, out, err = cli.run("up", "--detach", "--port", str(cli.port))
    assert code == 0, err
    link = re.search(r"/welcome/[\w-]+", out + err)
    assert link, "the first start prints no link for its owner"
    cli.welcome = link.group()
    try:
        yield cli
    finally:
        assert cli.run("down")[0] == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sample_photos() -> dict[str, bytes]:
    """Real photographs as JPEG, by file name."""
    found = {}
    for subject in SUBJECTS:
        data = io.BytesIO()
        _open(subject).save(data, "JPEG", quality=88)
        found[f"{Path(subject.file).stem}.jpg"] = data.getvalue()
    return found
