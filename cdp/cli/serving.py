"""Commands that run: the service, the worker, the migration."""

import dataclasses

import click

from cdp.cli.command import command, quiet_logging, settings
from cdp.cli.screen import Screen, is_terminal
from cdp.kit.logs import start_logging


@click.command()
@click.option("--host", help="The address to listen on. Default: CDP_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 for any free one. Default: CDP_PORT, or 8000.")
@click.option("--no-demo", is_flag=True, help="Do not show the demonstration at the first start.")
@command("cdp serve", "cdp serve --port 9000", "CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp serve --host 0.0.0.0")
def serve(host: str | None, port: int | None, no_demo: bool, *, screen: Screen) -> None:
    """Run API, pages and worker until Ctrl-C.

    Without CDP_DATABASE_URL the database is embedded in CDP_HOME and started with it. The first start makes the keys and
    an admin token, and says where they lie; into an empty embedded database it then replays a demonstration.
    """
    from cdp.demo.first import run_first_demo
    from cdp.flows.operations.sources import list_sources
    from cdp.serve import Started
    from cdp.serve import serve as serve_until_told

    config = settings()
    config = dataclasses.replace(config, host=host or config.host, port=config.port if port is None else port)
    start_logging(config.log_level, style="console" if is_terminal() else "json")

    def show_first(started: Started) -> None:
        run_first_demo(config, started.url, is_empty=not list_sources(started.watcher.context))

    shows_demo = not no_demo and not screen.is_json and config.database_url is None
    serve_until_told(
        config,
        lambda text: _say(screen, text),
        on_start=show_first if shows_demo else None,
    )


@click.command()
@command("CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp worker")
def worker(screen: Screen) -> None:
    """Run the worker alone, beside services that run on the same database of yours.

    It signs the audit log, clears withdrawals, ends grants and sweeps what has expired. `cdp serve` has one of its own.
    """
    from cdp.serve import work

    config = settings()
    start_logging(config.log_level, style="console" if is_terminal() else "json")
    work(config, lambda text: _say(screen, text))


@click.command()
@command("cdp migrate", "CDP_DATABASE_URL=postgresql://cdp@db/cdp cdp migrate")
def migrate(screen: Screen) -> None:
    """Bring the database's schema up to date: forward only, one migrator at a time.

    `cdp serve` does it at every start.
    """
    from cdp.flows.operations.startup import open_database_url
    from cdp.schema.migrate import migrate as migrate_database

    config = settings()
    quiet_logging(config)
    with open_database_url(config) as url:
        applied = migrate_database(url)
    screen.tell({"applied": applied})
    screen.line(f"Applied {', '.join(applied)}." if applied else "The schema is current: nothing to do.")


def _say(screen: Screen, text: str) -> None:
    screen.line(text)
    screen.tell({"said": text})
