"""Commands after erasures and restores."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.rights import replay as replays
from cdp.flows.rights import scrub as scrubs
from cdp.kit.errors import Fault


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
@click.option("--adopt", is_flag=True, help="Bind the database to this state store, if the one used last is lost.")
@click.option("--yes", is_flag=True, help="Confirm --adopt.")
@command("cdp replay", "cdp replay --adopt", "cdp replay --adopt --yes")
def replay(adopt: bool, yes: bool, screen: Screen) -> None:
    """Reapply erasures to a restored database.

    After a database was restored from a backup, applies the erasures and opt-outs in the replay file that the backup
    does not contain. `cdp serve` does this before it accepts requests. Running it again changes nothing.

    With --adopt, the database is bound to the state store of this command (CDP_STATE_URL, or CDP_HOME), although another one
    was used last: only for the case that that one is lost. Its erasures and opt-outs can then not be applied again when a
    backup is restored. Every line of the replay file found here is applied again.
    """
    if adopt and not yes:
        raise Fault(
            "adoption_not_confirmed",
            "Adopting a state store must be confirmed",
            "The erasures and opt-outs that only the state store used last contains are lost for later restores. If it still "
            "exists, use it instead: set CDP_HOME or CDP_STATE_URL to it. If it is lost for good: cdp replay --adopt --yes",
            status=409,
        )
    with open_context(adopts_state=adopt) as context:
        done = replays.replay(context, context.clock.now())
    screen.result(done)
    if adopt:
        screen.line("The database is bound to this state store. Destroy backups made before now as soon as you can.")
    if done.lines:
        screen.line(f"{done.lines:,} lines: {done.erased:,} erasures and {done.opt_outs:,} opt-outs were missing.")
    else:
        screen.line("The database already contains everything in the replay file.")
