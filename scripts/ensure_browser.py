"""Prints the path of a Chromium, installing one where the machine has none.

Looked for on PATH, then among Playwright's own; then Playwright downloads one, and where that
fails on Debian or Ubuntu as root, apt-get installs it. All that is not the path goes to stderr.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
CURE = (
    "The browser tests need Chromium and none could be installed. Install it with your system's "
    "package manager, or with `.venv/bin/playwright install --with-deps chromium`, or name one: "
    "CHROMIUM=/path/to/chromium make test."
)


def named() -> str | None:
    """The one that the caller names in CHROMIUM."""
    path = os.environ.get("CHROMIUM", "")
    return path if path and os.access(path, os.X_OK) else None


def on_path() -> str | None:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    return found or (str(MAC) if MAC.exists() else None)


def playwrights() -> str | None:
    """Playwright's own, if it is there and has the system libraries that it needs."""
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if not Path(path).exists():
        return None
    return path if run([path, "--version"]) else None


def run(command: list[str]) -> bool:
    try:
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0
    except OSError:
        return False


def download() -> str | None:
    print("No Chromium here: Playwright fetches one.", file=sys.stderr)
    return (
        playwrights() if run([sys.executable, "-m", "playwright", "install", "chromium"]) else None
    )


def from_apt() -> str | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("Installing Chromium with apt-get.", file=sys.stderr)
    quiet = ["apt-get", "-qq", "-y", "-o", "Dpkg::Use-Pty=0"]
    os.environ.setdefault("DEBIAN_FRONTEND", "noninteractive")
    run([*quiet, "update"])
    return on_path() if run([*quiet, "install", "--no-install-recommends", "chromium"]) else None


def main() -> int:
    for way in (named, on_path, playwrights, download, from_apt):
        path = way()
        if path:
            print(path)
            return 0
    print(CURE, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
