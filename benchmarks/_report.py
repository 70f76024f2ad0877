"""What every benchmark prints: one JSON object on stdout, or the same for people."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CLAIR_TEST_DATA", ROOT.parent / "shared" / "data"))


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of labelled photos")
    return parser


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def report(result: dict[str, Any], *, as_json: bool) -> int:
    """Print the result; the exit code says whether every bar holds."""
    missing = {"name", "value", "unit", "baseline", "bar", "holds", "runs", "details"} - set(result)
    assert not missing, missing
    if as_json:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        for key, value in result.items():
            print(f"{key}: {json.dumps(value, indent=2) if key == 'details' else value}")
    return 0 if result["holds"] else 1
