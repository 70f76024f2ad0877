"""`clairvision status --follow`: the figures of the pages, again and again, until Ctrl-C."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field

from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine
from sqlmodel import col, select

from app.commands.common import out
from app.commands.words import left, size, speed
from app.core.errors import ServiceDown
from app.core.runs import Progress
from app.ingest.figures import event_progress
from app.storage.engine import session_scope
from app.storage.tables import OPEN_RUNS, Run, RunKind

SECONDS = 1.0


@dataclass
class _Watched:
    """Events that had an open run since the watching began: their end is shown too."""

    engine: Engine
    events: dict[int, None] = field(default_factory=dict)

    def look(self) -> list[Progress]:
        with session_scope(self.engine) as session:
            going = session.exec(
                select(Run.event_id)
                .where(Run.kind == RunKind.INGEST, col(Run.state).in_(OPEN_RUNS))
                .distinct()
            ).all()
            self.events |= dict.fromkeys(sorted(going))
            return [event_progress(session, event_id) for event_id in self.events]


def watch(engine: Engine, *, as_json: bool) -> None:
    """Show what is being ingested until the person ends it. With `as_json` one document a line."""
    watched = _Watched(engine)
    with suppress(KeyboardInterrupt):
        if as_json or not out.is_terminal:
            _lines(watched, as_json)
        else:
            _table_for_ever(watched)


def _lines(watched: _Watched, as_json: bool) -> None:
    """For pipes and logs: what changed, a line each."""
    before: dict[str, str] = {}
    while True:
        with suppress(ServiceDown):  # the next look may succeed
            for progress in watched.look():
                shown = json.dumps(progress.to_json()) if as_json else _line(progress)
                if before.get(progress.event) != shown:
                    before[progress.event] = shown
                    print(shown, flush=True)  # noqa: T201 - Rich would wrap it
        time.sleep(SECONDS)


def _table_for_ever(watched: _Watched) -> None:
    with Live(console=out, auto_refresh=False) as live:
        while True:
            try:
                live.update(_table(watched.look()), refresh=True)
            except ServiceDown as error:
                live.update(Text(f"{error} Trying again."), refresh=True)
            time.sleep(SECONDS)


def _line(progress: Progress) -> str:
    parts = [
        f"{progress.event}: {progress.state}",
        f"{progress.discovered} found",
        f"{progress.fetched} fetched",
        f"{progress.indexed} embedded",
        f"{progress.failed} failed",
        size(progress.bytes),
        speed(progress),
        left(progress),
    ]
    return ", ".join(part for part in parts if part)


def _table(found: list[Progress]) -> Table | Text:
    if not found:
        return Text("Nothing is being ingested. Ctrl-C ends this.")
    heads = ("event", "state", "found", "fetched", "embedded", "failed", "moved", "rate", "left")
    table = Table(*heads, box=None, pad_edge=False)
    for each in found:
        table.add_row(
            each.event,
            each.state,
            f"{each.discovered:,}",
            f"{each.fetched:,}",
            f"{each.indexed:,}",
            f"{each.failed:,}",
            size(each.bytes),
            speed(each),
            left(each),
        )
    return table
