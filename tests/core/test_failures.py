"""Every reason that the code can give has a cure in words."""

import re
from pathlib import Path

import app
from app.core.failures import CURES, cure_for

ROOT = Path(app.__file__).parent
GIVEN = re.compile(
    r"(?:PhotoRejected|SourceUnavailable|TryAgain|BadEntry)\(\s*\"([a-z-]+)\""
    r"|\breason=\"([a-z-]+)\""
)


def test_every_reason_has_a_cure():
    given = set()
    for room in ("sources", "ingest"):
        for path in (ROOT / room).rglob("*.py"):
            given |= {one or two for one, two in GIVEN.findall(path.read_text("utf-8"))}
    assert len(given) > 10
    assert given - CURES.keys() == set()


def test_an_unknown_reason_still_gets_advice():
    assert "retry" in cure_for("never-seen").lower()
