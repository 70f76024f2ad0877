"""Starting and stopping: up, down, web, worker, migrate."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
import uvicorn
from rich.text import Text

from app.commands.common import Home, Profile, command, out, say
from app.commands.weights import require_weights
from app.core.errors import AlreadyRunning, BadInput, ServiceDown
from app.embedded.home import Home as HomeFolder
from app.embedded.home import hold_home, prepare_home
from app.embedded.lifeline import exit_with_parent
from app.embedded.ports import check_port
from app.embedded.services import Services, running_services, start_services
from app.operate import joining
from app.operate.running import down as stop_running
from app.operate.running import find_running, is_up, start_detached
from app.settings import Settings
from app.storage import accounts, audit, migrate
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine, session_scope
from workers.logs import set_up_logging
from workers.supervisor import ChildSpec, Supervisor

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65535)]


@command
def up(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    profile: Profile = None,
    workers: Annotated[
        int | None, typer.Option(help="Ingest processes; each loads the models once.", min=1)
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is ready.")] = False,
) -> None:
    """Start everything: database, queue, web server and workers. Ctrl-C stops it all."""
    settings = Settings.from_environment(
        home=home, host=host, port=port, profile=profile, worker_processes=workers
    )
    folder = prepare_home(settings.home)
    refuse_second(settings)
    check_port(settings.host, settings.port)
    require_weights(settings)
    if detach:
        argv = [sys.executable, "-m", "app.cli", "up"]
        running = start_detached(argv, folder, {**os.environ, **settings.to_environment()})
        out.print(f"ClairVision runs at {running.address} (process {running.pid}).")
        _print_welcome(settings)
        return
    run_everything(settings)


def refuse_second(settings: Settings) -> None:
    """Raises AlreadyRunning with the address of the one that serves this home."""
    folder = HomeFolder(settings.home)
    running = find_running(folder)
    if running is not None or is_up(folder):
        where = f" at {running.address} (process {running.pid})" if running else ""
        raise AlreadyRunning(
            f"ClairVision already runs on {settings.home}{where}.",
            cure="Open that address, stop it with `clairvision down`, or use another --home.",
        )


def run_everything(settings: Settings, *, on_ready: Callable[[], None] | None = None) -> None:
    """Embedded services, migrations, web and workers under one supervisor; until a signal.

    `on_ready` is called once, in the supervisor's loop, when the web server answers.
    """
    set_up_logging(settings.log_level)
    folder = prepare_home(settings.home)
    settings.remember()
    supervisors: list[Supervisor] = []
    say.print("Starting the database and the queue …")

    def failed(message: str) -> None:
        for supervisor in supervisors:
            supervisor.fail(message)

    def ready() -> None:
        say.print("ClairVision runs at", Text(settings.address, "bold"))
        _welcome(settings, services)
        if on_ready is not None:
            on_ready()

    with (
        hold_home(folder, settings.address),
        start_services(settings, on_failure=failed) as services,
    ):
        migrate.upgrade(services.database_url)
        if settings.database_url is None and settings.blobs_url is None:
            # Database and blobs lie in one home folder: they belong together, whatever was deleted.
            _adopt_blobs(settings, services.database_url)
        joining.join(_reaching(settings, services))
        say.print("Starting the web server and the workers …")
        supervisor = Supervisor(
            folder,
            children(settings, services),
            address=settings.address,
            health_url=f"http://{_loopback(settings)}:{settings.port}/healthz",
            on_ready=ready,
            echo=settings.log_level == "debug",
        )
        supervisors.append(supervisor)
        if services.failure is not None:  # before there was a supervisor to tell
            raise ServiceDown(services.failure, cure=f"The logs are in {folder.logs}.")
        supervisor.run()
    say.print("Stopped.")


def children(settings: Settings, services: Services) -> list[ChildSpec]:
    """The processes of one machine, each with everything it needs in its environment."""
    env = {**settings.to_environment(), **services.environment()}
    here = [sys.executable, "-m", "app.cli"]
    ingest = [
        ChildSpec(
            name="ingest" if number == 1 else f"ingest-{number}",
            argv=[*here, "worker", "--queues", "ingest"],
            env=env,
        )
        for number in range(1, settings.worker_processes + 1)
    ]
    return [
        ChildSpec(name="web", argv=[*here, "web"], env=env, vital=True),
        *ingest,
        ChildSpec(name="query", argv=[*here, "worker", "--queues", "query"], env=env),
        ChildSpec(name="graph", argv=[*here, "worker", "--queues", "graph"], env=env),
    ]


def _loopback(settings: Settings) -> str:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
    return everywhere.get(settings.host, settings.host)


def _print_welcome(settings: Settings) -> None:
    services = running_services(settings)
    if services is not None:
        _welcome(settings, services)


def _welcome(settings: Settings, services: Services) -> None:
    """Print the one-time owner link while there is no owner."""
    engine = make_engine(services.database_url, pool_size=1)
    with session_scope(engine) as session:
        if accounts.has_owner(session):
            return
        secret = accounts.make_welcome_link(session)
    engine.dispose()
    say.print("Make the owner's account with this link; it works once, within 24 hours:")
    say.print(f"  {settings.address}/welcome/{secret}", soft_wrap=True)


@command
def down(home: Home = None) -> None:
    """Stop what `up` started on this home."""
    settings = Settings.from_environment(home=home)
    if stop_running(HomeFolder(settings.home)):
        out.print("Stopped.")
    else:
        out.print(f"Nothing runs on {settings.home}.")


@command
def web(home: Home = None, host: Host = None, port: Port = None) -> None:
    """Run only the web server, against DATABASE_URL and REDIS_URL."""
    settings = with_services(Settings.from_environment(home=home, host=host, port=port))
    exit_with_parent()
    check_port(settings.host, settings.port)
    set_up_logging(settings.log_level)
    joining.join(settings)
    from app.main import create_app  # noqa: PLC0415 - only this process needs the web room

    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # app/web/access_log.py writes one without secrets
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_graceful_shutdown=5,
        ws_max_size=64 * 1024,
    )


@command
def worker(
    home: Home = None,
    profile: Profile = None,
    queues: Annotated[
        str,
        typer.Option(help="Queues to work on: ingest, query, graph. Discover goes with ingest."),
    ] = "ingest,query,graph",
    processes: Annotated[int, typer.Option(help="Processes to run.", min=1, max=64)] = 1,
) -> None:
    """Run workers, against DATABASE_URL and REDIS_URL, on this machine or any other.

    SIGTERM or Ctrl-C drains them: nothing new is begun, and what is in hand is given back.
    """
    from workers.main import parse_queues, run_worker  # noqa: PLC0415 - loads the encoders' rooms

    wanted = parse_queues(queues)
    settings = with_services(Settings.from_environment(home=home, profile=profile))
    set_up_logging(settings.log_level)
    if processes == 1:
        run_worker(settings, wanted)
        return
    joining.join(settings)  # once, and at once: the children would be started again and again
    name = "+".join(each.strip() for each in queues.split(",") if each.strip())
    argv = [sys.executable, "-m", "app.cli", "worker", "--queues", queues]
    specs = [
        ChildSpec(name=f"worker-{name}-{number}", argv=argv, env=settings.to_environment())
        for number in range(1, processes + 1)
    ]
    Supervisor(prepare_home(settings.home), specs).run()


@command
def migrate_command(
    adopt_blobs: Annotated[
        bool,
        typer.Option("--adopt-blobs", help="Take this blob store: the old one was moved or lost."),
    ] = False,
    adopt_key: Annotated[
        bool,
        typer.Option(
            "--adopt-key",
            help="Take this secret key: the old one was lost. Sources' credentials go with it.",
        ),
    ] = False,
    home: Home = None,
) -> None:
    """Bring the database's schema up to date. The first time this also decides which secret key and
    which blob store are the installation's."""
    settings = Settings.from_environment(home=home)
    services = running_services(settings) or start_services(settings)
    with services:
        out.print(f"The schema is at revision {migrate.upgrade(services.database_url)}.")
        if adopt_blobs:
            _adopt_blobs(settings, services.database_url)
        if adopt_key:
            engine = make_engine(services.database_url, pool_size=1)
            joining.adopt_key(engine, settings)
            engine.dispose()
        joining.join(_reaching(settings, services))


def _adopt_blobs(settings: Settings, database_url: str) -> None:
    engine = make_engine(database_url, pool_size=1)
    joining.adopt_blobs(engine, open_blobs(settings.home, settings.blobs_url))
    engine.dispose()


@command
def owner_link(
    home: Home = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Let an existing owner choose a new password.")
    ] = False,
) -> None:
    """Print a one-time link that makes the first owner, or resets a password."""
    settings = with_services(Settings.from_environment(home=home))
    engine = make_engine(settings.database_url or "", pool_size=1)
    with session_scope(engine) as session:
        secret = accounts.make_welcome_link(session, reset=reset)
        audit.record(session, "command line", "welcome-link.make")
    address = _address_of_running(settings)
    out.print(f"{address}/welcome/{secret}", soft_wrap=True)


def _address_of_running(settings: Settings) -> str:
    running = find_running(HomeFolder(settings.home))
    return running.address if running and running.address else settings.address


def with_services(settings: Settings) -> Settings:
    """The same settings with the addresses of the services that run. Raises BadInput."""
    services = running_services(settings)
    if services is None:
        raise BadInput(
            "There is no database to work with.",
            cure="Start `clairvision up`, or set DATABASE_URL and REDIS_URL.",
        )
    return _reaching(settings, services)


def _reaching(settings: Settings, services: Services) -> Settings:
    return Settings.from_environment({**settings.to_environment(), **services.environment()})
