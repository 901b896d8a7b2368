"""Command that checks what the server leaves to the database logins of readers."""

import click

from cdp.cli.command import FAILED, command, open_context
from cdp.cli.screen import Screen
from cdp.flows.consent.logins import check_logins

_MEANINGS = {
    "catalog_functions": "may call functions that tell numbers of rows, or write to the log, the memory or the files of the server",
    "catalog_views": "may read statistics of tables that they may not read",
    "code_blocks": "may run code blocks, which can write to the log of the server",
    "other_databases": "may connect to other databases",
    "row_counts": "may read how many rows a table has",
    "server_log": "may have values of people written to the log of the server",
    "sessions": "are not watched: the role of the service lacks a role",
    "short_sessions": "have sessions of less than a second that nobody records",
    "temporary_files": "may fill the disk with temporary files",
    "temporary_tables": "may keep people in temporary tables",
}


@click.command()
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements for the superuser of the server.")
@command("cdp logins", "cdp logins --sql | psql -d cdp")
def logins(*, as_sql: bool, screen: Screen) -> None:
    """Check what SQL logins of readers may do.

    PostgreSQL gives every login rights that a reader of projections must not have, and only a superuser can take them away. The
    embedded server does so by itself. On your own server, have the statements of --sql run in the database of cdp. The exit
    code is 1 while something is left. What no server can take away: docs/reference/consent.md, "SQL access for BI tools".
    """
    with open_context() as context:
        checked = check_logins(context)
    if as_sql:
        screen.result({"statements": list(checked.statements)})
        for statement in checked.statements:
            screen.line(f"{statement};")
        return
    screen.result({"gaps": {gap.name: list(gap.concerns) for gap in checked.gaps}})
    if not checked.gaps:
        screen.line("Logins of readers have no right that they must not have.")
        return
    for gap in checked.gaps:
        screen.line(
            f"{gap.name}: logins {_MEANINGS[gap.name]} ({', '.join(gap.concerns[:8])}{', …' if len(gap.concerns) > 8 else ''})."
        )
    screen.line("As the superuser of the server: cdp logins --sql | psql -d DATABASE")
    click.get_current_context().exit(FAILED)
