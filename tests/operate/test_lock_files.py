"""What images and setup make of the lock file."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
NAME = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


def _without(*patterns: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "lock_without.py"
    return subprocess.run(
        [sys.executable, script, LOCK, *patterns], capture_output=True, text=True, check=False
    )


def _names(text: str) -> set[str]:
    return set(NAME.findall(text))


def _left_out(dockerfile: str, begins: str) -> list[str]:
    """The patterns that an image's build passes to lock_without.py."""
    text = (ROOT / "docker" / dockerfile).read_text().replace("\\\n", " ")
    command = next(line for line in text.splitlines() if begins in line)
    return shlex.split(command.split(begins, 1)[1].split(">")[0])


def test_nothing_left_out_is_the_same_file() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert _without().stdout.splitlines() == lines


def test_a_package_goes_with_its_hashes() -> None:
    kept = _without("torch", "nvidia-*").stdout
    whole = LOCK.read_text()
    gone = _names(whole) - _names(kept)
    assert "torch" in gone
    assert all(name == "torch" or name.startswith("nvidia-") for name in gone)
    assert kept.count("--hash=") < whole.count("--hash=")
    assert not re.search(r"^\S+==\S+ *[^\\]*$\n^\S", kept, re.MULTILINE), "an entry lost its hashes"


def test_a_package_that_is_not_there_is_an_error_unless_it_may_be_absent() -> None:
    done = _without("no-such-package")
    assert done.returncode == 1
    assert "no-such-package" in done.stderr
    assert done.stdout == ""
    assert _without("no-such-package?").returncode == 0


@pytest.mark.parametrize(
    ("dockerfile", "begins"),
    [
        ("web.Dockerfile", "lock_without.py /tmp/build/requirements.lock"),
        ("worker.Dockerfile", "set --"),
        ("worker.Dockerfile", 'set -- "$@"'),
    ],
)
def test_what_the_images_leave_out_is_in_the_lock_file(dockerfile: str, begins: str) -> None:
    patterns = _left_out(dockerfile, begins)
    assert patterns
    done = _without(*patterns)
    assert done.returncode == 0, done.stderr


def test_the_web_image_holds_no_model_library() -> None:
    patterns = _left_out("web.Dockerfile", "lock_without.py /tmp/build/requirements.lock")
    kept = _names(_without(*patterns).stdout)
    assert not kept & {"torch", "torchvision", "numba", "umap-learn", "onnxruntime", "triton"}
    assert {"starlette", "uvicorn", "psycopg", "redis"} <= kept
