"""Commands about retention."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.operations.retention import sweep as run_sweep


@click.group()
def retention() -> None:
    """Delete data past its retention period."""


@retention.command("sweep")
@click.option("--dry-run", is_flag=True, help="Only count rows; change nothing.")
@command("cdp retention sweep --dry-run", "cdp retention sweep")
def sweep(dry_run: bool, screen: Screen) -> None:
    """Delete expired data now.

    The running service does this every hour.
    """
    with open_context() as context:
        done = run_sweep(context, context.clock.now(), dry_run=dry_run)
    screen.result(done)
    screen.table(
        ["table", "part", "action", "rows", "reason"],
        [(line.table, line.part, line.verb, line.rows, line.reason) for line in done.lines if line.rows],
        empty="Nothing has expired.",
    )
    for part in done.postponed:
        screen.line(f"{part} is in use; the next sweep processes it.")
    for name in done.without_rule:
        screen.line(f"The policy no longer defines a retention period for the class {name}.")
