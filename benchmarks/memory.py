"""Memory of an installation at rest: web process and everything together, as PSS.

Value: PSS of all processes at rest, models loaded, ÷ the bar of 1,200 MB. Baseline is the bar itself,
because memory is promised in absolute terms (laptops have an absolute size).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._installation import Installation, RemotePhotos
from benchmarks._report import arguments, report

IDLE_BAR_MB = 1200
WEB_BAR_MB = 200


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        RemotePhotos(options.photos, options.data, 0.0) as origin,
        Installation(Path(scratch) / "home") as installation,
    ):
        listed = Path(scratch) / "list.txt"
        listed.write_text("\n".join(f"{origin.url}{n:05}.jpg" for n in range(options.photos)))
        installation.json("ingest", "Party", str(listed), "--wait")
        installation.json("search", "party", "people dancing")
        installation.wait_idle()
        parts = {name: size / 1e6 for name, size in installation.parts().items()}
    total = sum(parts.values())
    return report(
        {
            "name": "memory",
            "value": round(total / IDLE_BAR_MB, 4),
            "unit": "ratio",
            "baseline": f"{IDLE_BAR_MB} MB",
            "bar": 1.0,
            "holds": total <= IDLE_BAR_MB and parts["web"] <= WEB_BAR_MB,
            "runs": 1,
            "details": {
                "idle_pss_mb": {"value": round(total), "bar": IDLE_BAR_MB},
                "web_pss_mb": {"value": round(parts["web"]), "bar": WEB_BAR_MB},
                "parts_mb": {name: round(part) for name, part in sorted(parts.items())},
            },
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
