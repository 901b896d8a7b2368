"""Commands after erasures and restores."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.rights import replay as replays
from cdp.flows.rights import scrub as scrubs


@click.command()
@command("cdp scrub")
def scrub(screen: Screen) -> None:
    """Overwrite residue of erasures on disk.

    Rewrites the tables of pseudonyms and keys, and recycles the write-ahead log. The running service does this within
    the time set in the policy. Each table is locked while it is rewritten.
    """
    with open_context() as context:
        done = scrubs.scrub(context.database, context.clock.now())
    screen.result(done)
    screen.line(f"{len(done.tables)} tables were rewritten.")
    for reason in done.not_scrubbed:
        screen.line(f"Not scrubbed: {reason} (see docs/reference/erasure.md)")


@click.command()
@command("cdp replay")
def replay(screen: Screen) -> None:
    """Reapply erasures to a restored database.

    After a database was restored from a backup, applies the erasures and opt-outs in the replay file that the backup
    does not contain. `cdp serve` does this before it accepts requests. Running it again changes nothing.
    """
    with open_context() as context:
        done = replays.replay(context, context.clock.now())
    screen.result(done)
    if done.lines:
        screen.line(f"{done.lines:,} lines: {done.erased:,} erasures and {done.opt_outs:,} opt-outs were missing.")
    else:
        screen.line("The database already contains everything in the replay file.")
