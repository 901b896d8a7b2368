"""Commands after erasures and restores."""

import click

from cdp.cli.command import command, opened
from cdp.cli.screen import Screen
from cdp.flows.rights import replay as replays
from cdp.flows.rights import scrub as scrubs


@click.command()
@command("cdp scrub")
def scrub(screen: Screen) -> None:
    """Overwrite on disk what erasures left behind: rewrite the tables of pseudonyms and keys, renew the write-ahead log.

    The running service does it within the time that the policy sets. Each table is locked while it is written.
    """
    with opened() as context:
        done = scrubs.scrub(context.database, context.clock.now())
    screen.tell(done)
    screen.line(f"{len(done.tables)} tables were written anew.")
    for reason in done.not_scrubbed:
        screen.line(f"Not scrubbed: {reason} (docs/reference/erasure.md says what that means)")


@click.command()
@command("cdp replay")
def replay(screen: Screen) -> None:
    """Tell a database that was restored from a copy again who was erased and who said no.

    `cdp serve` does it before any door opens. Doing it again changes nothing.
    """
    with opened() as context:
        done = replays.replay(context, context.clock.now())
    screen.tell(done)
    if done.lines:
        screen.line(f"{done.lines:,} lines: {done.erased:,} erasures and {done.opt_outs:,} refusals were missing.")
    else:
        screen.line("The database has seen everything in the replay file.")
