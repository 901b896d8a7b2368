"""Commands that run the service, the worker and migrations."""

import dataclasses

import click

from cdp import __version__
from cdp.cli.command import command, quiet_logging, settings
from cdp.cli.screen import Screen, is_terminal
from cdp.kit.config import Config
from cdp.kit.logs import Style, start_logging
from cdp.kit.shipped import shipped_folder


@click.command()
@click.option("--host", help="The address to listen on. Default: CDP_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 for any free one. Default: CDP_PORT, or 8000.")
@click.option("--demo/--no-demo", "is_demo", help="Run the demonstration in an empty embedded database, or not.")
@command("cdp serve", "cdp serve --demo", "CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp serve --host 0.0.0.0")
def serve(host: str | None, port: int | None, is_demo: bool, *, screen: Screen) -> None:
    """Run the service until Ctrl-C.

    Runs ingest, API, console and worker. Without CDP_DATABASE_URL an embedded database in CDP_HOME is started with them.
    The first start creates the keys and an admin token and prints where they are stored. With --demo, the demonstration
    then runs in an empty embedded database, never in a database named by CDP_DATABASE_URL.
    """
    from cdp.demo.first_start import require_demo, run_first_demo
    from cdp.flows.operations.sources import list_sources
    from cdp.serve import RunningServer
    from cdp.serve import serve as serve_until_stopped

    config = _settings_with_logging()
    config = dataclasses.replace(config, host=host or config.host, port=config.port if port is None else port)

    shows_demo = is_demo and not screen.is_json and config.database_url is None
    if shows_demo:
        require_demo()
    elif is_demo and config.database_url is not None:
        _say(screen, "--demo has no effect: CDP_DATABASE_URL names a database, which is never filled at a start.")
    if config.policies == shipped_folder("policies"):
        _say(screen, f"Policies: those shipped with cdp {__version__}. `cdp init` copies them to ./policies.")

    def show_first(started: RunningServer) -> None:
        run_first_demo(config, started.url, is_empty=not list_sources(started.watcher.context))

    serve_until_stopped(
        config,
        lambda text: _say(screen, text),
        on_start=show_first if shows_demo else None,
    )


@click.command()
@command("CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp worker")
def worker(screen: Screen) -> None:
    """Run only the worker, on your own database.

    For services in other processes on the same database. The worker signs the audit log, clears withdrawals, expires
    grants and deletes expired data. `cdp serve` includes a worker.
    """
    from cdp.serve import run_worker

    config = _settings_with_logging()
    run_worker(config, lambda text: _say(screen, text))


@click.command()
@command("cdp migrate", "CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp migrate")
def migrate(screen: Screen) -> None:
    """Upgrade the database schema.

    Forward only, one migration process at a time. `cdp serve` does this at every start.
    """
    from cdp.flows.operations.startup import migrate_schema, open_database_url

    config = settings()
    quiet_logging(config)
    with open_database_url(config) as url:
        applied = migrate_schema(url, config.clock().now())
    screen.result({"applied": applied})
    screen.line(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")


def _settings_with_logging() -> Config:
    """The settings of a process that logs to a file or a collector, unless a person is watching."""
    style: Style = "console" if is_terminal() else "json"
    config = settings(style)
    start_logging(config.log_level, style=style)
    return config


def _say(screen: Screen, text: str) -> None:
    screen.line(text)
    screen.result({"said": text})
