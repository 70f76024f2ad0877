"""Looking after it: status, doctor, models, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

import app
from app.commands.common import (
    EXIT_FAILED,
    Home,
    Json,
    Profile,
    command,
    connect,
    out,
    print_json,
    say,
)
from app.commands.watch import watch
from app.commands.weights import needed_weights, require_weights
from app.core.errors import BadInput, ServiceDown
from app.embedded.home import Home as HomeFolder
from app.embedded.home import prepare_home
from app.encoders import weights
from app.ingest.figures import event_runs
from app.operate.doctor import examine
from app.operate.fleet import workers
from app.operate.running import find_running
from app.settings import Settings
from app.storage import accounts, audit
from app.storage.engine import session_scope
from app.storage.events import all_events

SCOPES = ("read", "write")
FRONTEND = (
    Path(app.__file__).resolve().parent.parent / "static" / "dist" / ".vite" / "manifest.json"
)


@command
def status(
    as_json: Json = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show how far the ingests are, until Ctrl-C.")
    ] = False,
    home: Home = None,
) -> None:
    """Say what runs, what each event holds, and how far its runs are."""
    settings = Settings.from_environment(home=home)
    if follow:
        watch(connect(settings).engine, as_json=as_json)
        return
    found = _status(settings)
    if as_json:
        print_json(found)
        return
    if not found["running"]:
        out.print(f"Nothing runs on {settings.home}. Start it with `clairvision up`.")
        return
    out.print(f"Running at {found['address']}" if found["address"] else "Running.")
    table = Table("event", "photos", "faces", "failed", "last run", box=None, pad_edge=False)
    for event in found["events"]:
        run = event["run"]
        said = f"{run['state']}, {run['indexed']} of {run['discovered']}" if run else "none yet"
        table.add_row(
            event["name"], str(event["photos"]), str(event["faces"]), str(event["failed"]), said
        )
    out.print(table if found["events"] else "There is no event yet.")
    out.print()
    out.print(_workers(found["workers"]) if found["workers"] else "No worker is running.")


def _workers(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "worker", "queues", "state", "photos", "last minute", "seen", box=None, pad_edge=False
    )
    for row in rows:
        table.add_row(
            f"{row['host']} {row['pid']}",
            row["queues"],
            row["state"],
            str(row["done"]),
            str(row["recent"]),
            f"{row['seen_seconds_ago']:.0f} s ago",
        )
    return table


def _status(settings: Settings) -> dict[str, Any]:
    running = find_running(HomeFolder(settings.home))
    body: dict[str, Any] = {
        "running": running is not None,
        "address": running.address if running else None,
        "pid": running.pid if running else None,
        "home": str(settings.home),
        "profile": settings.profile,
        "queues": {},
        "workers": [],
        "events": [],
    }
    try:
        connected = connect(settings)
    except ServiceDown:
        return body
    body["running"] = True
    body["queues"] = {
        name: {"waiting": waiting, "delayed": delayed}
        for name, (waiting, delayed) in connected.jobs.lengths().items()
    }
    with session_scope(connected.engine) as session:
        connection = session.connection()
        body["workers"] = [worker.to_json() for worker in workers(session)]
        counts = {
            row[0]: row[1:]
            for row in connection.execute(
                text(
                    "SELECT event_id, count(*) FILTER (WHERE indexed_at IS NOT NULL),"
                    " count(*) FILTER (WHERE state = 'rejected') FROM photo GROUP BY event_id"
                )
            )
        }
        faces: dict[int, int] = {
            row[0]: row[1]
            for row in connection.execute(
                text("SELECT event_id, count(*) FROM face GROUP BY event_id")
            )
        }
        for event in all_events(session):
            runs = event_runs(session, event.id, limit=1)
            photos, failed = counts.get(event.id, (0, 0))
            body["events"].append(
                {
                    "slug": event.slug,
                    "name": event.name,
                    "photos": photos,
                    "faces": faces.get(event.id, 0),
                    "failed": failed,
                    "run": runs[0].to_json() if runs else None,
                }
            )
    return body


@command
def doctor(as_json: Json = False, home: Home = None, profile: Profile = None) -> None:
    """Check services, models, disk, ports and GPU; say how to cure what fails."""
    settings = Settings.from_environment(home=home, profile=profile)
    checks = examine(
        settings,
        models=lambda: _models_ready(settings),
        frontend=FRONTEND,
        ask_torch=True,
    )
    if as_json:
        print_json(
            [{"name": c.name, "ok": c.ok, "detail": c.detail, "cure": c.cure} for c in checks]
        )
    else:
        for check in checks:
            mark = Text("✓", "green") if check.ok else Text("✗", "red")
            out.print(mark, f"{check.name}: {check.detail}", soft_wrap=True)
            if check.cure:
                out.print(f"    {check.cure}", markup=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(EXIT_FAILED)


def _models_ready(settings: Settings) -> str:
    require_weights(settings)
    return f"{settings.encoders} has all its weights"


models = typer.Typer(help="Weights of the models: list, pull, check.", no_args_is_help=True)


@models.command("list")
@command
def models_list(as_json: Json = False, home: Home = None) -> None:
    """Say which models there are and whether their weights are here."""
    settings = Settings.from_environment(home=home)
    rows = weights.list_models(settings.home / "models")
    if as_json:
        print_json([_model_row(row) for row in rows])
        return
    table = Table("model", "profile", "state", "size", "source", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row.name, row.profile, row.state, _size(row.size), row.source)
    out.print(table)


def _model_row(row: weights.ModelStatus) -> dict[str, Any]:
    return {
        "name": row.name,
        "profile": row.profile,
        "state": row.state.value,
        "bytes": row.size,
        "path": str(row.path) if row.path else None,
        "source": row.source,
        "detail": row.detail,
    }


def _size(size: int | None) -> str:
    return f"{size / 1_000_000:.0f} MB" if size else ""


@models.command("pull")
@command
def models_pull(
    name: Annotated[
        str | None,
        typer.Argument(help="A model's name from `models list`; all of the profile by default."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address to load from instead of the original.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="A file that you downloaded yourself.")
    ] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Download weights; an interrupted download goes on where it stopped."""
    settings = Settings.from_environment(home=home, profile=profile)
    names = [weights.canonical(name)] if name else needed_weights(settings)
    if not names:
        out.print("The profile pocket needs no download. For studio: --profile studio.")
        return
    if from_file is not None and len(names) > 1:
        raise BadInput("--from goes with one model.", cure=f"Name it: {' or '.join(names)}.")
    folder = prepare_home(settings.home).path / "models"
    for each in names:
        _pull(each, folder, mirror, from_file)


def _pull(name: str, folder: Path, mirror: str | None, from_file: Path | None) -> None:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=say,
    )
    with bar:
        task = bar.add_task(name, total=None)
        path = weights.pull(
            name,
            folder,
            mirror=mirror,
            from_file=from_file,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    out.print(f"{name} is ready: {path}", soft_wrap=True)


@models.command("check")
@command
def models_check(
    name: Annotated[str | None, typer.Argument(help="A model's name; all by default.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Check the weights that are here against their checksums."""
    settings = Settings.from_environment(home=home)
    folder = settings.home / "models"
    # The pocket nets are made on this machine from their packages: there is no checksum to hold.
    present = [row for row in weights.list_models(folder) if row.profile != "pocket"]
    names = [name] if name else [row.name for row in present if row.path is not None]
    rows = [weights.check(each, folder) for each in names]
    if as_json:
        print_json([_model_row(row) for row in rows])
    elif not rows:
        out.print("No downloaded weights are here.")
    for row in rows:
        if not as_json:
            out.print(f"{row.name}: {row.state}. {row.detail}", markup=False, soft_wrap=True)
    if any(row.state in (weights.State.DAMAGED, weights.State.PARTIAL) for row in rows):
        raise typer.Exit(EXIT_FAILED)


token = typer.Typer(help="API tokens.", no_args_is_help=True)


@token.command("create")
@command
def token_create(
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
    name: Annotated[str, typer.Option(help="What it is for.")] = "command line",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a bearer token for the API. It is shown once."""
    if scope not in SCOPES:
        raise BadInput(f"There is no scope “{scope}”.", cure=f"Scopes: {', '.join(SCOPES)}.")
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        row, plain = accounts.create_token(session, name, scope)
        audit.record(session, "command line", "token.create", f"token:{row.id}", "done")
    if as_json:
        print_json({"id": row.id, "name": row.name, "scope": row.scope, "token": plain})
    else:
        out.print(plain, markup=False)
