"""Checks of an installation, each failure with its cure. The command line prints the rows.

Every check is a function that returns a `Check` and raises nothing: what it can't find out is a
failed row with the reason.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from app.core.errors import BadInput, ClairError, PortTaken
from app.embedded.home import MIN_FREE_BYTES, Home, prepare_home
from app.embedded.ports import check_port
from app.embedded.postgres import installed_versions, libpq_url
from app.embedded.redis import ping_seconds, server_program
from app.embedded.services import running_services, start_services
from app.operate.joining import check_blobs, check_key, clock_skew
from app.operate.running import find_running
from app.settings import Settings, unknown_variables
from app.storage import migrate
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine, translated

PYTHONS = ((3, 11), (3, 13))
MOST_SKEW_SECONDS = 5.0
"""Leases go by PostgreSQL's clock alone. Dramatiq goes by the machines': at 10 s apart a search is
dropped as too old (ENCODE_TIMEOUT), and a living worker's messages are taken for a dead one's."""
_PROBE_SECONDS = 20
_PROBE = "probe/doctor"
_NO_SCHEMA = "none yet; `clairvision up` makes it"


@dataclass(frozen=True, slots=True)
class Check:
    """One row. `cure` is empty where `ok`."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


Finding = Callable[[], str]
"""Returns what it found, in a line; raises ClairError with message and cure where it is wrong."""


def examine(
    settings: Settings,
    *,
    models: Finding | None = None,
    frontend: Path | None = None,
    ask_torch: bool = False,
) -> list[Check]:
    """All checks, in the order in which a person would mend them.

    `models` checks the weights of the profile; `frontend` is the built manifest; each is left out
    where None. `ask_torch` starts a child that imports torch, which takes seconds. Embedded
    services that don't run are started for the check and stopped after it.
    """
    home = Home(settings.home)
    rows = [
        check_python(),
        check_variables(),
        check("home", lambda: _home(settings)),
        check("disk", lambda: _disk(settings.home)),
        check("port", lambda: _port(settings, home)),
    ]
    if settings.database_url is None or settings.redis_url is None:
        rows.append(check("embedded programs", _programs))
    rows += check_services(settings)
    if models is not None:
        rows.append(check(f"models ({settings.profile})", models))
    if frontend is not None:
        rows.append(check_frontend(frontend))
    return [*rows, check_gpu(ask_torch=ask_torch)]


def check(name: str, find: Finding) -> Check:
    """The row of a finding, whatever it raises of ours."""
    try:
        return Check(name, True, find())
    except ClairError as error:
        return Check(name, False, error.message, error.cure)


def check_python() -> Check:
    low, high = PYTHONS
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if low <= sys.version_info[:2] <= high:
        return Check("python", True, detail)
    cure = f"Use Python {low[0]}.{low[1]} to {high[0]}.{high[1]}."
    return Check("python", False, detail, cure)


def check_variables() -> Check:
    """Misspelt CLAIR_ variables, which would otherwise be ignored in silence."""
    unknown = unknown_variables()
    if not unknown:
        return Check("settings", True, "every CLAIR_ variable is known")
    return Check(
        "settings", False, f"nothing reads {', '.join(unknown)}", "docs/settings.md lists them all."
    )


def _home(settings: Settings) -> str:
    prepare_home(settings.home, min_free=0)
    return f"{settings.home} can be written"


def _disk(home: Path) -> str:
    """Looks at the closest folder that exists, so that it works before the first start."""
    place = next((path for path in (home, *home.parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        raise ClairError(
            f"{free // 1_000_000} MB free, {MIN_FREE_BYTES // 1_000_000} MB needed",
            cure="Free some space, or choose a folder on another disk with --home or CLAIR_HOME.",
        )
    return f"{free / 1e9:.1f} GB free"


def _port(settings: Settings, home: Home) -> str:
    running = find_running(home)
    if running is not None:
        return f"ClairVision runs at {running.address} (process {running.pid})"
    try:
        check_port(settings.host, settings.port)
    except PortTaken as error:
        raise ClairError(error.message, cure=error.cure) from error
    return f"{settings.port} on {settings.host} is free"


def _programs() -> str:
    versions = installed_versions()
    if not versions:
        raise ClairError(
            "PostgreSQL's programs are missing",
            cure="Install ClairVision again, or set DATABASE_URL and REDIS_URL.",
        )
    return f"PostgreSQL {max(versions)} and {server_program().name}"


def check_services(settings: Settings) -> list[Check]:
    """PostgreSQL with its schema, this machine's part in the installation, blobs and Redis.

    The services are started for the moment if they don't run.
    """
    try:
        services = running_services(settings) or start_services(settings)
    except ClairError as error:
        return [Check("services", False, error.message, error.cure)]
    with services:
        url = services.database_url
        rows = [check("postgresql", lambda: _postgres(url))]
        if rows[0].ok:
            rows += [check("clock", lambda: _clock(url)), check("schema", lambda: _schema(url))]
        ready = rows[-1].ok and rows[-1].detail != _NO_SCHEMA and len(rows) > 1
        if ready:
            rows.append(check("secret key", lambda: _key(settings, url)))
        rows.append(check("blobs", lambda: _blobs(settings, url if ready else None)))
        rows.append(check("redis", lambda: _redis(services.redis_url)))
    return rows


def _clock(url: str) -> str:
    skew = clock_skew(url)
    if abs(skew) > MOST_SKEW_SECONDS:
        raise BadInput(
            f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} PostgreSQL",
            cure="Let both machines set their clocks by NTP.",
        )
    return f"{abs(skew):.3f} s off PostgreSQL's"


def _schema(url: str) -> str:
    if migrate.current(url) is None:
        return _NO_SCHEMA
    return f"at revision {migrate.require(url)}"


def _key(settings: Settings, url: str) -> str:
    with _looking(url) as session:
        check_key(session, settings)
    return "the installation's"


def _blobs(settings: Settings, url: str | None) -> str:
    """`url` is the database's where it can say whose blobs these are."""
    blobs = open_blobs(settings.home, settings.blobs_url)
    blobs.put(_PROBE, b"written")
    blobs.get(_PROBE)
    blobs.delete(_PROBE)
    if url is not None:
        with _looking(url) as session:
            check_blobs(session, blobs, claim=False)
    return f"{blobs.place} can be written and read"


@contextmanager
def _looking(url: str) -> Iterator[Session]:
    """A session whose writes are undone."""
    engine = make_engine(url, pool_size=1, application="clairvision doctor")
    try:
        with Session(engine) as session:
            yield session
    except DBAPIError as error:
        raise translated(error) from error
    finally:
        engine.dispose()


def _postgres(url: str) -> str:
    statement = (
        "SELECT current_setting('server_version'), "
        "(SELECT extversion FROM pg_extension WHERE extname = 'vector')"
    )
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=5) as connection:
            row = connection.execute(statement).fetchone()
    except psycopg.Error as error:
        raise ClairError(
            f"can't be used: {str(error).strip().splitlines()[0]}",
            cure="Is it running? Check DATABASE_URL, or logs/postgres.log in the home folder.",
        ) from error
    if row is None or row[1] is None:
        raise ClairError(
            f"PostgreSQL {row[0] if row else ''} has no pgvector in this database",
            cure="As its superuser run CREATE EXTENSION vector; in it.",
        )
    return f"PostgreSQL {row[0]} with pgvector {row[1]}"


def _redis(url: str) -> str:
    return f"answers in {ping_seconds(url) * 1000:.1f} ms"


def check_frontend(manifest: Path) -> Check:
    if manifest.is_file():
        return Check("frontend", True, "built")
    return Check("frontend", False, f"{manifest} is missing", "Build it with `make frontend`.")


def check_gpu(*, ask_torch: bool = False) -> Check:
    """The graphics card that the encoders would use. None is no failure: everything runs without.

    torch is asked in a child, because importing it would cost this process 300 MB.
    """
    program = shutil.which("nvidia-smi")
    query = ["--query-gpu=name,memory.total", "--format=csv,noheader"]
    cards = _lines([program, *query]) if program else []
    if not ask_torch:
        return Check("gpu", True, ", ".join(cards) or "none: the models run on the processor")
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    answer = _lines([sys.executable, "-c", code])
    if not answer:
        return Check("gpu", False, "torch can't be imported", "Install ClairVision again.")
    version, usable = answer[-1].split()
    if cards and usable != "True":
        return Check(
            "gpu",
            False,
            f"{', '.join(cards)}, which torch {version} can't use",
            "Install a torch build for CUDA that fits the driver.",
        )
    return Check("gpu", True, f"{', '.join(cards) or 'none'}; torch {version}")


def _lines(command: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # a driver without its card answers with an error: that is no card
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
