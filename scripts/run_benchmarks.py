"""Runs every benchmark and prints a table of what it measured and whether its bar holds.

    python scripts/run_benchmarks.py            # all
    python scripts/run_benchmarks.py ingest     # those named

Each is run alone, one after the other, as `python benchmarks/NAME.py --json`, and prints one JSON
object: name, value, unit, baseline, bar, holds, runs, details. Exits 1 if one fails or a bar does
not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
COLUMNS = ("benchmark", "value", "unit", "bar", "holds", "runs", "seconds", "against")


def chosen(names: list[str]) -> list[Path]:
    """The files to run. Exits where a name is unknown."""
    known = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem[0] != "_"}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}. Known: {', '.join(known)}.")
    return [known[name] for name in names] if names else list(known.values())


def measure(path: Path) -> tuple[dict[str, Any] | None, float, str]:
    """(its JSON or None, wall seconds, its last words on standard error)."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(path), "--json"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    words = (done.stderr.strip().splitlines() or [""])[-1]
    try:
        return json.loads(done.stdout), seconds, words
    except json.JSONDecodeError:
        return None, seconds, words or f"no JSON (status {done.returncode})"


def row(path: Path) -> tuple[list[str], bool]:
    result, seconds, words = measure(path)
    if result is None:
        return [path.stem, "–", "", "", "failed", "", f"{seconds:.0f}", words], False
    holds = bool(result["holds"])
    value = f"{result['value']:.4g}" if result["value"] is not None else "–"
    cells = [path.stem, value, result["unit"], str(result["bar"]), "yes" if holds else "NO"]
    return [*cells, str(result["runs"]), f"{seconds:.0f}", str(result["baseline"])], holds


def main(names: list[str]) -> int:
    rows: list[list[str]] = []
    good = True
    for path in chosen(names):
        print(f"… {path.stem}", file=sys.stderr, flush=True)
        cells, holds = row(path)
        rows.append(cells)
        good = good and holds
    widths = [max(len(line[i]) for line in [list(COLUMNS), *rows]) for i in range(len(COLUMNS))]
    for line in [list(COLUMNS), ["-" * width for width in widths], *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
