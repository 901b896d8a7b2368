"""Commands about retention."""

import click

from cdp.cli.command import command, opened
from cdp.cli.screen import Screen
from cdp.flows.operations.retention import sweep as run_sweep


@click.group()
def retention() -> None:
    """Retention: what has expired ends."""


@retention.command("sweep")
@click.option("--dry-run", is_flag=True, help="Only count; nothing is touched.")
@command("cdp retention sweep --dry-run", "cdp retention sweep")
def sweep(dry_run: bool, screen: Screen) -> None:
    """End everything whose time is over. The running service does it every hour."""
    with opened() as context:
        done = run_sweep(context, context.clock.now(), dry_run=dry_run)
    screen.tell(done)
    screen.table(
        ["table", "part", "what", "rows", "why"],
        [(line.table, line.part, line.verb, line.rows, line.reason) for line in done.lines if line.rows],
        empty="Nothing has expired.",
    )
    for part in done.postponed:
        screen.line(f"{part} is being read; the next sweep takes it.")
    for name in done.unruled:
        screen.line(f"The policy no longer says how long to keep the class {name}.")
