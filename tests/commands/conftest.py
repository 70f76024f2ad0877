"""One real installation for all tests of the command line: `clairvision up` on a free port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.samples.builtin import SUBJECTS, _open
from tests.origin import Answer, Origin


@dataclass(frozen=True)
class Cli:
    home: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Cli:
    cli = Cli(
        tmp_path_factory.mktemp("installation") / "home",
        free_port(),
        {"CLAIR_ALLOWED_CIDRS": "127.0.0.0/8", "NO_COLOR": "1", "DATABASE_URL": "", "REDIS_URL": ""},
    )
    code, out, err = cli.run("up", "--detach", "--port", str(cli.port))
    assert code == 0, err
    assert "/welcome/" in out + err
    yield cli
    assert cli.run("down")[0] == 0


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Real photographs as JPEG, by file name."""
    import io

    found = {}
    for subject in SUBJECTS:
        data = io.BytesIO()
        _open(subject).save(data, "JPEG", quality=88)
        found[f"{Path(subject.file).stem}.jpg"] = data.getvalue()
    return found


@pytest.fixture
def origin(photos):
    """The photos behind HTTP, with a list of them; Origin.url gives addresses."""
    answers = {f"/{name}": Answer(data) for name, data in photos.items()}
    answers["/list.txt"] = Answer("\n".join(photos).encode())
    with Origin(answers) as running:
        yield running
