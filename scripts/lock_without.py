"""Prints a lock file without some packages, so that an image holds only what its process imports.

    python lock_without.py requirements.lock torch 'nvidia-*' > smaller.lock

Patterns are those of the shell. One that matches nothing is an error, so that a renamed package
can't slip back in unseen; a trailing `?` allows that.
"""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

NAME = re.compile(r"^([A-Za-z0-9._-]+)")


def entries(lock: str) -> list[tuple[str, str]]:
    """(normalised name, whole text) of each requirement, its hashes included."""
    found: list[tuple[str, str]] = []
    for line in lock.splitlines(keepends=True):
        if line[:1].isspace() and found:
            name, text = found[-1]
            found[-1] = (name, text + line)
        elif match := NAME.match(line):
            found.append((re.sub(r"[-_.]+", "-", match[1]).lower(), line))
    return found


def main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: lock_without.py LOCK [PATTERN …]", file=sys.stderr)
        return 2
    kept = entries(Path(arguments[0]).read_text("utf-8"))
    for given in arguments[1:]:
        pattern = given.removesuffix("?")
        rest = [entry for entry in kept if not fnmatchcase(entry[0], pattern)]
        if len(rest) == len(kept) and pattern == given:
            print(f"no package in the lock file matches {given}", file=sys.stderr)
            return 1
        kept = rest
    sys.stdout.write("".join(text for _, text in kept))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
