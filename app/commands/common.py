"""What every command shares: options, printing, errors to exit codes."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

from app.core.errors import BadInput, ClairError, ServiceDown
from app.embedded.services import running_services
from app.ingest.service import IngestService
from app.settings import Settings
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine
from app.storage.progress import ProgressPublisher
from app.storage.queue import RedisJobQueue
from app.storage.sealing import Sealer, secret_key

ACTOR = "command line"
EXIT_FAILED = 1
EXIT_USAGE = 2

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of this installation. Default: CLAIR_HOME or the data folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Profile = Annotated[str | None, typer.Option(help="Which models: pocket or studio.")]

# JSON alone goes to stdout; everything said to people in passing goes to stderr.
# Names and messages are printed letter by letter: a name may hold [brackets] and :colons:.
say = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Deliberate errors become one line on stderr and the exit code: 2 for bad usage, else 1."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ClairError as error:
            say.print(Text("✗", "red"), error.message, soft_wrap=True)
            if error.cure:
                say.print(f"  {error.cure}", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_USAGE if isinstance(error, BadInput) else EXIT_FAILED) from error

    return run


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Connected:
    """A command's connections to the running installation."""

    settings: Settings
    engine: Engine
    jobs: RedisJobQueue
    redis_url: str


def connect(settings: Settings) -> Connected:
    """Connections to what runs on this home, or at DATABASE_URL and REDIS_URL.

    Raises ServiceDown where nothing runs.
    """
    services = running_services(settings)
    if services is None:
        raise ServiceDown(
            f"ClairVision is not running on {settings.home}.",
            cure="Start it with `clairvision up`, or name the right folder with --home.",
        )
    engine = make_engine(services.database_url, pool_size=2, application="clairvision command")
    return Connected(settings, engine, RedisJobQueue(services.redis_url), services.redis_url)


def ingests(connected: Connected) -> IngestService:
    """What is asked of sources and runs; pages that are open hear of it at once."""
    settings = connected.settings
    return IngestService(
        connected.engine,
        connected.jobs,
        Sealer(secret_key(settings.home, settings.secret_key)),
        open_blobs(settings.home, settings.blobs_url),
        settings.chunk_size,
        tell=ProgressPublisher(connected.redis_url).publish,
    )
