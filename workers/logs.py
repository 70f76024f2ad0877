"""One log line an event, on stderr: time, level, where, what. The supervisor keeps the files."""

from __future__ import annotations

import logging
import sys


def set_up_logging(level: str) -> None:
    """Send all logs of this process to stderr at `level`; noisy libraries one step quieter."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    for noisy in ("dramatiq", "alembic", "PIL", "httpx", "aiohttp", "numba", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.root.level))
