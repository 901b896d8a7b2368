"""Commands about retention."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.operations import kept
from cdp.flows.operations.retention import sweep as run_sweep
from cdp.kit.ids import encode_id
from cdp.rights.model import ReadReason

_REASON = click.option(
    "--reason",
    required=True,
    type=click.Choice([reason.value for reason in ReadReason]),
    help="Why you read them; recorded in the audit log.",
)
_LIMIT = click.option("--limit", type=click.IntRange(1, kept.ROWS_MAX), default=100, show_default=True, help="Rows.")


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


@retention.command("holds")
@command("cdp retention holds")
def holds(screen: Screen) -> None:
    """Count legal holds by class and law.

    No hold is opened.
    """
    with open_context() as context:
        found = kept.hold_counts(context)
    screen.result(found)
    screen.table(
        ["class", "law", "holds", "first ends", "last ends"],
        [(count.retention_class, count.law, count.holds, str(count.first_end), str(count.last_end)) for count in found],
        empty="No legal holds.",
    )


@retention.command("open-holds")
@click.argument("retention_class", metavar="CLASS")
@_REASON
@_LIMIT
@command("cdp retention open-holds transactions --reason tax_audit --json")
def open_holds(retention_class: str, reason: str, limit: int, *, screen: Screen) -> None:
    """Open the legal holds of a class.

    Shows what a law requires to keep of events whose person was erased, or whose retention is over. The read and its reason
    are recorded in the audit log.
    """
    with open_context() as context:
        found = kept.open_holds(context, retention_class, reason=reason, now=context.clock.now(), limit=limit)
    screen.result(found)
    screen.table(
        ["hold", "law", "until", "columns"],
        [(encode_id("hld", hold.number), hold.law, str(hold.keep_until), str(hold.columns)) for hold in found],
        empty="No legal holds.",
    )


@retention.command("severed")
@click.argument("retention_class", metavar="CLASS")
@_REASON
@_LIMIT
@command("cdp retention severed browsing --reason internal_control")
def severed(retention_class: str, reason: str, limit: int, *, screen: Screen) -> None:
    """Show what remains of severed events.

    Counts by month and coarsened values, without any person. The read and its reason are recorded in the audit log.
    """
    with open_context() as context:
        found = kept.read_severed(context, retention_class, reason=reason, now=context.clock.now(), limit=limit)
    screen.result(found)
    screen.table(
        ["month", "event", "values", "events"],
        [(str(row.month), row.event or "", str(row.values), row.events) for row in found],
        empty="Nothing was severed.",
    )
