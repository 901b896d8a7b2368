"""Commands after erasures and restores."""

import click

from cdp.cli.command import command, open_context, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.flows.operations import state_loss
from cdp.flows.rights import replay as replays
from cdp.flows.rights import scrub as scrubs
from cdp.kit.errors import Fault
from cdp.kit.wording import counted


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
    screen.line(f"Rewritten: {counted(len(done.tables), 'table')}.")
    for reason in done.not_scrubbed:
        screen.line(f"Not scrubbed: {reason} (see docs/reference/erasure.md)")


@click.command()
@click.option("--accept-loss", is_flag=True, help="Go on although the replay file lacks lines, or is lost.")
@click.option("--dry-run", is_flag=True, help="With --accept-loss: show what may come back, and change nothing.")
@click.option("--yes", is_flag=True, help="Confirm --accept-loss.")
@command("cdp replay", "cdp replay --accept-loss --dry-run", "cdp replay --accept-loss --yes")
def replay(*, accept_loss: bool, dry_run: bool, yes: bool, screen: Screen) -> None:
    """Reapply erasures to a restored database.

    After a database was restored from a backup, applies the erasures and opt-outs in the replay file that the backup
    does not contain. `cdp serve` does this before it accepts requests. Running it again changes nothing.

    A state store (CDP_STATE_URL, or CDP_HOME) whose replay file is missing, older, shorter or another one than the database
    remembers is refused by every command. Restore it. Only if it is lost for good, --accept-loss binds the database to the
    state store at hand: it shows which erasures and opt-outs the file lacks, by number and time. With --yes, suppressions
    and opt-outs are written into the file again from the database; people who were erased come back if a backup from before
    their erasure is restored. The audit log records it.
    """
    if (dry_run or yes) and not accept_loss:
        raise click.UsageError("--dry-run and --yes belong to --accept-loss.")
    if accept_loss and not yes:
        _show_loss(screen, is_dry_run=dry_run)
        return
    if accept_loss:
        with open_context(accepts_loss=True) as context:
            recovered = state_loss.recover(context, context.clock.now())
        screen.result(recovered)
        screen.line(f"The loss is accepted. Written into the replay file again: {counted(recovered.restated, 'line')}.")
        screen.line("Destroy backups from before the lost erasures as soon as you can: those bring people back.")
        done = recovered.replayed
    else:
        with open_context() as context:
            done = replays.replay(context, context.clock.now())
        screen.result(done)
    if done.lines:
        screen.line(
            f"{counted(done.lines, 'line')}; missing: {counted(done.erased, 'erasure')}, {counted(done.opt_outs, 'opt-out')}."
        )
    else:
        screen.line("The database already contains everything in the replay file.")


def _show_loss(screen: Screen, *, is_dry_run: bool) -> None:
    config = settings()
    quiet_logging(config)
    report = state_loss.show_loss(config)
    if is_dry_run:
        screen.result(report)
    if report.fault:
        screen.line(f"{report.fault}: {report.explanation}")
    screen.line(f"The file ends at line {report.last_line:,}; the database has applied line {report.applied_line:,}.")
    lost = (("erasures", report.erasures), ("suppressions", report.suppressions), ("opt-outs", report.opt_outs))
    screen.table(
        ["lacking in the file", "count", "first", "last"],
        [(name, one.count, one.first_at or "", one.last_at or "") for name, one in lost],
    )
    if report.is_empty:
        screen.line("The state store belongs to this database and lacks nothing.")
    elif not is_dry_run:
        raise Fault(
            "loss_not_confirmed",
            "The loss was not accepted",
            "Nothing was changed. If the files cannot be restored, repeat the command with --yes: suppressions and opt-outs are "
            "written into the replay file again, but erased people come back if a backup from before their erasure is restored.",
            status=409,
        )
