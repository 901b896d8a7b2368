"""Commands that back up and restore the database and the state outside of it."""

from pathlib import Path

import click

from cdp.cli.command import command, open_context, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.flows.operations import backup as backups
from cdp.kit.wording import counted

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@_folder
@click.option(
    "--state",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the copy of the state; the same for every backup.",
)
@command("cdp backup /backup/2026-11-28 --state /backup-state")
def backup(folder: Path, state: Path, screen: Screen) -> None:
    """Back up the database and the state outside of it.

    Dumps the database into a new folder, while services run, and then brings the copy of the state (wrapped keys, replay
    file, copy of the audit log) in the folder --state up to date. Only its newest version may be kept: keys that were
    destroyed are destroyed in it, too. The master key is in neither; keep it apart from both.
    """
    with open_context() as context:
        done = backups.back_up(context, folder, state, now=context.clock.now())
    screen.result(done)
    screen.line(f"Backed up to {folder} ({counted(done.dump_bytes, 'byte')}); the state was copied to {state}.")
    screen.table(["table", "rows"], list(done.rows.items()))
    screen.line(f"To restore it: stop all services, then cdp restore {folder} --state {state}")


@click.command()
@_folder
@click.option(
    "--state",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the copy of the state, if the state store lacks something.",
)
@click.option("--yes", is_flag=True, help="Confirm that a database that is not empty is replaced.")
@command("cdp restore /backup/2026-11-28 --yes", "cdp restore /backup/2026-11-28 --state /backup-state --yes")
def restore(folder: Path, state: Path | None, *, yes: bool, screen: Screen) -> None:
    """Restore a backup and reapply erasures.

    Checks the backup and its keys first, then replaces the database, migrates it, and applies the erasures and opt-outs
    since the backup again. A state store that is newer than its copy is kept. Stop all services first.
    """
    config = settings()
    quiet_logging(config)
    done = backups.restore_backup(config, folder, state, is_confirmed=yes)
    screen.result(done)
    screen.line(f"Restored the backup of {done.created_at}.")
    screen.table(["table", "rows in the backup"], list(done.rows.items()))
    if done.migrations:
        screen.line(f"Migrated: {', '.join(done.migrations)}.")
    replayed = done.replayed
    screen.line(
        f"Applied again: {counted(replayed.lines, 'line')} of the replay file; of people in the backup, "
        f"{counted(replayed.erased, 'erasure')} and {counted(replayed.opt_outs, 'opt-out')}."
    )
    if done.known_until is None:
        screen.line("The state knows of no erasure or opt-out at all.")
    else:
        screen.line(f"The last erasure or opt-out that the state knows is of {done.known_until:%Y-%m-%d %H:%M} UTC.")
    screen.line("If the state was restored from a copy, carry out again what was requested after that copy was made.")
