"""`clairvision`: the command line. Exit codes: 0 done, 1 failed, 2 bad usage."""

from __future__ import annotations

from typing import Annotated

import typer

from app import __version__
from app.commands import demo, graph, operate, photos, runs, serve, sources

cli = typer.Typer(
    name="clairvision",
    help="A searchable visual database of event photos, on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A searchable visual database of event photos, on your own machine."""


cli.command()(serve.up)
cli.command()(serve.down)
cli.command()(photos.ingest)
cli.command()(sources.sources)
cli.add_typer(sources.source, name="source")
cli.add_typer(runs.run, name="run")
cli.add_typer(graph.graph, name="graph")
cli.command()(photos.search)
cli.command()(operate.status)
cli.command()(photos.faces)
cli.command()(operate.doctor)
cli.add_typer(operate.models, name="models")
cli.add_typer(operate.token, name="token")
cli.command("owner-link")(serve.owner_link)
cli.command()(demo.demo)
cli.command()(serve.web)
cli.command()(serve.worker)
cli.command("migrate")(serve.migrate_command)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
