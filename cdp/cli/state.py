"""Commands about the state outside of the database: moving it to another place."""

from typing import Any

import click

from cdp.cli.command import command, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.flows.operations import state_move
from cdp.kit.config import read_state_url
from cdp.kit.errors import Fault
from cdp.kit.wording import counted


class StatePlace(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """A place of state as in CDP_STATE_URL."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The URL; a value that is none is a usage error that says what would be right."""
        try:
            return read_state_url(str(value))
        except ValueError as error:
            wrong, _, right = str(error).partition("; ")
            self.fail(f"{value!r} {wrong}. Expected: {right}", param, ctx)


_PLACE = StatePlace()


@click.group("state")
def state() -> None:
    """Move the state outside of the database: the wrapped keys, the replay file and the copy of the audit log.

    It is in CDP_HOME, or where CDP_STATE_URL says.
    """


@state.command("move")
@click.option("--to", "target", type=_PLACE, required=True, help="The new place: file:///folder or postgresql://…")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be moved; change nothing.")
@click.option("--yes", is_flag=True, help="Confirm that the database is bound to the new place.")
@command(
    "cdp state move --to postgresql://cdp:secret@state.internal/cdp_state --dry-run",
    "cdp state move --to postgresql://cdp:secret@state.internal/cdp_state --yes",
    "CDP_STATE_URL=postgresql://cdp:secret@state.internal/cdp_state cdp state move --to file:///var/lib/cdp-home --yes",
)
def move(target: str, *, dry_run: bool, yes: bool, screen: Screen) -> None:
    """Move the state to a folder or a database.

    Stop every service and worker first. Copies every file, compares the copy with the original, and binds the database to
    the new place. Afterwards the old place is refused, but its files can still be read there, until `cdp state discard`. The
    master key stays where it is. If the command is interrupted, repeat it.
    """
    config = settings()
    quiet_logging(config)
    if dry_run or not yes:
        plan = state_move.plan_move(config, target)
        if dry_run:
            screen.result(plan)
        screen.line(
            f"From {plan.source} to {plan.target}: {counted(plan.files, 'file')} with {counted(plan.bytes, 'byte')}."
        )
        if not dry_run:
            raise Fault(
                "move_not_confirmed",
                "Nothing was moved",
                "After the move, every service and command needs the new CDP_STATE_URL. To confirm it, repeat the command with "
                "--yes.",
                status=409,
            )
        return
    done = state_move.move_state(config, target)
    screen.result(done)
    screen.line(
        f"Moved {counted(done.files, 'file')} with {counted(done.bytes, 'byte')} from {done.source} to {done.target}; they are equal."
    )
    screen.line(
        "Set CDP_STATE_URL to the new place, for every service and command, or unset it if that is CDP_HOME. The master key was "
        "not moved."
    )
    screen.line(
        "The old files can no longer be used, but they still contain keys. Once the services run: cdp state discard --from "
        "the old place"
    )


@state.command("discard")
@click.option("--from", "left", type=_PLACE, required=True, help="The place that the state was moved from.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@click.option("--yes", is_flag=True, help="Confirm that the files are deleted.")
@command(
    "cdp state discard --from file:///var/lib/cdp-home --dry-run",
    "cdp state discard --from file:///var/lib/cdp-home --yes",
)
def discard(left: str, *, dry_run: bool, yes: bool, screen: Screen) -> None:
    """Delete the files that a move left behind.

    Overwrites and deletes the wrapped keys, the replay file and the copy of the audit log in the place that `cdp state move`
    has left. The master key and the admin token stay. Keys that are destroyed live on in that place until then.
    """
    config = settings()
    quiet_logging(config)
    done = state_move.discard_state(config, left, is_dry_run=dry_run or not yes)
    if not dry_run and not yes:
        screen.line(f"To be deleted in {done.place}: {counted(done.files, 'file')}.")
        raise Fault(
            "discard_not_confirmed",
            "Nothing was deleted",
            "Deleting the files cannot be undone. To confirm it, repeat the command with --yes.",
            status=409,
        )
    screen.result({"place": done.place, "files": done.files, "is_dry_run": dry_run})
    screen.line(f"{'To be deleted' if dry_run else 'Deleted'} in {done.place}: {counted(done.files, 'file')}.")
